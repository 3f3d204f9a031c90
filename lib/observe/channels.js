'use strict';

/**
 * What this process's calls did, for whoever subscribes to a channel of `node:diagnostics_channel`. While nobody does, a
 * call costs one look at `hasSubscribers`, in `index.js`.
 */

const { channel } = require('diagnostics_channel');
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

/** By command: the channel, and the messages about one call: its arguments, and what it gave. */
const OBSERVED = {
  get: { on: channels.get, messages: ([key], value) => [{ key, hit: value !== undefined }] },
  mGet: {
    on: channels.get,
    snapshot: true,
    messages: ([keys], pairs) =>
      keys.map((key) => ({ key, hit: Object.hasOwn(pairs ?? {}, String(key)) })),
  },
  set: { on: channels.set, messages: ([key], stored) => [{ key, stored: stored === true }] },
  mSet: {
    on: channels.set,
    messages: ([pairs], done) => entriesOf(pairs).map(([key]) => ({ key, stored: done === true })),
  },
  incr: { on: channels.set, messages: ([key], sum) => [{ key, stored: sum !== undefined }] },
  decr: { on: channels.set, messages: ([key], sum) => [{ key, stored: sum !== undefined }] },
  del: { on: channels.delete, messages: ([key]) => [{ key }] },
  mDel: { on: channels.delete, snapshot: true, messages: ([keys]) => keys.map((key) => ({ key })) },
  reset: { on: channels.delete, messages: () => [{}] },
  max: {},
  maxSize: {},
};

/** What one message says of a call that failed. */
function failure(command, args, error) {
  return command.keyed ? { key: args[0], error } : { error };
}

/**
 * Makes a call, and publishes what it did when it has ended. It gives what the call gives.
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

module.exports = { channels, observed };
