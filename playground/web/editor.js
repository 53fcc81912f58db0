// The editor: CodeMirror with YAML, completion, and the findings in its gutter.

import {autocompletion, completionKeymap} from '@codemirror/autocomplete';
import {defaultKeymap, history, historyKeymap} from '@codemirror/commands';
import {yaml} from '@codemirror/lang-yaml';
import {HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting} from '@codemirror/language';
import {lintGutter, lintKeymap, setDiagnostics} from '@codemirror/lint';
import {EditorView, highlightActiveLine, keymap, lineNumbers} from '@codemirror/view';
import {tags} from '@lezer/highlight';

import {schemaCompletion} from './completion.js';

const colours = HighlightStyle.define([
  {tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--accent)'},
  {tag: [tags.string, tags.content], color: 'var(--ink)'},
  {tag: tags.comment, color: 'var(--soft)', fontStyle: 'italic'},
  {tag: [tags.separator, tags.punctuation, tags.bracket], color: 'var(--soft)'},
]);

/** CodeMirror's own marks are images, which the page's Content Security Policy forbids. */
const marks = Object.fromEntries(
  [['error', '--bad', 'circle(50%)'], ['warning', '--doubtful', 'polygon(50% 0, 100% 100%, 0 100%)'], ['info', '--accent', 'inset(15%)']]
    .flatMap(([severity, colour, shape]) => [
      [`.cm-lint-marker-${severity}`, {content: 'normal', background: `var(${colour})`, clipPath: shape}],
      [`.cm-lintRange-${severity}`, {backgroundImage: 'none', textDecoration: `underline wavy var(${colour})`}],
      [`.cm-diagnostic-${severity}`, {borderLeftColor: `var(${colour})`}],
    ]),
);

const theme = EditorView.theme({
  ...marks,
  '.cm-lint-marker': {width: '.8em', height: '.8em', marginTop: '.35em'},
  '&': {color: 'var(--ink)', backgroundColor: 'transparent', fontSize: '.8125rem'},
  '&.cm-focused': {outline: '3px solid var(--accent)', outlineOffset: '1px'},
  '.cm-scroller': {fontFamily: 'ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace', lineHeight: '1.5'},
  '.cm-content': {caretColor: 'var(--ink)', minHeight: '20rem'},
  '.cm-gutters': {color: 'var(--soft)', backgroundColor: 'transparent', border: '0'},
  '.cm-activeLine': {backgroundColor: 'color-mix(in srgb, var(--marked) 45%, transparent)'},
  '.cm-tooltip': {color: 'var(--ink)', backgroundColor: 'var(--card)', border: '1px solid var(--soft)'},
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': {color: 'var(--paper)', backgroundColor: 'var(--accent)'},
  '.cm-panels': {color: 'var(--ink)', backgroundColor: 'var(--card)'},
  '.cm-panel.cm-panel-lint ul [aria-selected]': {backgroundColor: 'var(--marked)'},
});

/** The offsets of a place of careplane (lines and characters from 1) in a document (UTF-16 units from 0). */
export function range(doc, {line: number, column, length = 1}) {
  const line = doc.line(Math.min(Math.max(number, 1), doc.lines));
  const units = [0];
  for (const character of line.text) units.push(units.at(-1) + character.length);
  const unit = (characters) => line.from + units[Math.min(Math.max(characters, 0), units.length - 1)];
  return {from: unit(column - 1), to: unit(column - 1 + length)};
}

/** Shows an editor in `parent`, and calls `changed` when its text has changed. */
export function editor({parent, text, schema, changed}) {
  const view = new EditorView({
    doc: text,
    parent,
    extensions: [
      lineNumbers(),
      lintGutter(),
      history(),
      yaml(),
      indentOnInput(),
      bracketMatching(),
      highlightActiveLine(),
      EditorView.lineWrapping,
      syntaxHighlighting(colours),
      autocompletion({override: [schemaCompletion(schema)]}),
      keymap.of([...completionKeymap, ...lintKeymap, ...defaultKeymap, ...historyKeymap]),
      theme,
      EditorView.contentAttributes.of({'aria-label': 'Policy', 'aria-describedby': 'keys'}),
      EditorView.updateListener.of((update) => update.docChanged && changed()),
    ],
  });
  return {
    text: () => view.state.doc.toString(),
    /** As one step of the history. */
    replace: (insert) => view.dispatch({changes: {from: 0, to: view.state.doc.length, insert}}),
    /** The findings, in the gutter and under the text. */
    show: (findings) => {
      const diagnostics = findings.map((it) => ({
        ...range(view.state.doc, it.place),
        severity: it.level === 'note' ? 'info' : it.level,
        source: it.rule,
        message: it.message,
      }));
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    go: (place) => {
      const {from, to} = range(view.state.doc, place);
      view.dispatch({selection: {anchor: from, head: to}, effects: EditorView.scrollIntoView(from, {y: 'center'})});
      view.focus();
    },
  };
}
