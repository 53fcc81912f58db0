// Run by `node --test`: what is offered at `|`.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';

import {candidates} from './completion.js';
import {situation} from './situation.js';

const schema = JSON.parse(readFileSync(new URL('../../filters/policy/policy.schema.json', import.meta.url), 'utf8'));
const split = (text) => text.split('|');
const offered = (text) => candidates(schema, ...split(text))?.options.map((it) => it.label) ?? [];

test('a position has its path, whatever is not written yet', () => {
  const places = [
    ['|', []],
    ['ver|', []],
    ['sampling:\n  |', ['sampling']],
    ['sampling:\n  tiers:\n    always: 1\n  |', ['sampling']],
    ['contexts:\n  - |', ['contexts', '[]']],
    ['contexts:\n- na|', ['contexts', '[]']],
    ['contexts:\n  - name: a\n    |', ['contexts', '[]']],
    ['contexts:\n  - name: a\n    match:\n      - {path: /a}\n    tier: |', ['contexts', '[]', 'tier']],
    ['contexts:\n  - match: [{methods: [GET], |', ['contexts', '[]', 'match', '[]']],
    ['contexts:\n  - match: [{path: "/a{b}", methods: [|', ['contexts', '[]', 'match', '[]', 'methods', '[]']],
    ['contexts:\n  - name: a\nsampling:\n  |', ['sampling']],
    ['tenants:\n  entries:\n    home.1: {|', ['tenants', 'entries', 'home.1']],
    ['identity:\n  # a comment\n\n  tenant:\n    sources:\n    - |', ['identity', 'tenant', 'sources', '[]']],
    ['a:\n  b:\n---\n  |', []],
  ];
  for (const [text, path] of places) assert.deepEqual(situation(split(text)[0]).path, path, text);
  assert.equal(situation('tier: always # wh'), null);
});

test('the keys of a place are offered, without those that it has', () => {
  assert.ok(offered('|').includes('contexts'));
  assert.ok(!offered('version: careplane/v1\n|').includes('version'));
  assert.deepEqual(offered('sampling:\n  |'), ['late', 'tiers']);
  assert.deepEqual(offered('sampling:\n  |\n  late: {}\n'), ['tiers']);
  const context = offered('contexts:\n  - name: a\n    |\n    tier: b\n  - audit: full\n');
  assert.ok(context.includes('complianceLevel') && context.includes('audit'), context);
  assert.ok(!context.includes('name') && !context.includes('tier'), context);
  assert.deepEqual(offered('contexts:\n  - match: [{path: /a, |'), ['methods']);
});

test('the values of a field are offered', () => {
  assert.deepEqual(offered('contexts:\n  - complianceLevel: |'), ['critical', 'high', 'standard', 'low']);
  assert.deepEqual(offered('audit: {sinks: {otlp: |'), ['true', 'false']);
  assert.deepEqual(offered('tenants:\n  entries:\n    a: {jurisdiction: wa|').slice(0, 4), [
    'england', 'scotland', 'wales', 'northern-ireland',
  ]);
  assert.deepEqual(offered('contexts:\n  - name: |'), []);
});

test('a policy in a manifest is completed too', () => {
  assert.deepEqual(offered('kind: WasmPlugin\nspec:\n  pluginConfig:\n    sampling:\n      |'), ['late', 'tiers']);
});
