'use strict';

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setTimeout } = globalThis;

/** Milliseconds between two attempts, at first and at most. */
const FIRST_DELAY = 1;
const LONGEST_DELAY = 16;

/** Calls on one cache that cannot be made yet, because another process has the lock: attempted again, in order, from the event loop. */
class RetryQueue {
  #attempts = [];
  /** Whether no call that changes entries was added since none waited. */
  hasOnlyReads = true;
  #timer;
  #delay = FIRST_DELAY;

  /** `idle` is called when no call waits any more. */
  constructor(idle) {
    this.idle = idle;
  }

  get length() {
    return this.#attempts.length;
  }

  /**
   * Adds a call. `attempt` makes the call and returns true when it is over, false where it has to be made again, or
   * after how many milliseconds it has to be made again. `reads`: the call changes no entry.
   */
  add(attempt, reads = false) {
    this.#attempts.push(attempt);
    if (!reads) this.hasOnlyReads = false;
    this.#timer ??= setTimeout(() => this.run(), this.#delay);
  }

  /** Makes the calls, up to the first that has to be made again. A call that throws is over, and its error is thrown. */
  run() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let done = 0;
    let outcome = true;
    try {
      while (outcome === true && done < this.#attempts.length) {
        done += 1;
        outcome = this.#attempts[done - 1]();
      }
      if (outcome !== true) done -= 1;
    } finally {
      this.#attempts.splice(0, done);
      if (typeof outcome === 'number') this.#delay = outcome;
      else this.#delay = done > 0 ? FIRST_DELAY : Math.min(2 * this.#delay, LONGEST_DELAY);
      if (this.#attempts.length > 0) this.#timer ??= setTimeout(() => this.run(), this.#delay);
      else {
        this.hasOnlyReads = true;
        this.idle?.();
      }
    }
  }
}

module.exports = { RetryQueue };
