'use strict';

/** Measures the calls of a process, and finds those that do not end. */

const { now } = require('../../../lib/remote/clock');
const { TIMEOUT } = require('./options');

/** Milliseconds after which a call hangs. */
const ENDLESS = 15_000;

/** Milliseconds between two looks at the clock, and how late one is where the process was stopped. */
const TICK = 20;
const LAG = 300;

class Stopwatch {
  #pending = new Map();
  #last = now();
  #lag = 0;
  longest = 0;
  /** How many calls took longer than they may. */
  late = 0;

  /** @param {(text: string) => void} report is given what must not be */
  constructor(report) {
    setInterval(() => {
      this.#lag = now() - this.#last - TICK;
      this.#last = now();
    }, TICK).unref();
    setInterval(() => {
      for (const [call, begun] of this.#pending) {
        const since = now() - begun;
        if (since < ENDLESS) continue;
        this.#pending.delete(call);
        report(`a call has not ended after ${Math.round(since)} ms: ${call}`);
      }
    }, 1000).unref();
  }

  /** Whether this process was stopped just now: then its own time stood still, too. */
  get wasStopped() {
    return this.#lag > LAG || now() - this.#last > LAG;
  }

  /** Resolves as the call does, which must end. */
  async ending(call) {
    this.#pending.set(call, now());
    try {
      return await call();
    } finally {
      this.#pending.delete(call);
    }
  }

  /** Resolves as the call does, which must end in time. */
  async timed(call) {
    const begun = now();
    try {
      return await this.ending(call);
    } finally {
      const took = now() - begun;
      if (!this.wasStopped) {
        this.longest = Math.max(this.longest, took);
        if (took > 2 * TIMEOUT + 300) this.late += 1;
      }
    }
  }

  /** What has not ended yet. */
  get pending() {
    return [...this.#pending.keys()].map(String);
  }
}

module.exports = { Stopwatch };
