'use strict';

/** Values that say themselves whether they are whole, and whose they are. */

/** FNV-1a of a text. */
function hash(text) {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  }
  return sum >>> 0;
}

const FILL = Array.from({ length: 4096 }, (_, at) => ((at * 2654435761) >>> 8).toString(36)).join(
  '',
);

let count = 0;

/** A value for a key: a text, an object, or a Map where it is copied as a clone. */
function seal(key, { length = Math.floor(Math.random() ** 3 * 4000), clone = false } = {}) {
  count += 1;
  const from = Math.floor(Math.random() * (FILL.length - length));
  const body = `${process.pid}/${count} ${FILL.slice(from, from + length)}`;
  const sum = hash(`${key}\n${body}`);
  if (count % 3 === 0) return `${sum} ${body}`;
  return clone ? new Map([['sealed', { key, sum, body }]]) : { key, sum, body };
}

/** What is wrong with a value that was read under a key; `undefined` if nothing. */
function flaw(key, value) {
  if (typeof value === 'string') {
    const at = value.indexOf(' ');
    const good = Number(value.slice(0, at)) === hash(`${key}\n${value.slice(at + 1)}`);
    return good ? undefined : `the text ${value.slice(0, 80)}`;
  }
  const sealed = value instanceof Map ? value.get('sealed') : value;
  const good =
    typeof sealed?.body === 'string' &&
    sealed.key === key &&
    sealed.sum === hash(`${key}\n${sealed.body}`);
  return good ? undefined : `the object ${JSON.stringify(value)?.slice(0, 200)}`;
}

module.exports = { seal, flaw };
