'use strict';

/**
 * What this process's calls did, for whoever subscribes to a channel of `node:diagnostics_channel`. While nobody does, a
 * call costs a look at `hasSubscribers` of each channel, in `runObserved`.
 */

const { channel, tracingChannel } = require('diagnostics_channel');
const { entriesOf } = require('../commands');

// Kept, because test suites replace the globals by timers that stand still.
const { performance } = globalThis;

const PREFIX = 'lru-cache-for-clusters-as-promised';

const channels = Object.freeze({
  get: channel(`${PREFIX}:get`),
  set: channel(`${PREFIX}:set`),
  delete: channel(`${PREFIX}:delete`),
  evict: channel(`${PREFIX}:evict`),
});

/** Traces calls of `fetch`. Node.js 18 has none before 18.19. */
const fetchChannel = tracingChannel?.(`${PREFIX}:fetch`);

/** Whether somebody subscribes to what `fetch` publishes. */
function isTraced() {
  return (
    fetchChannel !== undefined &&
    (fetchChannel.start.hasSubscribers ||
      fetchChannel.end.hasSubscribers ||
      fetchChannel.asyncStart.hasSubscribers ||
      fetchChannel.asyncEnd.hasSubscribers ||
      fetchChannel.error.hasSubscribers)
  );
}

/** By command: the channel, and the messages about one call: its arguments, and what it gave. */
const OBSERVED = {
  get: { on: channels.get, messages: ([key], value) => [{ key, hit: value !== undefined }] },
  mGet: {
    on: channels.get,
    snapshot: true,
    messages: ([keys], pairs) =>
      keys.map((key) => ({ key, hit: Object.hasOwn(pairs ?? {}, String(key)) })),
  },
  getEntry: { on: channels.get, messages: ([key], entry) => [{ key, hit: entry !== undefined }] },
  getMany: {
    on: channels.get,
    messages: ([keys], values) => keys.map((key, at) => ({ key, hit: values?.[at] !== undefined })),
  },
  set: { on: channels.set, messages: ([key], stored) => [{ key, stored: stored === true }] },
  mSet: {
    on: channels.set,
    messages: ([pairs], done) => entriesOf(pairs).map(([key]) => ({ key, stored: done === true })),
  },
  setMany: {
    on: channels.set,
    messages: ([entries], stored) => entries.map(([key], at) => ({ key, stored: stored?.[at] })),
  },
  setIfAbsent: {
    on: channels.set,
    messages: ([key], stored) => [{ key, stored: stored === true }],
  },
  compareAndSet: {
    on: channels.set,
    messages: ([key], stored) => [{ key, stored: stored === true }],
  },
  hit: { on: channels.set, messages: ([key]) => [{ key, stored: true }] },
  incr: { on: channels.set, messages: ([key], sum) => [{ key, stored: sum !== undefined }] },
  decr: { on: channels.set, messages: ([key], sum) => [{ key, stored: sum !== undefined }] },
  del: { on: channels.delete, messages: ([key]) => [{ key }] },
  mDel: { on: channels.delete, snapshot: true, messages: ([keys]) => keys.map((key) => ({ key })) },
  compareAndDelete: {
    on: channels.delete,
    messages: ([key], isDeleted) => (isDeleted ? [{ key }] : []),
  },
  getAndDelete: { on: channels.delete, messages: ([key]) => [{ key }] },
  deleteMany: { on: channels.delete, messages: ([keys]) => keys.map((key) => ({ key })) },
  deletePrefix: { on: channels.delete, messages: ([prefix]) => [{ prefix }] },
  invalidateTags: { on: channels.delete, messages: ([tags]) => [{ tags }] },
  reset: { on: channels.delete, messages: () => [{}] },
  max: {},
  maxSize: {},
};

const { delete: ofDeletes, evict: ofEvictions, get: ofGets, set: ofSets } = channels;

/** Whether somebody subscribes to what a call of a command publishes. */
function isObserved(command) {
  const row = OBSERVED[command.name];
  if (row === undefined) return false;
  // What stores entries evicts others, and so do the limits, which have no channel of their own.
  const evicts = row.on === undefined || row.on === ofSets;
  return row.on?.hasSubscribers || (evicts && ofEvictions.hasSubscribers);
}

/** Makes a call, and publishes what it did where somebody subscribes to that. It gives what the call gives. */
function runObserved(client, command, a, b, c, d) {
  const isAny =
    ofGets.hasSubscribers ||
    ofSets.hasSubscribers ||
    ofDeletes.hasSubscribers ||
    ofEvictions.hasSubscribers;
  if (!isAny || !isObserved(command)) return client.call(command, a, b, c, d);
  return observed(client, command, a, b, c, d);
}

/** What one message says of a call that failed. */
function failure(command, args, error) {
  return command.keyed ? { key: args[0], error } : { error };
}

/**
 * Makes a call that is observed, and publishes what it did when it has ended.
 *
 * @param {any} client
 * @param {any} command
 * @param {any[]} args
 */
async function observed(client, command, ...args) {
  const { on, snapshot, messages } = OBSERVED[command.name];
  const { namespace } = client;
  if (snapshot) args = [Array.isArray(args[0]) ? Array.from(args[0]) : []];
  const evicts = channels.evict.hasSubscribers;
  // What was evicted before is no matter of this call.
  if (evicts) client.takeEvicted();
  const since = performance.now();
  const publish = (contents) => {
    const duration = performance.now() - since;
    if (on?.hasSubscribers) {
      for (const content of contents) on.publish({ namespace, duration, ...content });
    }
    const count = evicts ? client.takeEvicted() : 0;
    if (count > 0) channels.evict.publish({ namespace, count });
  };
  try {
    const result = await client.call(command, ...args);
    publish(messages?.(args, result) ?? []);
    return result;
  } catch (error) {
    publish([failure(command, args, error)]);
    throw error;
  }
}

module.exports = { channels, fetchChannel, isTraced, runObserved };
