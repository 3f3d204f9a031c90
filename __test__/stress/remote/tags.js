'use strict';

/** Entries with a tag: one worker writes them and invalidates the tag, with the time, and all read. */

const { now } = require('../../../lib/remote/clock');
const { MACHINE, NAMES, diverges, isExact } = require('./options');

const TAGS = 2;
const KEYS = 5;
const LOOPS = 6;

function create({ cache, seen, me, report, floors, stopwatch, tell }) {
  const busy = new Set();
  let invalidations = 0;
  const tagOf = (name) => `${name}/${Math.floor(Math.random() * TAGS)}`;
  const keyOf = (tag) => `${tag}/${Math.floor(Math.random() * KEYS)}`;

  async function read(name) {
    const tag = tagOf(name);
    const key = keyOf(tag);
    const [floor, ended = 0] = await Promise.all([floors.of(key), seen.get(`ended ${tag}`)]);
    const begun = now();
    const value = await stopwatch.timed(`get ${key}`, () => cache.get(key));
    if (value === undefined) {
      if (!isExact || name[0] !== MACHINE) return;
      const ending = (await seen.get(`ending ${tag}`)) ?? 0;
      if (floor > ending) report(`${key}: nothing after ${floor}`);
      return;
    }
    if (value < floor) report(`${key}: ${value} after ${floor}`);
    if (value < ended) report(`${key}: ${value}, its tag was invalidated at ${ended}`);
    const far = diverges ? 0 : floors.far(tag, begun);
    if (value < far) report(`${key}: ${value}, its tag was invalidated at ${far} elsewhere`);
    await floors.raise(key, value);
  }

  /** Does something with a tag of this worker; one thing at a time, so the order is known. */
  async function own(run) {
    const tag = tagOf(me);
    if (busy.has(tag)) return;
    busy.add(tag);
    try {
      await run(tag, Math.floor(now() * 1000));
    } finally {
      setTimeout(() => busy.delete(tag), 2);
    }
  }

  async function write(tag, value) {
    const key = keyOf(tag);
    await stopwatch.timed(`set ${key}`, () => cache.set(key, value, { tags: [tag] }));
    await floors.raise(key, value);
  }

  async function invalidate(tag, time) {
    await seen.set(`ending ${tag}`, time);
    await stopwatch.timed(`invalidateTags ${tag}`, () => cache.invalidateTags([tag]));
    await seen.set(`ended ${tag}`, time);
    tell({ key: tag, floor: time, at: now() });
    invalidations += 1;
  }

  return {
    loops: LOOPS,
    async step() {
      const dice = Math.random();
      if (dice < 0.05) await own(write);
      else if (dice < 0.07) await own(invalidate);
      else await read(NAMES[Math.floor(Math.random() * NAMES.length)]);
    },
    async check() {
      for (const name of NAMES) {
        for (let tag = 0; tag < TAGS; tag += 1) {
          for (let at = 0; at < KEYS; at += 1) {
            const key = `${name}/${tag}/${at}`;
            const value = await cache.get(key);
            const there = (await cache.getEntry(key))?.value;
            if (value !== there) report(`${key}: ${value} at rest, the server has ${there}`);
          }
        }
      }
    },
    report: () => ({ invalidations }),
  };
}

module.exports = { create };
