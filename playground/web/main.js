// The page: a policy, a request, and what careplane says to them after each change.

import schema from '../../filters/policy/policy.schema.json';
import {editor} from './editor.js';
import {engine} from './engine.js';
import {EXAMPLES} from './examples.js';
import example from './policy.yaml';

const at = (id) => document.getElementById(id);
const FIELDS = ['method', 'path', 'headers', 'claims', 'peer'];
/** For the typing of a word, in milliseconds. */
const PAUSE = 150;

/** An element with properties and children; texts stay texts. */
function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function link(place, text) {
  const made = element('a', {href: '#policy'}, text);
  made.addEventListener('click', (event) => {
    event.preventDefault();
    policy.go(place);
  });
  return made;
}

/** A text with its places as links. */
function linked(text) {
  return text.split(/(policy\.yaml:\d+:\d+)/).map((part) => {
    const found = /^policy\.yaml:(\d+):(\d+)$/.exec(part);
    return found ? link({line: Number(found[1]), column: Number(found[2])}, part) : part;
  });
}

const plural = (number, one, many) => `${number} ${number === 1 ? one : many}`;

function question() {
  const number = at('number').value;
  return {
    policy: policy.text(),
    before,
    plugin: at('plugin').value || null,
    collector: at('collector').value,
    request: {
      request: `${at('method').value} ${at('path').value}`,
      headers: at('headers').value.split('\n').filter((line) => line.trim()),
      payload: at('claims').value.trim() || null,
      peer: at('peer').value.trim() || null,
      samplingNumber: number === '' ? null : Number(number),
    },
  };
}

function finding(it) {
  const place = `line ${it.place.line}, column ${it.place.column}`;
  const level = element('span', {className: 'level'}, it.level);
  const related = it.related.map(([place, message]) => element('small', {}, link(place, `line ${place.line}`), `: ${message}`));
  return element(
    'li',
    {className: it.level === 'note' ? 'note-level' : it.level},
    element('p', {}, level, ' at ', link(it.place, place), `: ${it.message}`),
    ...related,
    element('small', {}, `${it.about} `, element('span', {className: 'word'}, it.rule)),
  );
}

function row(fact) {
  const cells = [fact.now, fact.before].map((text) => element('td', {}, text ?? '–'));
  const name = element('th', {scope: 'row'}, fact.changed ? `${fact.name} (differs)` : fact.name);
  return element('tr', {className: fact.changed ? 'changed' : ''}, name, ...cells);
}

function show(answer) {
  policy.show(answer.findings);
  at('findings').replaceChildren(...answer.findings.map(finding));
  at('no-findings').hidden = answer.findings.length > 0;

  const {explanation, problem, problemBefore} = answer;
  const decision = explanation ? explanation.decision : problem;
  at('decision').textContent = decision;
  at('decision').className = `state ${!explanation ? 'doubtful' : explanation.denied ? 'bad' : 'good'}`;
  at('answer').hidden = !explanation;
  const isCompared = policy.text() !== before && !problemBefore;
  const facts = explanation?.facts ?? [];
  const changed = facts.filter((it) => it.changed).length;
  const comparison = problemBefore
    ? `There is no comparison: the version before is refused. ${problemBefore}`
    : isCompared
      ? `${plural(changed, 'decision differs', 'decisions differ')} from the version before.`
      : 'The policy is the version to compare with.';
  at('facts-caption').textContent = comparison;
  at('facts').className = isCompared ? '' : 'alone';
  at('facts').tBodies[0].replaceChildren(...facts.toSorted((a, b) => b.changed - a.changed).map(row));
  at('text').replaceChildren(...linked(explanation?.text ?? ''));
  at('back').disabled = policy.text() === before;
  at('keep').disabled = policy.text() === before;

  const worst = ['error', 'warning', 'note'].map((level) => answer.findings.filter((it) => it.level === level).length);
  const counts = [plural(worst[0], 'error', 'errors'), plural(worst[1], 'warning', 'warnings'), plural(worst[2], 'note', 'notes')];
  const status = `${counts.join(', ')}. ${decision.replace(/[.]?$/, '.')}${explanation ? ` ${comparison}` : ''}`;
  // Said again only when it is something else.
  if (at('status').textContent !== status) at('status').textContent = status;
}

let timer;
function changed() {
  clearTimeout(timer);
  timer = setTimeout(() => show(look(question())), PAUSE);
}

function take(it) {
  for (const field of FIELDS) at(field).value = it[field];
  changed();
}

const look = await engine(at('module').textContent);
const policy = editor({
  parent: at('policy'),
  text: JSON.parse(at('given').textContent) ?? example,
  schema,
  changed,
});
let before = policy.text();

at('example').append(...EXAMPLES.map((it, index) => element('option', {value: index}, it.label)));
at('example').addEventListener('change', (event) => take(EXAMPLES[event.target.value]));
at('request').addEventListener('input', changed);
at('request').addEventListener('submit', (event) => event.preventDefault());
at('keep').addEventListener('click', () => {
  before = policy.text();
  changed();
});
at('back').addEventListener('click', () => policy.replace(before));
at('open').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  policy.replace(await file.text());
  before = policy.text();
  changed();
  event.target.value = '';
});
at('save').addEventListener('click', () => {
  const url = URL.createObjectURL(new Blob([policy.text()], {type: 'application/yaml'}));
  element('a', {href: url, download: 'policy.yaml'}).click();
  URL.revokeObjectURL(url);
});
take(EXAMPLES[0]);
