'use strict';

/**
 * The port of a client of `ioredis` (5 and 6). Commands go by a duplicate of the application's client, which sends none again
 * after a lost connection: `ioredis` does so by default, and a counter would count twice.
 *
 * `ioredis` 5 speaks RESP2 alone, and 6 drops the pushes of RESP3 that tell of changed keys. So the tracking connection speaks
 * RESP2: it redirects what is to be told to itself, as messages of the channel `__redis__:invalidate`.
 */

const { Port, backoff } = require('./port');

const CHANNEL = '__redis__:invalidate';

const nothing = () => {};

/** Whether an object is a client of ioredis, connected to one server or by sentinels. */
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
  #data;

  constructor(client) {
    super();
    this.#client = client;
    const { path, host, port, db = 0, sentinels, name, keyPrefix = '' } = client.options;
    const server = sentinels ? `sentinel:${name}` : (path ?? `${host}:${port}`);
    this.address = `${server}/${db}`;
    this.keyPrefix = keyPrefix ?? '';
    this.#data = client.duplicate({
      keyPrefix: '',
      autoResendUnfulfilledCommands: false,
      // Every lost connection rejects what has no reply.
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      lazyConnect: false,
      retryStrategy: backoff,
    });
    this.#data.on('error', nothing);
    this.#data.on('connect', () => this.#data.stream.unref?.());
  }

  get isReady() {
    return this.#data.status === 'ready';
  }

  send([name, ...args]) {
    return this.#data.callBuffer(name, ...args);
  }

  async track(prefixes, { onKeys, onLost }) {
    const tracking = this.#client.duplicate({
      keyPrefix: '',
      protocol: 2,
      lazyConnect: true,
      // A connection that was lost has missed what was told: a new one is made.
      retryStrategy: null,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      maxRetriesPerRequest: 0,
    });
    let isLost = false;
    const lose = () => {
      if (isLost) return;
      isLost = true;
      onLost();
    };
    const close = () => {
      isLost = true;
      tracking.disconnect();
    };
    tracking.on('error', nothing);
    tracking.on('close', lose);
    tracking.on('end', lose);
    tracking.on('messageBuffer', (channel, keys) => onKeys(Array.isArray(keys) ? keys : null));
    try {
      await tracking.connect();
      // It keeps no process alive.
      tracking.stream.unref?.();
      const id = await tracking.call('client', 'id');
      const each = prefixes.flatMap((prefix) => ['PREFIX', prefix]);
      await tracking.call('client', 'TRACKING', 'ON', 'REDIRECT', String(id), 'BCAST', ...each);
      // What changes before the answer is told to nobody.
      await tracking.subscribe(CHANNEL);
    } catch (error) {
      close();
      throw error;
    }
    if (isLost) throw new Error('the connection was lost');
    return { close, ping: () => tracking.ping() };
  }

  close() {
    this.#data.disconnect();
  }
}

module.exports = { IoredisPort, isIoredis };
