'use strict';

/** Entries that nobody writes while they are there. When the server has lost all, none of them may be read for long. */

const { setTimeout: sleep } = require('node:timers/promises');
const { now } = require('../../../lib/remote/clock');
const { BOUND, TIMEOUT } = require('./options');

const KEYS = 20;

/** A write is over after this time, in milliseconds. */
const WRITING = 2 * TIMEOUT + 500;

/** How late a read may look at the clock, in milliseconds. */
const TURN = 100;

function create({ cache, report, stopwatch }) {
  const flushes = [];
  let longestFlushed = 0;
  return {
    loops: 2,
    async step() {
      const key = `still:${Math.floor(Math.random() * KEYS)}`;
      await sleep(1);
      const begun = now();
      const value = await stopwatch.timed(`get ${key}`, () => cache.get(key));
      if (value === undefined) {
        await cache.setIfAbsent(key, now());
        return;
      }
      for (const { from, to } of flushes) {
        if (value > from - WRITING || begun < to) continue;
        longestFlushed = Math.max(longestFlushed, begun - to);
        if (begun > to + BOUND + TURN) {
          report(`${key}: read ${begun - to} ms after FLUSHALL, set ${from - value} ms before it`);
        }
      }
    },
    flushed: (flush) => flushes.push(flush),
    report: () => ({ longestFlushed }),
  };
}

module.exports = { create };
