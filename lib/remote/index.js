'use strict';

/** The remote tier: one server for several machines. It is loaded by the first instance that has it. */

const { OF_MACHINES, checkNames, invalid, shown } = require('../options');
const { checkClient, checkUrl, isClient, portOf } = require('./clients');
const { Machine } = require('./machine');
const { RemoteClient } = require('./tier');

const OPTIONS = ['client', 'prefix', 'ttl', 'onError'];

/** How long calls on what a machine knows may wait, in milliseconds. */
const PATIENCE = 5000;

/** By client, or by the URL or the options of one. @type {Map<any, { port: any, machines: Map<string, Machine> }>} */
const servers = new Map();

/** The options of `remote`, checked. A text is the URL of the server; what has no `client` may be a client itself. */
function optionsOf(remote) {
  const options = typeof remote === 'string' ? { client: remote } : remote;
  if (typeof options !== 'object' || options === null) {
    throw invalid(`remote must be an object or a URL, got ${shown(remote)}`);
  }
  if (isClient(options)) {
    checkClient(options);
    return { client: options };
  }
  checkNames('remote', options, OPTIONS);
  const { client, prefix = 'lru:', ttl, onError = 'local' } = options;
  if (client === undefined) {
    throw invalid('remote needs client: a client of redis or ioredis, its options, or a URL');
  }
  if (typeof client === 'string') checkUrl(client);
  else if (typeof client === 'object' && client !== null) checkClient(client);
  else {
    throw invalid(
      `remote.client must be a client of redis or ioredis, its options, or a URL, got ${shown(client)}`,
    );
  }
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
