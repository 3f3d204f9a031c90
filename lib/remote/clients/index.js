'use strict';

/** Which port a client has, and how one is made of the options of a client or of a URL. */

const { CODES, makeError } = require('../../errors');
const { invalid, shown } = require('../../options');
const { IoredisPort, isIoredis } = require('./ioredis');
const { NodeRedisPort, SentinelPort, isNodeRedis } = require('./node-redis');

/** Options that one library alone has. */
const OPTIONS_OF = {
  redis: ['url', 'socket', 'database', 'sentinelRootNodes', 'RESP'],
  ioredis: ['host', 'port', 'path', 'db', 'tls', 'sentinels'],
};

// Named in full, so that bundlers see them.
const LIBRARIES = { redis: () => require('redis'), ioredis: () => require('ioredis') };

/** Whether an object is a client, of whatever kind, and no options. */
const isClient = (given) =>
  typeof given === 'object' &&
  given !== null &&
  (typeof given.sendCommand === 'function' || typeof given.duplicate === 'function');

/**
 * What an object is that is no client of one server, by a member that it alone has; and what to give instead.
 *
 * @type {[(client: any) => boolean, string][]}
 */
const OTHERS = [
  [
    (client) => client.isCluster === true || 'nodeByAddress' in client || 'rootNodes' in client,
    'a client or options of a cluster, which is not supported: give a client of one server (createClient of redis, or new Redis of ioredis)',
  ],
  [
    (client) => 'clientsInUse' in client,
    'a pool, which is not supported: give a client (createClient); the cache needs one connection for commands',
  ],
  [
    (client) => typeof client.getSentinelNode === 'function',
    'a client made by createSentinel, whose options cannot be read: give these options themselves, { client: { name, sentinelRootNodes } }',
  ],
  [
    (client) => isClient(client),
    'not a client of redis 5 or 6, or of ioredis 5 or 6, for one server',
  ],
];

/** A library that is installed; `undefined`: it is not. */
function libraryOf(name) {
  try {
    return LIBRARIES[name]();
  } catch (error) {
    if (error?.code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
}

function missing(what, name) {
  return makeError(['Error', `${what}: npm install ${name}`, CODES.REMOTE]);
}

/** The libraries that take these options. */
function namesFor(options) {
  const names = Object.keys(OPTIONS_OF);
  const own = names.filter((name) => OPTIONS_OF[name].some((option) => option in options));
  return own.length > 0 ? own : names;
}

/** The port of a client that is made of options. */
function portOfOptions(options) {
  const names = namesFor(options);
  for (const name of names) {
    const library = libraryOf(name);
    if (library === undefined) continue;
    if (name === 'ioredis') {
      return new IoredisPort(new library.Redis({ ...options, lazyConnect: true }));
    }
    if ('sentinelRootNodes' in options) return new SentinelPort(library.createClient, options);
    return new NodeRedisPort(library.createClient(options));
  }
  throw names.length > 1
    ? missing('remote needs the package redis or ioredis', 'redis')
    : missing(`remote.client has options of the package ${names[0]}`, names[0]);
}

const UNIX = /^unix:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?(\/[^?#]+)(?:\?db=(\d+))?$/;

/** What a URL of a Unix socket says; `null` where it is none. */
function unixOf(text) {
  const parts = UNIX.exec(text);
  if (parts === null) return null;
  const [username, password, path] = parts
    .slice(1, 4)
    .map((part) => (part ? decodeURIComponent(part) : undefined));
  return { username, password, path, database: Number(parts[4] ?? 0) };
}

/** The port of a URL. The libraries read those of Unix sockets differently, or not at all. */
function portOfUrl(text) {
  const name = libraryOf('redis') === undefined ? 'ioredis' : 'redis';
  const unix = unixOf(text);
  if (name === 'ioredis') {
    const library = libraryOf(name);
    if (library === undefined) return portOfOptions({});
    if (unix === null) return new IoredisPort(new library.Redis(text, { lazyConnect: true }));
    const { database, ...rest } = unix;
    return portOfOptions({ ...rest, db: database });
  }
  if (unix === null) return portOfOptions({ url: text });
  const { path, ...rest } = unix;
  return portOfOptions({ ...rest, socket: { path } });
}

/** The protocols of URLs of servers. */
const PROTOCOLS = ['redis:', 'rediss:'];

/** Throws where a text is no URL of a server. A password in it is not shown. */
function checkUrl(text) {
  let protocol = '';
  try {
    ({ protocol } = new URL(text));
  } catch {
    // No URL.
  }
  if (PROTOCOLS.includes(protocol) || unixOf(text) !== null) return;
  const masked = text.replace(/\/\/.*@/, '//…@');
  throw invalid(
    `remote, or LRU_CACHE_REMOTE, must be a URL such as redis://127.0.0.1:6379, got ${shown(masked)}`,
  );
}

/** Throws where an object is neither a client of one server nor its options. */
function checkClient(given) {
  if (isNodeRedis(given) || isIoredis(given)) return;
  const [, what] = OTHERS.find(([is]) => is(given)) ?? [];
  if (what !== undefined) {
    throw makeError(['TypeError', `remote.client is ${what}`, CODES.INVALID_ARG_TYPE]);
  }
  const nodes = given.sentinelRootNodes ?? given.sentinels;
  if (nodes === undefined || nodes === null) return;
  const areNodes = Array.isArray(nodes) && nodes.length > 0;
  if (!areNodes || typeof given.name !== 'string') {
    throw invalid(
      `remote.client with sentinels needs a list of { host, port }, and name, got ${shown(nodes)} and ${shown(given.name)}`,
    );
  }
}

/** The port of a client, of its options or of a URL. */
function portOf(given) {
  if (typeof given === 'string') return portOfUrl(given);
  if (isNodeRedis(given)) return new NodeRedisPort(given);
  if (isIoredis(given)) return new IoredisPort(given);
  return portOfOptions(given);
}

module.exports = { checkClient, checkUrl, isClient, portOf };
