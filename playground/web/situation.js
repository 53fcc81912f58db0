// Where a position of a YAML text is: which keys and lists it is in, and what is being written there. It reads
// indentation and brackets instead of a syntax tree, because a text that is being written is rarely YAML.

// A key, in quotes or not, with what follows its colon.
const PAIR = /^(?:"([^"]*)"|'([^']*)'|([^\s"'{}[\],#&*!|>%@`][^{}[\],]*?))\s*:(?:\s+(.*))?$/s;

/** Columns of a line's dashes, the column of what follows them, and that. */
function read(line) {
  const [, indent, items, rest] = /^(\s*)((?:-(?:\s+|$))*)(.*)$/s.exec(line);
  const dashes = [...items].flatMap((character, index) => (character === '-' ? [indent.length + index] : []));
  return {dashes, column: indent.length + items.length, rest};
}

const key = (rest) => {
  const found = PAIR.exec(rest);
  return found && {name: found[1] ?? found[2] ?? found[3], value: found[4] ?? ''};
};

/**
 * What is inside of the brackets of `text`, at its end: the path that they add, and what is being written.
 * `siblings` are the keys of the innermost map.
 */
function brackets(text) {
  const open = [];
  let word = '';
  let quote = null;
  for (const character of text) {
    const top = open.at(-1);
    if (quote) {
      if (character === quote) quote = null;
      word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word += character;
    } else if (character === '{' || character === '[') {
      open.push({list: character === '[', key: null, keys: []});
      word = '';
    } else if (character === '}' || character === ']') {
      open.pop();
      word = '';
    } else if (character === ',') {
      if (top) top.key = null;
      word = '';
    } else if (character === ':' && top && !top.list && top.key === null) {
      top.key = word.trim().replace(/^["']|["']$/g, '');
      top.keys.push(top.key);
      word = '';
    } else {
      word += character;
    }
  }
  const path = open.flatMap((it) => (it.list ? ['[]'] : it.key === null ? [] : [it.key]));
  const top = open.at(-1);
  const writesKey = Boolean(top) && !top.list && top.key === null;
  return {path, writes: writesKey ? 'key' : 'value', siblings: writesKey ? top.keys : [], word: word.trimStart()};
}

/** The block that a line at `column` is in: the path to it, from the outside. */
function enclosing(lines, from, column, dashes) {
  const path = [];
  // Looks for the key above a map at `column`, or above a list whose dashes are at `column`.
  let inList = false;
  const leave = (columns) => {
    for (const dash of columns.toReversed()) {
      path.unshift('[]');
      column = dash;
      inList = true;
    }
  };
  leave(dashes);
  for (let number = from - 1; number >= 0 && (column > 0 || inList); number -= 1) {
    const line = lines[number];
    if (/^---(\s|$)/.test(line)) break;
    if (/^\s*(#|$)/.test(line)) continue;
    const above = read(line);
    const opens = key(above.rest);
    const isOuter = inList ? above.column <= column : above.column < column;
    if (isOuter && opens && /^(#|[&!]\S*\s*$|$)/.test(opens.value)) {
      path.unshift(opens.name);
      column = above.column;
      inList = false;
      leave(above.dashes);
    } else if (!inList && above.column === column) {
      // The first key of an item of a list.
      leave(above.dashes);
    }
  }
  return path;
}

/** The keys of the block map that the line `here` is in at `column`, without that line. `isFirst`: none are above. */
function neighbours(lines, here, column, isFirst) {
  const names = [];
  /** Takes the key of a line; false where the map has ended. */
  const take = (number) => {
    const line = lines[number];
    if (/^\s*(#|$)/.test(line)) return true;
    if (/^---(\s|$)/.test(line)) return false;
    const other = read(line);
    if (other.column === column) names.push(key(other.rest)?.name);
    return other.column >= column;
  };
  /** Whether an item of the list around begins there. */
  const begins = (number) => read(lines[number]).dashes[0] < column;
  for (let number = here - 1; number >= 0 && !isFirst; number -= 1) {
    if (!take(number) || begins(number)) break;
  }
  for (let number = here + 1; number < lines.length; number += 1) {
    if (begins(number) || !take(number)) break;
  }
  return names;
}

/**
 * Where the end of `before` is, in a text that goes on with `after`.
 *
 * Returns `path` (keys, and `[]` for an item of a list), what is being written there (`key`, `value`, or `either`: a
 * line that can become both), the `siblings` that a key already has, and the `word` that is there so far. None within
 * a comment.
 */
export function situation(before, after = '') {
  const lines = before.split('\n');
  const here = lines.length - 1;
  const line = lines[here];
  if (/(^|\s)#/.test(line.replace(/"[^"]*"|'[^']*'/g, ''))) return null;
  const {dashes, column, rest} = read(line);
  const path = enclosing(lines, here, column, dashes);
  const pair = key(rest);
  if (pair) {
    const inside = brackets(pair.value);
    return {...inside, path: [...path, pair.name, ...inside.path]};
  }
  if (/^[{[]/.test(rest)) {
    const inside = brackets(rest);
    return {...inside, path: [...path, ...inside.path]};
  }
  const all = [...lines, ...after.split('\n').slice(1)];
  return {path, writes: 'either', siblings: neighbours(all, here, column, dashes.length > 0), word: rest};
}
