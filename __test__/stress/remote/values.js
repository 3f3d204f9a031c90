'use strict';

/** Values and a counter: each key is written by one worker, with the time, and read by all. */

const { now } = require('../../../lib/remote/clock');
const { NAMES, isExact } = require('./options');

const KEYS = 20;
const LOOPS = 16;

function create({ cache, seen, me, report, floors, stopwatch }) {
  const keys = NAMES.flatMap((name) => Array.from({ length: KEYS }, (_, at) => `${name}:${at}`));
  const busy = new Set();
  const sums = [];
  let newestSum = 0;

  async function read(key) {
    const floor = await floors.of(key);
    const value = await stopwatch.timed(`get ${key}`, () => cache.get(key));
    if (value === undefined) {
      if (isExact && floor > 0) report(`${key}: nothing after ${floor}`);
      return;
    }
    if (value < floor) report(`${key}: ${value} after ${floor}`);
    await floors.raise(key, value);
  }

  async function write() {
    const key = `${me}:${Math.floor(Math.random() * KEYS)}`;
    // One write of a key at a time: their order is known.
    if (busy.has(key)) return;
    busy.add(key);
    try {
      const value = Math.floor(now() * 1000);
      await stopwatch.timed(`set ${key}`, () => cache.set(key, value));
      await floors.raise(key, value);
    } finally {
      setTimeout(() => busy.delete(key), 2);
    }
  }

  async function count() {
    const floor = newestSum;
    // What was begun by a process that is killed is known to the machine.
    await seen.incr('begun');
    let sum;
    try {
      sum = await stopwatch.timed('incr n', () => cache.incr('n'));
    } catch (error) {
      // It was not sent, and must not count.
      if (error.message.includes('there is no connection')) await seen.decr('begun');
      throw error;
    }
    await seen.incr('acknowledged');
    sums.push(sum);
    if (!isExact) return;
    if (sum <= floor) report(`n: ${sum} after ${floor}`);
    newestSum = Math.max(newestSum, sum);
  }

  return {
    loops: LOOPS,
    async step() {
      const dice = Math.random();
      if (dice < 0.05) await write();
      else if (dice < 0.06) await count();
      else await read(keys[Math.floor(Math.random() ** 2 * keys.length)]);
    },
    async check() {
      for (const key of [...keys, 'n']) {
        const value = await cache.get(key);
        const there = (await cache.getEntry(key))?.value;
        if (value !== there) report(`${key}: ${value} at rest, the server has ${there}`);
        if (key !== 'n' && value < (await floors.of(key)))
          report(`${key}: ${value} at rest is old`);
      }
      const [begun = 0, acknowledged = 0] = await seen.getMany(['begun', 'acknowledged']);
      return { total: (await cache.getEntry('n'))?.value ?? 0, begun, acknowledged };
    },
    report: () => ({ sums }),
  };
}

module.exports = { create };
