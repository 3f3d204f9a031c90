'use strict';

/**
 * The primary's side, and all there is in a process with no cluster: the caches, and the door for the
 * messages of workers.
 */

const cluster = require('cluster');
const { randomUUID } = require('crypto');
const { NativeRegistry } = require('./native');
const { encodeValue } = require('./codec');
const { makeError } = require('./errors');
const { LRUCache, Opened, Table } = require('./lru-cache');
const { MESSAGE_LENGTH, SOURCE, isOurs } = require('./protocol');

const table = new Table();
const registry = new NativeRegistry(table.state, prune);

/** Every cache that was asked for here, by namespace. The registry may know more: those of workers. */
const caches = new Map();

/** The cache of a namespace, made if there is none; `options` is the JSON of those that are given. */
function openCache(namespace, options) {
  const wrong = registry.open(namespace, options);
  if (wrong) throw makeError(wrong);
  let cache = caches.get(namespace);
  if (!cache) {
    cache = new LRUCache(new Opened(registry.cache(namespace), table));
    caches.set(namespace, cache);
  }
  return cache;
}

/** Called when the schedule of a namespace says so. */
function prune(namespace) {
  openCache(namespace, '{}').prune();
}

/** `{ namespace: LRUCache }` of all that exist. */
function allCaches() {
  return Object.fromEntries(registry.names().map((name) => [name, openCache(name, '{}')]));
}

/** The door of an instance in this process: calls go straight to the cache. */
class LocalDoor {
  constructor({ namespace, store, error }) {
    if (error) throw error;
    this.cache = openCache(namespace, store);
    /** Resolves when the cache exists. */
    this.ready = Promise.resolve();
  }

  async call(command, a, b, c) {
    return command.local(this.cache, a, b, c);
  }
}

const nothing = () => {};

/** Sends to a worker. One that is gone, or goes meanwhile, is no event. */
function send(worker, message) {
  if (worker.isConnected()) worker.process.send(message, undefined, undefined, nothing);
}

/** Identifies this copy of the package to workers. */
const hello = randomUUID();

/** An answer with JavaScript values in it, completed; an error if one of them cannot be written. */
function completeAnswer([id, pieces]) {
  try {
    return pieces
      .map((piece) =>
        typeof piece === 'string' ? piece : encodeValue(table.values[piece[0]], piece[1] === 1),
      )
      .join('');
  } catch (error) {
    return errorAnswer(id, error);
  }
}

function errorAnswer(id, error) {
  const name = typeof error?.name === 'string' ? error.name : 'Error';
  const message = typeof error?.message === 'string' ? error.message : String(error);
  return `${id},4,${JSON.stringify([name, message, error?.code ?? ''])}`;
}

/** Sends answers, in as few messages as their size allows. */
function sendAnswers(worker, answers) {
  let from = 0;
  let length = 0;
  for (let index = 0; index <= answers.length; index += 1) {
    const next = answers[index]?.length ?? Infinity;
    if (index > from && length + next > MESSAGE_LENGTH) {
      sendReply(worker, answers.slice(from, index).join(','));
      from = index;
      length = 0;
    }
    length += next;
  }
}

function sendReply(worker, text) {
  try {
    send(worker, { source: SOURCE, reply: `[${text}]` });
  } catch (error) {
    // Longer than a string can be, so it is one answer alone: only its caller hears of it.
    send(worker, { source: SOURCE, reply: `[${errorAnswer(parseInt(text, 10), error)}]` });
  }
}

/** Answers one message of a worker, whatever it is. */
function receive(worker, message) {
  if (!isOurs(message)) return;
  if (message.hello) send(worker, { source: SOURCE, hello });
  if (typeof message.batch !== 'string') return;
  const reply = registry.handle(message.batch, Date.now());
  if (typeof reply === 'string') {
    sendReply(worker, reply);
  } else {
    sendAnswers(
      worker,
      reply.map((part) => (typeof part === 'string' ? part : completeAnswer(part))),
    );
  }
  table.release();
}

function listen() {
  cluster.on('message', receive);
  for (const worker of Object.values(cluster.workers ?? {}))
    send(worker, { source: SOURCE, hello });
}

module.exports = { LocalDoor, allCaches, listen };
