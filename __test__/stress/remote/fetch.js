'use strict';

/** `fetch`: loaders read a database. Whoever changes the database then calls `del`, or invalidates the tag of the entry. */

const { setTimeout: sleep } = require('node:timers/promises');
const { now } = require('../../../lib/remote/clock');
const { Database } = require('./database');
const { DATABASE, FAULTS, diverges } = require('./options');

const KEYS = 40;
const LOOPS = 8;

const tagOf = (key) => `tag of ${key}`;

async function create({ cache, seen, me, report, floors, stopwatch, tell }) {
  const database = await Database.connect(DATABASE, me);
  /** By key, what a `fetch` of this process has given. */
  const given = new Map();
  let [fetches, longestFetch, deletions] = [0, 0, 0];

  const load = (key, called) => async () => {
    const { id, version } = await database.ask({ load: key, called });
    await sleep(Math.random() * 5);
    // The database knows that the loader is over before anybody else can know.
    await database.ask({ loaded: id });
    if (Math.random() < 0.01)
      throw Object.assign(new Error('the loader failed'), { code: 'ELOAD' });
    return version;
  };

  async function fetch(key) {
    const floor = Math.max(await floors.of(key), FAULTS.length > 0 ? 0 : (given.get(key) ?? 0));
    const begun = now();
    const since = stopwatch.time;
    const status = {};
    let value;
    try {
      value = await stopwatch.ending(`fetch ${key}`, () =>
        cache.fetch(key, load(key, begun), { tags: [tagOf(key)], status }),
      );
    } catch (error) {
      if (error.code === 'ELOAD') return;
      throw error;
    }
    fetches += 1;
    longestFetch = Math.max(longestFetch, stopwatch.time - since);
    if (value < floor) {
      const end = await seen.get(`end of ${key}`);
      const { fetch: how } = status;
      report(
        `fetch ${key}: ${value} after ${floor}, ${how}, begun ${begun}, over ${now()}; ${end}`,
      );
    }
    const far = diverges ? 0 : floors.far(key, begun);
    if (value < far) report(`fetch ${key}: ${value}, ${far} was there before its end elsewhere`);
    given.set(key, Math.max(given.get(key) ?? 0, value));
  }

  async function change(key) {
    const { id, version } = await database.ask({ change: key });
    const end =
      Math.random() < 0.5 ? () => cache.del(key) : () => cache.invalidateTags([tagOf(key)]);
    for (;;) {
      try {
        await stopwatch.timed(`${end} ${key}`, end);
        break;
      } catch (error) {
        // Without faults no call fails.
        if (FAULTS.length === 0) throw error;
        await sleep(20);
      }
    }
    await seen.set(`end of ${key}`, `${version}: ${end} of ${me}, over at ${now()}`);
    await floors.raise(key, version);
    tell({ key, floor: version, at: now() });
    await database.ask({ deleted: id });
    deletions += 1;
  }

  return {
    loops: LOOPS,
    async step() {
      const key = `fetch:${Math.floor(Math.random() ** 2 * KEYS)}`;
      if (Math.random() < 0.03) await change(key);
      else await fetch(key);
    },
    async check() {
      for (let at = 0; at < KEYS; at += 1) {
        const key = `fetch:${at}`;
        const { version, deleted } = await database.ask({ look: key });
        const value = await cache.get(key);
        const there = (await cache.getEntry(key))?.value;
        if (value !== there) report(`${key}: ${value} at rest, the server has ${there}`);
        // Between a change and its `del` a worker may have been killed.
        if (value < deleted || value > version) {
          report(`${key}: ${value} at rest, the database has ${version}, deleted ${deleted}`);
        }
      }
    },
    report: () => ({ fetches, longestFetch, deletions }),
  };
}

module.exports = { create };
