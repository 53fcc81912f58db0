// Completion from the JSON Schema of the policy.

import {situation} from './situation.js';

/** All schemas that a schema stands for: behind references, and one for each alternative. */
function alternatives(root, schema) {
  if (!schema) return [];
  const behind = schema.$ref ? alternatives(root, root.$defs[schema.$ref.replace('#/$defs/', '')]) : [];
  const each = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].flatMap((it) => alternatives(root, it));
  return [schema, ...behind, ...each];
}

/** The schemas of what is at the end of a path. */
function follow(root, path) {
  // A policy in a manifest begins below the manifest's own keys.
  const own = path.slice(path.lastIndexOf('pluginConfig') + 1);
  return own.reduce(
    (schemas, step) =>
      schemas.flatMap((schema) => {
        const next = step === '[]' ? schema.items : (schema.properties?.[step] ?? schema.additionalProperties);
        return alternatives(root, next);
      }),
    alternatives(root, root),
  );
}

const isBlock = (schemas) => schemas.some((it) => it.type === 'object' || it.type === 'array');

function keys(root, schemas, siblings) {
  return schemas
    .flatMap((schema) => Object.entries(schema.properties ?? {}))
    .filter(([name]) => !siblings.includes(name))
    .map(([name, schema]) => ({
      label: name,
      type: 'property',
      info: schema.description,
      apply: isBlock(alternatives(root, schema)) ? `${name}:` : `${name}: `,
    }));
}

function values(schemas) {
  return schemas.flatMap((schema) => {
    const words = schema.const !== undefined ? [schema.const] : (schema.enum ?? []);
    const truths = schema.type === 'boolean' ? ['true', 'false'] : [];
    const usual = typeof schema.default === 'string' ? [schema.default] : [];
    return [...words, ...truths, ...usual].map((word) => ({label: String(word), type: 'enum', info: schema.description}));
  });
}

/** In the order of the schema, not of the alphabet: levels go from critical to low. */
const ranked = (option, index) => ({...option, boost: -Math.min(index, 99)});

/** What can be written at the end of `before`; null when the schema knows nothing. */
export function candidates(root, before, after) {
  const here = situation(before, after);
  if (!here) return null;
  const schemas = follow(root, here.path);
  const options = [
    ...(here.writes === 'value' ? [] : keys(root, schemas, here.siblings)),
    ...(here.writes === 'key' ? [] : values(schemas)),
  ];
  if (here.path.length === 0 && !here.siblings.includes('version')) {
    options.push({label: 'version: careplane/v1', type: 'property', info: 'The version of the schema.'});
  }
  const unique = options.filter((it, index) => options.findIndex((other) => other.label === it.label) === index);
  return unique.length === 0 ? null : {from: before.length - here.word.length, options: unique.map(ranked)};
}

/** A source for CodeMirror. */
export function schemaCompletion(root) {
  return (context) => {
    const text = context.state.doc;
    const found = candidates(root, text.sliceString(0, context.pos), text.sliceString(context.pos));
    const isWriting = context.explicit || (found && found.from < context.pos);
    return found && isWriting ? {...found, validFor: /^[\w-]*$/} : null;
  };
}
