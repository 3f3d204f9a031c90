'use strict';

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setTimeout } = globalThis;

/** Milliseconds between two tries, at first and at most. */
const FIRST_DELAY = 1;
const LONGEST_DELAY = 16;

/** What an error says that is worth another try: another process has the lock of the store. */
const BUSY = 'ERR_STORE_BUSY';

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

  /** Adds a call: `attempt` makes it, and returns false where it has to be made again. */
  add(attempt) {
    this.#tries.push(attempt);
    this.#timer ??= setTimeout(() => this.run(), this.#delay);
  }

  /** Makes the calls, up to the first that has to wait on. One that throws is over, and its error goes on. */
  run() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let done = 0;
    try {
      while (done < this.#tries.length) {
        done += 1;
        if (!this.#tries[done - 1]()) {
          done -= 1;
          break;
        }
      }
    } finally {
      this.#tries.splice(0, done);
      this.#delay = done > 0 ? FIRST_DELAY : Math.min(2 * this.#delay, LONGEST_DELAY);
      if (this.#tries.length > 0) this.#timer ??= setTimeout(() => this.run(), this.#delay);
      else this.idle?.();
    }
  }
}

module.exports = { BUSY, Waiting };
