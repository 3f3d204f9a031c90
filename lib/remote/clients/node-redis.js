'use strict';

/** The port of a client of `redis` (node-redis 5 and 6). */

const { Port } = require('./port');

/** `RESP_TYPES.BLOB_STRING` of node-redis: strings of replies are given as buffers. */
const AS_BUFFERS = Object.freeze({ typeMapping: Object.freeze({ 36: Buffer }) });

const nothing = () => {};

/** Whether an object is a client of node-redis, connected to one server. */
function isNodeRedis(client) {
  return (
    typeof client.sendCommand === 'function' &&
    typeof client.withTypeMapping === 'function' &&
    typeof client.isReady === 'boolean' &&
    typeof client.duplicate === 'function'
  );
}

class NodeRedisPort extends Port {
  #client;

  constructor(client) {
    super();
    this.#client = client;
    const { socket = {}, database = 0, keyPrefix = '' } = client.options ?? {};
    const { path, host = 'localhost', port = 6379 } = socket;
    this.address = `${path ?? `${host}:${port}`}/${database}`;
    this.keyPrefix = keyPrefix;
    // Without a listener an `error` event would end the process.
    client.on('error', nothing);
    if (!client.isOpen) client.connect().catch(nothing);
  }

  get isReady() {
    return this.#client.isReady;
  }

  send(args) {
    return this.#client.sendCommand(args, AS_BUFFERS);
  }

  async track(prefixes, { onKeys, onLost }) {
    const client = this.#client;
    const tracking = client.duplicate({
      RESP: 3,
      emitInvalidate: true,
      clientSideCache: undefined,
      disableOfflineQueue: false,
      // A connection that was lost has missed what was told: a new one is made.
      socket: { ...client.options?.socket, reconnectStrategy: false },
    });
    let isLost = false;
    const lose = () => {
      if (isLost) return;
      isLost = true;
      onLost();
    };
    const close = () => {
      isLost = true;
      if (tracking.isOpen) tracking.destroy();
    };
    tracking.on('error', lose);
    tracking.on('end', lose);
    tracking.on('invalidate', (key) => onKeys(key === null ? null : [key]));
    try {
      await tracking.connect();
      // It keeps no process alive.
      tracking.unref();
      // Its hand-shake has begun to track single keys.
      await tracking.sendCommand(['CLIENT', 'TRACKING', 'OFF']);
      const each = prefixes.flatMap((prefix) => ['PREFIX', prefix]);
      await tracking.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', ...each]);
    } catch (error) {
      close();
      throw error;
    }
    if (isLost) throw new Error('the connection was lost');
    return { close, ping: () => tracking.sendCommand(['PING']) };
  }

  close() {}
}

module.exports = { NodeRedisPort, isNodeRedis };
