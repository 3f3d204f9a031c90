'use strict';

/** The remote tier: one server for several machines. It is loaded by the first instance that has it. */

const { CODES, makeError } = require('../errors');
const { OF_MACHINES, checkNames, invalid, shown } = require('../options');
const { IoredisPort, isIoredis } = require('./clients/ioredis');
const { NodeRedisPort, isNodeRedis } = require('./clients/node-redis');
const { Machine } = require('./machine');
const { RemoteClient } = require('./tier');

const OPTIONS = ['client', 'prefix', 'ttl', 'onError'];

/** How long calls on what a machine knows may wait, in milliseconds. */
const PATIENCE = 5000;

/** By client, or by the URL or the options of one. @type {Map<any, { port: any, machines: Map<string, Machine> }>} */
const servers = new Map();

/** Makes a client of a URL or of options, with the library that is installed. */
function createClient(given) {
  const isUrl = typeof given === 'string';
  let createRedis;
  try {
    ({ createClient: createRedis } = require('redis'));
  } catch (error) {
    if (error?.code !== 'MODULE_NOT_FOUND') throw error;
  }
  if (createRedis) return createRedis(isUrl ? { url: given } : given);
  let Redis;
  try {
    ({ Redis } = require('ioredis'));
  } catch (error) {
    if (error?.code !== 'MODULE_NOT_FOUND') throw error;
    throw makeError([
      'Error',
      'remote needs the package redis or ioredis: npm install redis',
      CODES.REMOTE,
    ]);
  }
  return isUrl
    ? new Redis(given, { lazyConnect: true })
    : new Redis({ ...given, lazyConnect: true });
}

/** The port of a client. */
function portOf(given) {
  const isClient = typeof given === 'object' && typeof given.duplicate === 'function';
  const client = isClient ? given : createClient(given);
  if (isNodeRedis(client)) return new NodeRedisPort(client);
  if (isIoredis(client)) return new IoredisPort(client);
  throw makeError([
    'TypeError',
    'remote.client must be a client of redis or ioredis for one server, or its options; ' +
      'clients of a cluster or of a pool are not supported',
    CODES.INVALID_ARG_TYPE,
  ]);
}

/** The protocols of URLs of servers. */
const PROTOCOLS = ['redis:', 'rediss:', 'unix:'];

/** Throws where a text is no URL of a server. A password in it is not shown. */
function checkUrl(text) {
  let protocol = '';
  try {
    ({ protocol } = new URL(text));
  } catch {
    // No URL.
  }
  if (PROTOCOLS.includes(protocol)) return;
  const masked = text.replace(/\/\/.*@/, '//…@');
  throw invalid(
    `remote, or LRU_CACHE_REMOTE, must be a URL such as redis://127.0.0.1:6379, got ${shown(masked)}`,
  );
}

/** The options of `remote`, checked. A text is the URL of the server; what has no `client` may be a client itself. */
function optionsOf(remote) {
  const options = typeof remote === 'string' ? { client: remote } : remote;
  if (typeof options !== 'object' || options === null) {
    throw invalid(`remote must be an object or a URL, got ${shown(remote)}`);
  }
  if (typeof options.duplicate === 'function') return { client: options };
  checkNames('remote', options, OPTIONS);
  const { client, prefix = 'lru:', ttl, onError = 'local' } = options;
  const isClient = typeof client === 'string' || (typeof client === 'object' && client !== null);
  if (client === undefined) {
    throw invalid('remote needs client: a client of redis or ioredis, its options, or a URL');
  }
  if (!isClient) {
    throw invalid(
      `remote.client must be a client of redis or ioredis, its options, or a URL, got ${shown(client)}`,
    );
  }
  if (typeof client === 'string') checkUrl(client);
  if (typeof prefix !== 'string' || prefix.includes('{')) {
    throw invalid(`remote.prefix must be a text without {, got ${shown(prefix)}`);
  }
  if (ttl !== undefined && !(typeof ttl === 'number' && ttl > 0 && ttl < Infinity)) {
    throw invalid(`remote.ttl must be a number of milliseconds above 0, got ${shown(ttl)}`);
  }
  if (onError !== 'local' && onError !== 'reject') {
    throw invalid(`remote.onError must be 'local' or 'reject', got ${shown(onError)}`);
  }
  return { client, prefix, ttl, onError };
}

/** What this machine knows of a server, as far as keys with a prefix go. */
function machineOf(Client, miss, { client, prefix = 'lru:' }) {
  let server = servers.get(client);
  if (server === undefined) {
    server = { port: portOf(client).open(), machines: new Map() };
    servers.set(client, server);
  }
  const { port, machines } = server;
  const full = port.keyPrefix + prefix;
  let machine = machines.get(full);
  if (machine === undefined) {
    const open = (namespace) => {
      // Of other namespaces the machine reads nothing: near reads there would cost those who want none.
      const near = namespace === OF_MACHINES ? undefined : false;
      const read = { namespace, cacheOptions: '{}', serialization: 'json', freeze: false, near };
      return new Client(read, { timeout: PATIENCE, failsafe: 'reject' });
    };
    machine = new Machine({ port, prefix: full, open, miss });
    machines.set(full, machine);
  }
  return machine;
}

/** An instance has ended. */
async function letGo(client, machine) {
  if (!machine.remove()) return;
  const server = servers.get(client);
  // An instance that is made from here on has a machine of its own.
  server?.machines.delete(machine.prefix);
  if (server?.machines.size === 0) servers.delete(client);
  await machine.end();
  if (server !== undefined && servers.get(client) !== server) server.port.close();
}

/**
 * The client of an instance with a remote tier.
 *
 * @param {any} Client the class of clients of the first tier
 * @param {any} miss what near reads give that do not know a key
 * @param {any} read options, as `readOptions` gave them
 * @param {any} remote the option `remote`
 * @param {any} instance
 */
function clientOf(Client, miss, read, remote, instance) {
  /** @type {any} */
  let options;
  let machine;
  try {
    if (read.namespace === OF_MACHINES) throw invalid('this namespace is not for applications');
    options = optionsOf(remote);
    if (read.error === undefined) machine = machineOf(Client, miss, options);
  } catch (error) {
    read.error ??= error;
  }
  const client = new Client(read, instance);
  if (machine === undefined) return client;
  const { maxAge } = JSON.parse(read.cacheOptions);
  const onClose = () => letGo(options.client, machine);
  const { serialization } = read;
  return new RemoteClient(client, { machine, instance, options, maxAge, serialization, onClose });
}

module.exports = { clientOf };
