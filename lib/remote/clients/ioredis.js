'use strict';

/**
 * The port of a client of `ioredis` (5 and 6).
 *
 * `ioredis` 5 speaks RESP2 alone, and 6 drops the pushes of RESP3 that tell of changed keys. So the tracking connection speaks
 * RESP2: it redirects what is to be told to itself, as messages of the channel `__redis__:invalidate`.
 */

const { Port, nothing } = require('./port');

const CHANNEL = '__redis__:invalidate';

/** Whether an object is a client of ioredis for one server, which sentinels may name. */
function isIoredis(client) {
  return (
    typeof client.callBuffer === 'function' &&
    typeof client.duplicate === 'function' &&
    typeof client.status === 'string' &&
    client.isCluster !== true
  );
}

class IoredisPort extends Port {
  #client;

  constructor(client) {
    super();
    this.#client = client;
    const { path, host, port, db = 0, sentinels, name, keyPrefix } = client.options;
    const server = sentinels ? `sentinel:${name}` : (path ?? `${host}:${port}`);
    this.address = `${server}/${db}`;
    this.keyPrefix = keyPrefix ?? '';
  }

  async #duplicate(onLost, options) {
    const connection = this.#client.duplicate({
      ...options,
      keyPrefix: '',
      lazyConnect: true,
      retryStrategy: null,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
    });
    connection.on('error', nothing);
    connection.on('close', onLost);
    await connection.connect();
    // It keeps no process alive.
    connection.stream?.unref?.();
    const close = () => connection.disconnect();
    /** @param {any[]} args */
    const send = ([name, ...args]) => connection.callBuffer(name, ...args);
    return { connection, close, send };
  }

  async connect(onLost) {
    const { close, send } = await this.#duplicate(onLost, {});
    return { close, send };
  }

  async connectTracking(prefixes, onKeys, onLost) {
    const { connection, close } = await this.#duplicate(onLost, { protocol: 2 });
    connection.on('messageBuffer', (channel, keys) => onKeys(Array.isArray(keys) ? keys : null));
    try {
      const id = await connection.call('client', 'id');
      const each = prefixes.flatMap((prefix) => ['PREFIX', prefix]);
      await connection.call('client', 'TRACKING', 'ON', 'REDIRECT', String(id), 'BCAST', ...each);
      // What changes before the answer is told to nobody.
      await connection.subscribe(CHANNEL);
    } catch (error) {
      close();
      throw error;
    }
    return { close, send: () => connection.ping() };
  }
}

module.exports = { IoredisPort, isIoredis };
