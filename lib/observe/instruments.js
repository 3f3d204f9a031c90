'use strict';

/**
 * What monitoring systems are told, once. A `shared` number is the same in every process of an application; the others are
 * of one process.
 *
 * @typedef {object} Instrument
 * @property {string} name
 * @property {'counter' | 'gauge'} type
 * @property {string} help
 * @property {'By'} [unit] bytes
 * @property {boolean} shared
 * @property {(stats: any) => number | undefined} of gives `undefined` where a namespace has no such number
 */

const shared = (type, name, field, help, unit) => ({
  name,
  type,
  help,
  unit,
  shared: true,
  of: (stats) => stats[field],
});

const fetches = (name, field, help, unit) => ({
  name: `fetch_${name}`,
  type: 'counter',
  help,
  unit,
  shared: true,
  of: (stats) => stats.fetches[field],
});

const near = (type, name, field, help, unit) => ({
  name: `near_${name}`,
  type,
  help,
  unit,
  shared: false,
  of: (stats) => stats.near[field],
});

/** Of namespaces with a remote tier alone. */
const remote = (type, name, of, help) => ({
  name: `remote_${name}`,
  type,
  help,
  shared: false,
  of: (stats) => stats.remote && Number(of(stats.remote)),
});

/** @type {readonly Instrument[]} */
const INSTRUMENTS = Object.freeze([
  shared('counter', 'hits', 'hits', 'Keys that reads gave a value for'),
  shared('counter', 'misses', 'misses', 'Keys that reads gave no value for'),
  shared('counter', 'stale_hits', 'staleHits', 'Hits whose entry had expired'),
  shared('counter', 'sets', 'sets', 'Entries stored'),
  shared('counter', 'deletes', 'deletes', 'Entries that a call removed'),
  shared('counter', 'evictions', 'evictions', 'Entries that the limits removed'),
  shared('counter', 'expirations', 'expirations', 'Entries removed because they had expired'),
  shared('counter', 'recoveries', 'recoveries', 'Repairs of damaged shared memory'),
  shared('counter', 'dropped_entries', 'droppedEntries', 'Entries that repairs cost'),
  shared('gauge', 'entries', 'entries', 'Entries'),
  shared('gauge', 'size', 'size', 'Bytes of all entries, as maxSize counts them', 'By'),
  shared('gauge', 'memory', 'bytes', 'Bytes of memory that the store has', 'By'),
  shared('gauge', 'max_size', 'maxSize', 'The greatest size', 'By'),
  shared('gauge', 'processes', 'processes', 'Processes that have the store in their memory'),
  fetches('loads', 'loads', 'Loaders of fetch that ran'),
  fetches('followers', 'followers', 'Calls of fetch that waited for the loader of another'),
  fetches('errors', 'errors', 'Loaders of fetch that failed'),
  fetches('load_milliseconds', 'loadTime', 'Milliseconds that loaders of fetch took'),
  near('counter', 'hits', 'hits', 'Keys that near reads of this process answered'),
  near('gauge', 'entries', 'entries', 'Entries that near reads of this process keep'),
  near('gauge', 'size', 'bytes', 'Bytes that near reads of this process keep, by estimate', 'By'),
  remote('counter', 'hits', ({ hits }) => hits, 'Reads that the server had a value for'),
  remote('counter', 'misses', ({ misses }) => misses, 'Reads that the server had no value for'),
  remote('counter', 'writes', ({ writes }) => writes, 'Writes that were sent to the server'),
  remote('counter', 'errors', ({ errors }) => errors, 'Calls that the server did not answer'),
  remote(
    'counter',
    'pushes',
    ({ pushes }) => pushes,
    'Changes that the server told this process of',
  ),
  remote('counter', 'connects', ({ connects }) => connects, 'Connections made to the server'),
  remote('gauge', 'on', ({ state }) => state === 'on', '1 where the server tells what changes'),
  remote('gauge', 'holder', ({ isHolder }) => isHolder, '1 in the process that the server tells'),
]);

/** The name of an instrument in Prometheus: with its unit, and `_total` where it counts. */
function prometheusName(prefix, { name, type, unit }) {
  return `${prefix}${name}${unit ? '_bytes' : ''}${type === 'counter' ? '_total' : ''}`;
}

module.exports = { INSTRUMENTS, prometheusName };
