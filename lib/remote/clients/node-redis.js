'use strict';

/** The port of a client of `redis` (node-redis 5 and 6). */

const { Port } = require('./port');

/** `RESP_TYPES.BLOB_STRING` of node-redis: strings of replies are given as buffers. */
const AS_BUFFERS = Object.freeze({ typeMapping: Object.freeze({ 36: Buffer }) });

/** Whether an object is a client of node-redis for one server. */
function isNodeRedis(client) {
  return (
    typeof client.sendCommand === 'function' &&
    typeof client.withTypeMapping === 'function' &&
    typeof client.isReady === 'boolean' &&
    typeof client.duplicate === 'function' &&
    client.options !== undefined
  );
}

class NodeRedisPort extends Port {
  #client;

  constructor(client) {
    super();
    this.#client = client;
    const { socket = {}, database = 0, keyPrefix = '' } = client.options;
    const { path, host = 'localhost', port = 6379 } = socket;
    this.address = `${path ?? `${host}:${port}`}/${database}`;
    this.keyPrefix = keyPrefix;
  }

  #duplicate(onLost, options) {
    const client = this.#client;
    const connection = client.duplicate({
      ...options,
      clientSideCache: undefined,
      socket: { ...client.options.socket, reconnectStrategy: false },
    });
    connection.on('error', onLost);
    connection.on('end', onLost);
    // It keeps no process alive.
    connection.unref();
    const close = () => {
      if (connection.isOpen) connection.destroy();
    };
    return { connection, close, send: (args) => connection.sendCommand(args, AS_BUFFERS) };
  }

  async connect(onLost) {
    const { connection, close, send } = this.#duplicate(onLost, {});
    await connection.connect();
    return { close, send };
  }

  async connectTracking(prefixes, onKeys, onLost) {
    const { connection, close, send } = this.#duplicate(onLost, { RESP: 3, emitInvalidate: true });
    connection.on('invalidate', (key) => onKeys(key === null ? null : [key]));
    await connection.connect();
    try {
      // The hand-shake has begun to track single keys.
      await send(['CLIENT', 'TRACKING', 'OFF']);
      const each = prefixes.flatMap((prefix) => ['PREFIX', prefix]);
      await send(['CLIENT', 'TRACKING', 'ON', 'BCAST', ...each]);
    } catch (error) {
      close();
      throw error;
    }
    return { close, send };
  }
}

module.exports = { NodeRedisPort, isNodeRedis };
