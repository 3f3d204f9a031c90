'use strict';

/**
 * A process that reads and writes for the tests of coherence, and checks what it reads.
 *
 * Every value says which writer wrote it and the how-manieth write of this key that was: `(writer, number)`. A file holds,
 * for each key and writer, what that writer knows. The kernel orders reads and writes of the file, so no message
 * hides a race. A writer notes its number before a write, and after the write was acknowledged
 *
 * - the number as acknowledged;
 * - for each writer up to which number its values are dead: what was acknowledged before this write began has been
 *   replaced, or removed, by this write.
 *
 * A reader loads that before it reads. A dead value that it reads nevertheless is a violation.
 */

const fs = require('node:fs');
const { setImmediate: turn } = require('node:timers/promises');
const { Budget } = require('../../lib/near/budget');

/** Who writes: the primary and three workers. */
const WRITERS = 4;

/** Words of 4 bytes that a writer has for a key: its dead numbers by writer, what was acknowledged, what was begun. */
const ROW = 8;
const ACKNOWLEDGED = WRITERS;
const BEGUN = WRITERS + 1;
const WORDS = WRITERS * ROW;

/** Keys by what lies under them. The two keys of a pair are written together. */
const KINDS = [
  ...Array(6).fill('number'),
  ...Array(8).fill('text'),
  ...Array(8).fill('object'),
  ...Array(6).fill('pair'),
];
const KEYS = KINDS.map((kind, at) => (at % 5 === 4 ? 1000 + at : `${kind}:${at}`));
const SINGLES = KINDS.indexOf('pair');

/** Reads for each write. */
const RATIO = 10;

const OPTIONS = { timeout: 5000, failsafe: 'reject' };

const random = (below) => Math.floor(Math.random() * below);

/** How long a value is: from one block to many. The number decides, so that a reader knows the length. */
const LENGTHS = [1, 4, 40, 300];
const countOf = (number) => LENGTHS[number % LENGTHS.length];

function seal(at, writer, number) {
  const kind = KINDS[at];
  if (kind === 'number') return number * WRITERS + writer;
  const mark = `${KEYS[at]}/${writer}/${number};`;
  if (kind !== 'object') return mark.repeat(countOf(number));
  return { writer, number, at, parts: new Array(countOf(number)).fill({ mark }) };
}

/** The memory that near reads have, of all namespaces of this process. */
const sharers = [];
const { join } = Budget.prototype;
Budget.prototype.join = function (sharer) {
  sharers.push(sharer);
  return join.call(this, sharer);
};

class Actor {
  #file;
  #caches;
  #writer;
  #words = new Int32Array(2 * WORDS);
  /** The text that was last found whole, by key: most reads give the same again. */
  #whole = [];
  #inPrimary;
  counts = { reads: 0, hits: 0, writes: 0, bursts: 0, timedOut: 0 };
  violations = [];

  /** @param {{ file: string, namespace: string, writer: number }} given */
  static async open(Cache, { file, namespace, writer }) {
    const actor = new Actor();
    actor.#file = fs.openSync(file, 'r+');
    actor.#writer = writer;
    actor.#inPrimary = writer === 0;
    actor.#caches = {};
    for (const [name, options] of Object.entries({
      near: {},
      frozen: { freeze: true },
      native: { near: false },
    })) {
      actor.#caches[name] = await Cache.getInstance({ ...OPTIONS, ...options, namespace });
    }
    actor.transport = actor.#caches.near.transport().kind;
    return actor;
  }

  /** Loads what is known of a key, and perhaps of the next one, and gives what is dead: a number by key and writer. */
  #dead(at, count = 1) {
    const words = this.#words;
    fs.readSync(this.#file, words, 0, count * WORDS * 4, at * WORDS * 4);
    const dead = [];
    for (let from = 0; from < count * WORDS; from += WORDS) {
      for (let of = 0; of < WRITERS; of += 1) {
        let most = 0;
        for (let by = 0; by < WRITERS; by += 1) most = Math.max(most, words[from + by * ROW + of]);
        dead.push(most);
      }
    }
    return dead;
  }

  /**
   * Notes that a write begins, of one key or of a pair. Returns its number, and what is to be noted of each key once it is
   * acknowledged.
   */
  #begin(keys, isRemoval = false) {
    const writer = this.#writer;
    const olds = [];
    const rows = keys.map((at) => {
      const dead = this.#dead(at);
      const words = this.#words;
      olds.push(words.slice(writer * ROW, (writer + 1) * ROW));
      const row = olds.at(-1).slice();
      for (let of = 0; of < WRITERS; of += 1) {
        row[of] = Math.max(dead[of], words[of * ROW + ACKNOWLEDGED]);
      }
      // A process that was this writer and was killed may have written all that it had begun.
      row[writer] = row[BEGUN];
      return row;
    });
    if (isRemoval) return { rows };
    const number = Math.max(...rows.map((row) => row[BEGUN])) + 1;
    keys.forEach((at, which) => {
      olds[which][BEGUN] = number;
      this.#note(at, olds[which]);
      rows[which][BEGUN] = number;
      rows[which][ACKNOWLEDGED] = number;
    });
    return { rows, number };
  }

  #note(at, row) {
    fs.writeSync(this.#file, row, 0, ROW * 4, (at * WORDS + this.#writer * ROW) * 4);
  }

  /** Compares a value with what is dead. Returns who wrote it and when, or `undefined`. */
  #check(what, at, value, dead, from = 0) {
    if (value === undefined) return undefined;
    this.counts.hits += 1;
    const found = this.#read(at, value);
    if (found === undefined) {
      this.#report(`${what} of ${KEYS[at]}: not whole: ${JSON.stringify(value)?.slice(0, 200)}`);
    } else if (found.number <= dead[from + found.writer]) {
      this.#report(
        `${what} of ${KEYS[at]} by ${this.#writer}: ${found.number} of ${found.writer}, ` +
          `dead up to ${dead.slice(from, from + WRITERS)}`,
      );
    }
    return found;
  }

  #report(text) {
    if (this.violations.length < 20) this.violations.push(text);
  }

  /** Who wrote a value, and when; `undefined` where it is not whole. */
  #read(at, value) {
    const kind = KINDS[at];
    if (kind === 'number') {
      if (!Number.isInteger(value)) return undefined;
      return { writer: value % WRITERS, number: Math.floor(value / WRITERS) };
    }
    if (kind === 'object') {
      const { writer, number, parts } = value;
      const mark = `${KEYS[at]}/${writer}/${number};`;
      if (value.at !== at || parts?.length !== countOf(number)) return undefined;
      return parts.every((part) => part.mark === mark) ? { writer, number } : undefined;
    }
    const known = this.#whole[at];
    if (known?.value === value) return known;
    const [key, writer, number] = value.slice(0, value.indexOf(';')).split('/');
    if (key !== String(KEYS[at]) || value !== seal(at, writer, Number(number))) return undefined;
    return (this.#whole[at] = { value, writer: Number(writer), number: Number(number) });
  }

  /** What this process does with an object of its own harms nobody. */
  #spoil(name, at, value) {
    if (KINDS[at] !== 'object' || value === undefined) return;
    if (name === 'frozen' && !this.#inPrimary) {
      // What the primary has by reference is not frozen, and comes as a message: its copy is.
      if (!Object.isFrozen(value.parts[0])) this.#report(`${KEYS[at]} is not frozen`);
    } else if (!this.#inPrimary) {
      value.number = -1;
      value.parts[0].mark = 'spoilt';
    }
  }

  /** One read, or an `mGet` of several keys. */
  async read() {
    const draw = random(100);
    const name = draw % 10 === 0 ? 'native' : draw % 10 === 1 ? 'frozen' : 'near';
    const cache = this.#caches[name];
    if (draw < 75) {
      const at = random(SINGLES);
      const call = draw < 65 ? 'get' : 'peek';
      const dead = this.#dead(at);
      this.counts.reads += 1;
      const value = await cache[call](KEYS[at]);
      this.#check(`${name} ${call}`, at, value, dead);
      this.#spoil(name, at, value);
      return;
    }
    if (draw < 80) {
      this.counts.reads += 1;
      await cache.has(KEYS[random(KEYS.length)]);
      return;
    }
    // The two keys of a pair.
    const at = SINGLES + 2 * random((KEYS.length - SINGLES) / 2);
    const keys = [KEYS[at], KEYS[at + 1]];
    const other = random(SINGLES);
    // A third key is often changed: its miss makes a batch of near hits and native reads.
    if (draw >= 90) keys.splice(random(3), 0, KEYS[other]);
    const otherDead = this.#dead(other);
    const dead = this.#dead(at, 2);
    this.counts.reads += keys.length;
    const found = await cache.mGet(keys);
    this.#check(`${name} mGet`, other, found[KEYS[other]], otherDead);
    const first = this.#check(`${name} mGet`, at, found[KEYS[at]], dead);
    const second = this.#check(`${name} mGet`, at + 1, found[KEYS[at + 1]], dead, WRITERS);
    if (!first || !second) return;
    if (first.writer !== second.writer || first.number !== second.number) {
      const text = [first, second].map((each) => `${each.number} of ${each.writer}`).join(' and ');
      this.#report(`${name} mGet of a pair mixes ${text}`);
    }
  }

  /** One write, whatever it changes. */
  async write() {
    const draw = random(1000);
    const cache = this.#caches[draw % 2 === 0 ? 'near' : 'native'];
    this.counts.writes += 1;
    // The age of those that have none of their own.
    if (draw < 10) return void (await cache.maxAge(random(3) * 20));
    if (draw < 12) return void (await cache.prune());
    const age = random(10) === 0 ? 1 + random(5) : 0;
    let keys;
    let begun;
    let done;
    if (draw < 14) {
      keys = KEYS.map((key, at) => at);
      begun = this.#begin(keys, true);
      done = cache.reset();
    } else if (draw < 200) {
      const at = SINGLES + 2 * random((KEYS.length - SINGLES) / 2);
      keys = [at, at + 1];
      begun = this.#begin(keys, draw < 30);
      const pairs = new Map(
        keys.map((each) => [KEYS[each], seal(each, this.#writer, begun.number)]),
      );
      done = draw < 30 ? cache.mDel([...pairs.keys()]) : cache.mSet(pairs, age);
    } else {
      let at = random(SINGLES);
      // What the primary has by reference, workers read by messages.
      if (this.#inPrimary && KINDS[at] === 'object' && random(20) > 0) at = random(14);
      keys = [at];
      begun = this.#begin(keys, draw < 230);
      done =
        draw < 230
          ? cache.del(KEYS[at])
          : cache.set(KEYS[at], seal(at, this.#writer, begun.number), age);
    }
    const { rows } = begun;
    if (keys.length > 1 || draw % 3 > 0) {
      await done;
      keys.forEach((at, which) => this.#note(at, rows[which]));
      return;
    }
    // Reads of this process that begin in the same turn see its write.
    const [at] = keys;
    this.counts.bursts += 1;
    const reads = [this.#caches.near.get(KEYS[at]), this.#caches.native.peek(KEYS[at])];
    const values = (await Promise.allSettled([done, ...reads])).map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
    this.#note(at, rows[0]);
    for (const value of values.slice(1)) this.#check('own read', at, value, rows[0]);
  }

  /**
   * Reads and writes until there were this many of both, or until `over`.
   *
   * @param {{ reads: number, writes: number }} goal
   */
  async run({ reads, writes }) {
    const { counts } = this;
    const nearHits = () => sharers.reduce((sum, sharer) => sum + sharer.hits, 0);
    const before = nearHits();
    this.over = false;
    for (let calls = 1; !this.over; calls += 1) {
      const due = counts.writes * RATIO <= counts.reads && counts.writes < writes;
      if (!due && counts.reads >= reads) break;
      try {
        await (due ? this.write() : this.read());
      } catch (error) {
        if (error.code !== 'ETIMEDOUT') throw error;
        counts.timedOut += 1;
      }
      // Calls that need no message never leave the turn.
      if (calls % 500 === 0) await turn();
    }
    return {
      ...counts,
      near: nearHits() - before,
      transport: this.transport,
      violations: this.violations,
    };
  }
}

/** The size of the file. */
const BYTES = KEYS.length * WORDS * 4;

module.exports = { Actor, BYTES };
