'use strict';

/**
 * Whether entries with an age are still fresh.
 *
 * A look at the system's clock takes half as long as the rest of a near read. So in a turn of the event loop that makes
 * many reads, one look serves `READS` reads, of entries that stay fresh for `FAR` milliseconds or more after that look.
 * Such an entry would be given after its end only if the turn took longer than `FAR` and made fewer than `READS` reads
 * meanwhile. The next turn looks again. Entries that are nearer to their end, and a `Date.now` that a test suite has
 * replaced, are looked at each time.
 */

const { isSystemClock } = require('../clock');

// Kept, because test suites replace it.
const { nextTick } = process;

/** Milliseconds that an entry must stay fresh after a look that serves more reads than one. */
const FAR = 10_000;
/** Reads that one look serves at most. */
const READS = 64;
/** Looks in the same millisecond after which a turn counts as one that makes many reads. */
const LOOKS = 8;

class Clock {
  /** What the last look has shown, and how many more reads it serves. */
  #seen = 0;
  #left = 0;
  /** Looks in a row that have shown the same millisecond. */
  #looks = 0;
  /** Whether this turn makes many reads. */
  #isBusy = false;
  #system;
  #endTurn = () => {
    this.#isBusy = false;
    this.#left = 0;
    this.#looks = 0;
  };

  /**
   * @param {{ now: () => number, isSystemClock: () => boolean, atEndOfTurn: (end: () => void) => void }} [system] another
   *   one in tests. `isSystemClock`: whether time passes by itself alone. `atEndOfTurn` calls a function when this turn of
   *   the event loop ends
   */
  constructor(system = { now: () => Date.now(), isSystemClock, atEndOfTurn: nextTick }) {
    this.#system = system;
  }

  /**
   * Whether a moment has not passed.
   *
   * @param {number} expires milliseconds since the epoch: the last millisecond at which an entry is fresh
   */
  isBefore(expires) {
    if (this.#left > 0 && expires - this.#seen >= FAR && this.#system.isSystemClock()) {
      this.#left -= 1;
      return true;
    }
    return this.#look() <= expires;
  }

  #look() {
    const now = this.#system.now();
    if (this.#isBusy) this.#left = READS;
    else if (now !== this.#seen) this.#looks = 0;
    else {
      this.#looks += 1;
      if (this.#looks >= LOOKS) this.#beginTurn();
    }
    this.#seen = now;
    return now;
  }

  #beginTurn() {
    this.#isBusy = true;
    this.#left = READS;
    this.#system.atEndOfTurn(this.#endTurn);
  }
}

module.exports = { Clock };
