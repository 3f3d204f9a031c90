'use strict';

/** Measures the calls of a process, and finds those that do not end. */

const { now } = require('../../../lib/remote/clock');
const { TIMEOUT } = require('./options');

/** Milliseconds after which a call hangs. */
const ENDLESS = 15_000;

/** Milliseconds between two looks at the clock, and how late one is where the process was stopped. */
const TICK = 20;
const LAG = 300;

/** How long a call may take, in milliseconds: each tier has `timeout`. */
const MOST = 2 * TIMEOUT + 300;

class Stopwatch {
  #pending = new Map();
  #last = now();
  /** How long this process was stopped, so far. */
  #stopped = 0;
  longest = 0;
  /** The calls that took longer than they may. */
  late = 0;
  #report;

  /** @param {(text: string) => void} report is given what must not be */
  constructor(report) {
    this.#report = report;
    setInterval(() => {
      this.#stopped += this.#lag;
      this.#last = now();
    }, TICK).unref();
    setInterval(() => {
      for (const [call, { begun, what }] of this.#pending) {
        const since = now() - begun;
        if (since < ENDLESS) continue;
        this.#pending.delete(call);
        report(`${what} has not ended after ${Math.round(since)} ms`);
      }
    }, 1000).unref();
  }

  /** How long this process has been stopped since the last look at the clock. */
  get #lag() {
    const lag = now() - this.#last - TICK;
    return lag > LAG ? lag : 0;
  }

  /** A clock of this process, which stands still while the process is stopped. */
  get time() {
    return now() - this.#stopped - this.#lag;
  }

  /** Resolves as the call does, which must end. */
  async ending(what, call) {
    this.#pending.set(call, { begun: now(), what });
    try {
      return await call();
    } finally {
      this.#pending.delete(call);
    }
  }

  /** Resolves as the call does, which must end in time. */
  async timed(what, call) {
    const begun = this.time;
    try {
      return await this.ending(what, call);
    } finally {
      const took = this.time - begun;
      this.longest = Math.max(this.longest, took);
      if (took > MOST) {
        this.late += 1;
        if (this.late < 4) this.#report(`${what} took ${Math.round(took)} ms`);
      }
    }
  }

  /** What has not ended yet. */
  get pending() {
    return [...this.#pending.values()].map(({ what }) => what);
  }
}

module.exports = { Stopwatch };
