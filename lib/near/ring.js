'use strict';

/**
 * What this thread used when, for whoever holds the lock of the namespace: a ring of records `(version, row, stamp)`.
 * Stamps order the records of all rings. They come from one shared counter.
 *
 * A use has its place in the order at the moment at which it looks at the counter. While the counter stands at the last
 * stamp that this ring took, nobody else had a use since, and a stamp that was taken before will do. So whoever applies
 * the rings must raise the counter, not only load it, before the heads are loaded: a use that begins later then has a
 * stamp above the limit. So must whatever links an entry as the newest without a record.
 *
 * Where several threads read at the same time, each would take a stamp for each use, and the counter's cache line would
 * go from core to core: a read would cost twice as much. So a thread that finds the counter moved again and again holds
 * the stamps that it has taken, until its turn of the event loop ends. Within a turn it cannot learn that a call of another
 * thread has ended, so that call and its own uses of that turn overlap, and may be in either order. But a call of its own
 * that takes the lock, such as a `set`, comes before its later uses. Whoever takes the lock applies the rings, so the tail of
 * this ring has moved then: the stamps that are left are given up.
 */

// Kept, because test suites replace it by one that stands still.
const { nextTick } = process;

/** Word of the control line that counts stamps. */
const STAMP = 16;

/** How many records there are from one look at the tail to the next. */
const STRIDE = 64;
/**
 * Words of the head: how many records were ever written, and applied, and for how many there is room, a power of two. The
 * native side changes the last one in any call of this thread.
 */
const HEAD = 0;
const TAIL = 1;
const CAPACITY = 6;
/** Numbers of 64 bits: uses that a full ring did not take, and records of what was no hit. */
const DROPPED = 4;
const UNCOUNTED = 5;
/** 32-bit words before the first record. */
const HEAD_WORDS = 16;

/** The most stamps that are taken from the counter at once. With 1, each use takes one. */
const MOST_STAMPS = 256;
/** How many are taken at once to be held, and after how many finds that the counter has moved. */
const HELD_STAMPS = 64;
const MOVES = 8;
/** Uses that a hold must serve to be worth its cost, and finds to be passed over after one that was not. */
const LEAST_HELD = 16;
const PASSED_OVER = 1000;

/** Whether this processor makes stores visible in their order: then a plain one, which is faster, moves the head. */
const KEEPS_ORDER = process.arch === 'x64' || process.arch === 'ia32';

class Ring {
  /** While the ring is full: records that were dropped since `apply` was called, below `STRIDE`. */
  #dropped = 0;
  /** The last stamp that was used, and the last one taken from the counter. */
  #stamp;
  #taken;
  /** How many were taken at once. */
  #step = 1;
  /** Uses before those of the stamps taken last, and the stamp before these. */
  #uses = 0;
  #before;
  /** How often the counter was found moved; below 0 for a while after a hold that was of no use. */
  #moves = 0;
  /** Whether stamps are held until the turn ends, and the uses before that. */
  #isHeld = false;
  #usesBefore = 0;
  /** While stamps are held: the tail when they were taken. */
  #tail = 0;

  /**
   * @param {ArrayBuffer} buffer
   * @param {Int32Array} control
   * @param {() => void} apply applies all rings, if the lock is free
   * @param {(end: () => void) => void} [atEndOfTurn] calls a function when this turn of the event loop ends
   */
  constructor(buffer, control, apply, atEndOfTurn = nextTick) {
    this.control = control;
    this.apply = apply;
    this.atEndOfTurn = atEndOfTurn;
    this.endHold = () => this.#endHold();
    this.words = new Int32Array(buffer);
    this.numbers = new Float64Array(buffer);
    this.#stamp = control[STAMP];
    this.#taken = this.#stamp;
    this.#before = this.#stamp;
  }

  /** How many uses there were. */
  get uses() {
    return this.#uses + ((this.#stamp - this.#before) >>> 0);
  }

  /** Records that a row was used while it had this version. */
  use(row, version) {
    const { control, words } = this;
    const head = words[HEAD];
    if (
      this.#stamp === this.#taken ||
      (this.#isHeld ? words[TAIL] !== this.#tail : control[STAMP] !== this.#taken)
    ) {
      this.#take();
    }
    const stamp = (this.#stamp + 1) | 0;
    this.#stamp = stamp;
    if ((head & (STRIDE - 1)) === 0 && !this.#hasRoom(head)) {
      this.numbers[DROPPED] += 1;
      return;
    }
    const at = HEAD_WORDS + (head & (words[CAPACITY] - 1)) * 4;
    this.numbers[at >> 1] = version;
    words[at + 2] = row;
    words[at + 3] = stamp;
    if (KEEPS_ORDER) words[HEAD] = (head + 1) | 0;
    else Atomics.store(words, HEAD, (head + 1) | 0);
  }

  /** So many of the uses were no hits. */
  uncount(uses) {
    this.numbers[UNCOUNTED] += uses;
  }

  /**
   * Takes stamps from the counter. They are used up for as long as nobody else takes any, and given up then: so stamps
   * rise with time. The longer nobody else takes any, the more are taken at once.
   */
  #take() {
    this.#uses += (this.#stamp - this.#before) >>> 0;
    this.#before = this.#stamp;
    if (this.control[STAMP] !== this.#taken) {
      this.#moves += 1;
      if (this.#moves >= MOVES && !this.#isHeld) this.#hold();
      this.#step = this.#isHeld ? HELD_STAMPS : 1;
      this.#tail = this.words[TAIL];
    } else {
      this.#step = Math.min(this.#step * 2, MOST_STAMPS);
      this.#moves = Math.min(this.#moves, 0);
    }
    this.#stamp = Atomics.add(this.control, STAMP, this.#step);
    this.#before = this.#stamp;
    this.#taken = (this.#stamp + this.#step) | 0;
  }

  /** From here to the end of the turn, stamps that were taken are used up though others have taken some since. */
  #hold() {
    this.#isHeld = true;
    this.#usesBefore = this.uses;
    this.atEndOfTurn(this.endHold);
  }

  #endHold() {
    this.#isHeld = false;
    this.#moves = this.uses - this.#usesBefore < LEAST_HELD ? -PASSED_OVER : MOVES;
  }

  /** Whether there is room for records up to the next stride. Has the rings applied where there is little. */
  #hasRoom(head) {
    const { words } = this;
    let waiting = (head - Atomics.load(words, TAIL)) >>> 0;
    if (waiting * 2 >= words[CAPACITY]) {
      // Without room the head stands still, and each record is dropped: not each of them calls.
      if (this.#dropped === 0) this.apply();
      waiting = (head - Atomics.load(words, TAIL)) >>> 0;
    }
    const hasRoom = waiting <= words[CAPACITY] - STRIDE;
    this.#dropped = hasRoom ? 0 : (this.#dropped + 1) % STRIDE;
    return hasRoom;
  }
}

module.exports = { Ring };
