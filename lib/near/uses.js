'use strict';

/**
 * What this thread used when, of a cache on the heap of its process: the counterpart of `Ring`, for a cache that nobody else has.
 *
 * Each use has a number, one above that of the use before. The number of a row's last use lies beside its version, and a list
 * has the rows that were used since the native side has looked. A native call looks before anything else, puts the listed
 * rows into the order of their last uses, and empties the list. So however often a row is used, it is listed once.
 */

const { PIECE_MASK } = require('./pieces');

/** Numbers of 64 bits: that of the last use, that of the last one the native side has looked at, and uses that were no hits. */
const COUNT = 0;
const APPLIED = 1;
const UNCOUNTED = 2;
/** Words: how many rows are listed, and the first of them. */
const LISTED = 6;
const ROWS = 8;

class Uses {
  #base;

  /**
   * @param {ArrayBuffer} buffer
   * @param {() => void} apply has the native side look
   */
  constructor(buffer, apply) {
    this.words = new Int32Array(buffer);
    this.numbers = new Float64Array(buffer, 0, UNCOUNTED + 1);
    this.apply = apply;
    this.#base = this.numbers[COUNT];
  }

  /** How many uses there were. */
  get uses() {
    return this.numbers[COUNT] - this.#base;
  }

  /**
   * Records that a row was used.
   *
   * @param {number} row
   * @param {number} version that it had, which no native call has changed since
   * @param {Float64Array} [column] the versions of its piece, and behind them the numbers of last uses. Without, the use is
   *   counted, and its place in the order is not known
   */
  use(row, version, column) {
    const { numbers } = this;
    if (column === undefined) {
      numbers[COUNT] += 1;
      return;
    }
    const at = (row & PIECE_MASK) + (column.length >>> 1);
    if (column[at] <= numbers[APPLIED]) this.#list(row);
    const number = numbers[COUNT] + 1;
    numbers[COUNT] = number;
    column[at] = number;
  }

  #list(row) {
    const { words } = this;
    const most = words.length - ROWS;
    if (words[LISTED] >= most) this.apply();
    const listed = words[LISTED];
    // A native side that does not look has failed: the order is no longer of interest.
    if (listed >= most) return;
    words[ROWS + listed] = row;
    words[LISTED] = listed + 1;
  }

  /** So many of the uses were no hits. */
  uncount(uses) {
    this.numbers[UNCOUNTED] += uses;
  }
}

module.exports = { Uses };
