'use strict';

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setTimeout } = globalThis;

/** Milliseconds between two tries, at first and at most. */
const FIRST_DELAY = 1;
const LONGEST_DELAY = 16;

/** Pauses between two tries to get a store: the first in milliseconds, each twice the one before, up to the longest. */
class Pauses {
  static #FIRST = 16;
  static #LONGEST = 1024;
  #next = Pauses.#FIRST;

  /** The next pause. */
  take() {
    const pause = this.#next;
    this.#next = Math.min(2 * pause, Pauses.#LONGEST);
    return pause;
  }

  /** A try succeeded. */
  reset() {
    this.#next = Pauses.#FIRST;
  }
}

/** Calls on one store that another process has locked: made again, in order, from the event loop. */
class Waiting {
  #tries = [];
  #timer;
  #delay = FIRST_DELAY;

  /** `idle` is called when none waits any more. */
  constructor(idle) {
    this.idle = idle;
  }

  get length() {
    return this.#tries.length;
  }

  /**
   * Adds a call: `attempt` makes it, and returns false where it has to be made again; or a number, the milliseconds
   * after which.
   */
  add(attempt) {
    this.#tries.push(attempt);
    this.#timer ??= setTimeout(() => this.run(), this.#delay);
  }

  /** Makes the calls, up to the first that has to wait on. One that throws is over, and its error goes on. */
  run() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let done = 0;
    let outcome = true;
    try {
      while (outcome === true && done < this.#tries.length) {
        done += 1;
        outcome = this.#tries[done - 1]();
      }
      if (outcome !== true) done -= 1;
    } finally {
      this.#tries.splice(0, done);
      if (typeof outcome === 'number') this.#delay = outcome;
      else this.#delay = done > 0 ? FIRST_DELAY : Math.min(2 * this.#delay, LONGEST_DELAY);
      if (this.#tries.length > 0) this.#timer ??= setTimeout(() => this.run(), this.#delay);
      else this.idle?.();
    }
  }
}

module.exports = { Pauses, Waiting };
