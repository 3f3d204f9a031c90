'use strict';

/**
 * What the processes of a machine have read or written of keys: nothing older may be read afterwards. It lies in a cache of the machine
 * that has no remote tier. Each process writes entries of its own, so none overwrites what another one knows.
 */

const { now } = require('../../../lib/remote/clock');
const { BOUND, WORKERS } = require('./options');

/** How late a read may look at the clock, in milliseconds: within one turn of the event loop, which others interrupt. */
const TURN = 100;

class Floors {
  #seen;
  #index;
  #own = new Map();
  /** By key: what the other machine has done, in order. */
  #told = new Map();

  constructor(seen, index) {
    this.#seen = seen;
    this.#index = index;
  }

  /** The newest that a process of this machine has of a key. 0: nothing. */
  async of(key) {
    const names = Array.from({ length: WORKERS }, (_, index) => `${index} ${key}`);
    const values = await this.#seen.getMany(names);
    return Math.max(this.#own.get(key) ?? 0, ...values.map((value) => value ?? 0));
  }

  /** This process has read or written a value. */
  async raise(key, value) {
    const newest = Math.max(this.#own.get(key) ?? 0, value);
    this.#own.set(key, newest);
    await this.#seen.set(`${this.#index} ${key}`, newest);
  }

  /** The other machine has ended what is older than `floor`, at a time of the clock. */
  told({ key, floor, at }) {
    const list = this.#told.get(key);
    if (list === undefined) this.#told.set(key, [{ floor, at }]);
    else list.push({ floor, at });
  }

  /** What was not to be read any more when a read began, as the other machine has ended it. 0: nothing. */
  far(key, begun = now()) {
    const list = this.#told.get(key) ?? [];
    const isOver = ({ at }) => at + BOUND + TURN < begun;
    while (list.length > 1 && isOver(list[1])) list.shift();
    return list.length > 0 && isOver(list[0]) ? list[0].floor : 0;
  }
}

module.exports = { Floors };
