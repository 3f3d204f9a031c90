'use strict';

/**
 * The port of a client of `ioredis` (5 and 6).
 *
 * `ioredis` 5 speaks RESP2 alone, and 6 drops the pushes of RESP3 that tell of changed keys. So the tracking connection speaks
 * RESP2: it redirects what is to be told to itself, as messages of the channel `__redis__:invalidate`.
 */

const { Port, SENTINEL_TIMEOUT, checkServer, sentinelAddress } = require('./port');

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
  /** Which sentinel is asked first. After an attempt that failed it is the next one. */
  #first = 0;

  constructor(client) {
    super();
    this.#client = client;
    const { path, host, port, db = 0, sentinels, name, keyPrefix } = client.options;
    this.address = sentinels
      ? sentinelAddress(name, sentinels, db)
      : `${path ?? `${host}:${port}`}/${db}`;
    this.keyPrefix = keyPrefix ?? '';
  }

  /** The options of connections by way of sentinels. */
  #sentinelOptions() {
    const { sentinels, sentinelCommandTimeout } = this.#client.options;
    if (!sentinels) return {};
    const first = this.#first;
    this.#first = (first + 1) % sentinels.length;
    return {
      sentinels: [...sentinels.slice(first), ...sentinels.slice(0, first)],
      // Another attempt is made by the port.
      sentinelRetryStrategy: null,
      sentinelCommandTimeout: sentinelCommandTimeout ?? SENTINEL_TIMEOUT,
    };
  }

  async #duplicate(onLost, abandon, options) {
    const sentinelOptions = this.#sentinelOptions();
    const { sentinels } = sentinelOptions;
    const connection = this.#client.duplicate({
      ...options,
      ...sentinelOptions,
      keyPrefix: '',
      lazyConnect: true,
      retryStrategy: null,
      reconnectOnError: null,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      // The port checks the server itself.
      enableReadyCheck: false,
      enableAutoPipelining: false,
    });
    // `connect` does not say why it fails, nor that there is no such database.
    let reason;
    connection.on('error', (error) => (reason ??= error));
    connection.on('close', onLost);
    const close = () => connection.disconnect();
    abandon(close);
    /** @param {any[]} args */
    const send = ([name, ...args]) => connection.callBuffer(name, ...args);
    try {
      await connection.connect();
      if (reason !== undefined) throw reason;
      const server = await checkServer(send);
      if (sentinels) this.#first = this.#client.options.sentinels.indexOf(sentinels[0]);
      // It keeps no process alive.
      connection.stream?.unref?.();
      return { connection, close, send, server };
    } catch (error) {
      close();
      throw reason ?? error;
    }
  }

  async connect(onLost, abandon) {
    const { close, send, server } = await this.#duplicate(onLost, abandon, {});
    return { close, send, server };
  }

  async connectTracking(prefixes, onKeys, onLost, abandon) {
    const { connection, close, server } = await this.#duplicate(onLost, abandon, { protocol: 2 });
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
    return { close, send: () => connection.ping(), server };
  }
}

module.exports = { IoredisPort, isIoredis };
