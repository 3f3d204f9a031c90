'use strict';

/** What the command writes: tables, numbers, texts that may come from anywhere. */

const util = require('util');

/** Node 20.12 and later have it. */
const { styleText } = /** @type {any} */ (util);

/** Whether output has colours: on a terminal whose user has not said otherwise. */
const hasColours = () =>
  Boolean(process.stdout.isTTY) && !process.env.NO_COLOR && styleText !== undefined;

/** A text in a style, where there are colours. */
function styled(style, text) {
  return hasColours() ? styleText(style, text) : text;
}

/** A text that does no harm to a terminal: control characters are written as escapes. */
function printable(text) {
  return text.replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** At most so many characters of a text. */
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** A number of bytes for people. */
function bytes(count) {
  if (!Number.isFinite(count)) return '-';
  let left = count;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (left < 1024)
      return `${left < 10 && unit !== 'B' ? left.toFixed(1) : Math.round(left)} ${unit}`;
    left /= 1024;
  }
  return `${left.toFixed(1)} TiB`;
}

/** A count for people: digits in groups of three. */
const count = (number) => number.toLocaleString('en-US');

/** A part of a whole as percents. */
const percent = (part, whole) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '-');

/**
 * Rows of a table below their titles. Numbers stand to the right.
 *
 * @param {string[]} titles
 * @param {(string | { right: string })[][]} rows
 */
function table(titles, rows) {
  const text = (cell) => (typeof cell === 'string' ? cell : cell.right);
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => text(row[column]).length)),
  );
  const isRight = (column) => typeof rows[0]?.[column] === 'object';
  const line = (cells) =>
    cells
      .map((cell, column) =>
        isRight(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join('  ')
      .trimEnd();
  return [styled('bold', line(titles)), ...rows.map((row) => line(row.map(text)))].join('\n');
}

module.exports = { bytes, count, cut, percent, printable, styled, table };
