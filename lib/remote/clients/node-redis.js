'use strict';

/** The port of a client of `redis` (node-redis 5 and 6). */

const { Port, SENTINEL_TIMEOUT, checkServer, inTime, nothing, sentinelAddress } = require('./port');

/** `RESP_TYPES.BLOB_STRING` of node-redis: strings of replies are given as buffers. */
const AS_BUFFERS = Object.freeze({ typeMapping: Object.freeze({ 36: Buffer }) });

/**
 * An option of sockets. node-redis does not listen for errors of a socket all the time: one that comes in between would end the process, such
 * as where a server refuses the certificate of a client. Node.js listens itself to a socket that has a signal.
 */
const guard = () => ({ signal: new AbortController().signal });

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
    this.keyPrefix = String(keyPrefix);
  }

  /**
   * A client that has the options of connections, and what is called when there is one.
   *
   * @param {(close: () => void) => void} abandon
   * @returns {Promise<{ client: any, onMade: () => void }>}
   */
  // eslint-disable-next-line no-unused-vars
  async find(abandon) {
    return { client: this.#client, onMade: nothing };
  }

  async #duplicate(onLost, abandon, options) {
    const { client, onMade } = await this.find(abandon);
    const connection = client.duplicate({
      ...options,
      clientSideCache: undefined,
      socket: { ...client.options.socket, ...guard(), reconnectStrategy: false },
    });
    connection.on('error', onLost);
    connection.on('end', onLost);
    // It keeps no process alive.
    connection.unref();
    const close = () => {
      if (connection.isOpen) connection.destroy();
    };
    abandon(close);
    const send = (args) => connection.sendCommand(args, AS_BUFFERS);
    await connection.connect();
    try {
      const server = await checkServer(send);
      onMade();
      return { connection, close, send, server };
    } catch (error) {
      close();
      throw error;
    }
  }

  async connect(onLost, abandon) {
    const { close, send, server } = await this.#duplicate(onLost, abandon, {});
    return { close, send, server };
  }

  async connectTracking(prefixes, onKeys, onLost, abandon) {
    const options = { RESP: 3, emitInvalidate: true };
    const { connection, close, send, server } = await this.#duplicate(onLost, abandon, options);
    connection.on('invalidate', (key) => onKeys(key === null ? null : [key]));
    try {
      // The hand-shake has begun to track single keys.
      await send(['CLIENT', 'TRACKING', 'OFF']);
      const each = prefixes.flatMap((prefix) => ['PREFIX', prefix]);
      await send(['CLIENT', 'TRACKING', 'ON', 'BCAST', ...each]);
    } catch (error) {
      close();
      throw error;
    }
    return { close, send, server };
  }
}

/**
 * The port of the options of `createSentinel`. Each connection begins with the question which server is the primary. (A client that
 * `createSentinel` gives does not show its options, and has no connection that could tell of changes.)
 */
class SentinelPort extends NodeRedisPort {
  #createClient;
  #options;
  /** Which sentinel is asked first: the last one whose server was the primary. */
  #first = 0;

  /**
   * @param {(options: any) => any} createClient of node-redis
   * @param {any} options of `createSentinel`
   */
  constructor(createClient, options) {
    const { name, sentinelRootNodes, nodeClientOptions, keyPrefix } = options;
    super({ options: { database: nodeClientOptions?.database, keyPrefix } });
    this.#createClient = createClient;
    this.#options = options;
    this.address = sentinelAddress(name, sentinelRootNodes, nodeClientOptions?.database);
  }

  async find(abandon) {
    const { sentinelRootNodes: nodes, nodeClientOptions, nodeAddressMap, RESP } = this.#options;
    let cause;
    for (let times = 0; times < nodes.length; times += 1) {
      const at = this.#first;
      // The next attempt begins with the next one, should this one not answer, or name a server that is away.
      this.#first = (at + 1) % nodes.length;
      try {
        const [host, port] = await this.#ask(nodes[at], abandon);
        const key = `${host}:${port}`;
        const mapped =
          typeof nodeAddressMap === 'function' ? nodeAddressMap(key) : nodeAddressMap?.[key];
        const socket = { ...nodeClientOptions?.socket, host, port, ...mapped };
        const client = this.#createClient({ RESP, ...nodeClientOptions, socket });
        return { client, onMade: () => (this.#first = at) };
      } catch (error) {
        cause = error;
      }
    }
    throw new Error(`no sentinel names the primary: ${cause?.message}`, { cause });
  }

  /** Asks a sentinel where the primary is. */
  async #ask({ host, port }, abandon) {
    const { name, sentinelClientOptions: options } = this.#options;
    const client = this.#createClient({
      ...options,
      socket: { ...options?.socket, host, port, ...guard(), reconnectStrategy: false },
    });
    client.on('error', nothing);
    const close = () => {
      if (client.isOpen) client.destroy();
    };
    abandon(close);
    const ask = async () => {
      await client.connect();
      return client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name]);
    };
    try {
      const found = await inTime(ask(), SENTINEL_TIMEOUT, `${host}:${port} does not answer`);
      if (!Array.isArray(found)) throw new Error(`${host}:${port} knows no primary ${name}`);
      return [String(found[0]), Number(found[1])];
    } finally {
      close();
    }
  }
}

module.exports = { NodeRedisPort, SentinelPort, isNodeRedis };
