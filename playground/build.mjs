// Builds page/playground.html, one file with everything inside, from build/ (what wasm-bindgen made) and web/.

import {createHash} from 'node:crypto';
import {existsSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {gzipSync} from 'node:zlib';

import {build} from 'esbuild';

process.chdir(import.meta.dirname);
const PAGE = 'page/playground.html';
const read = (path) => readFileSync(path, 'utf8');

/** Licences that may be linked: those of deny.toml. */
const allowed = /^allow = \[(.*?)^\]/ms.exec(read('../deny.toml'))[1].match(/(?<=")[^"]+(?=")/g);
const version = /^\[workspace\.package\]\nversion = "(.*)"$/m.exec(read('../Cargo.toml'))[1];

const common = {bundle: true, minify: true, legalComments: 'none', write: false, logLevel: 'warning'};
const script = await build({
  ...common,
  entryPoints: ['web/main.js'],
  format: 'esm',
  target: 'es2023',
  loader: {'.yaml': 'text'},
  metafile: true,
});
const style = await build({...common, entryPoints: ['web/style.css']});

/** The licence of an npm package of the bundle, with its text. */
function notice(folder) {
  const {name, version, license} = JSON.parse(read(`${folder}/package.json`));
  if (!allowed.includes(license)) throw new Error(`${name} ${version} is under ${license}, which deny.toml does not allow`);
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file)).sort();
  if (files.length === 0) throw new Error(`${name} ${version} comes without a licence text`);
  return [`${name} ${version} (${license})`, ...files.map((file) => read(`${folder}/${file}`).trim())].join('\n\n');
}
const packages = Object.keys(script.metafile.inputs).flatMap((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []);
const rule = `\n\n${'='.repeat(100)}\n`;
const notices = [
  read('THIRD-PARTY-NOTICES.txt').trim(),
  ...[...new Set(packages)].sort().map(notice),
  `LICENSE, of careplane itself and of what is taken under Apache-2.0\n\n${read('../LICENSE').trim()}`,
].join(rule);

const code = script.outputFiles[0].text;
const hash = createHash('sha256').update(code).digest('base64');
const inside = {
  // Styles are the editor's too, which writes them while it runs. Nothing is fetched, from anywhere.
  policy: `default-src 'none'; script-src 'sha256-${hash}' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'`,
  module: gzipSync(readFileSync('build/careplane_playground_bg.wasm'), {level: 9}).toString('base64'),
  notices: notices.replace(/&/g, '&amp;').replace(/</g, '&lt;'),
  script: code,
  style: style.outputFiles[0].text,
  version,
};
const page = read('web/page.html').replace(/\{\{(\w+)\}\}/g, (_, name) => inside[name]);
// An equal page keeps its time: cargo builds the command line anew for another one.
if (!existsSync(PAGE) || read(PAGE) !== page) writeFileSync(PAGE, page);
