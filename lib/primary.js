'use strict';

/**
 * The primary's side, and all there is in a process with no cluster: the caches, and the door for the
 * messages of workers.
 */

const cluster = require('cluster');
const { randomUUID } = require('crypto');
const { NativeRegistry } = require('./native');
const { NOTHING, encodeValue } = require('./codec');
const { makeError, timedOut } = require('./errors');
const { debug } = require('./debug');
const { LRUCache, Opened, Table } = require('./lru-cache');
const { DEFAULT_TIMEOUT } = require('./options');
const { MESSAGE_LENGTH, REPLY_LENGTH, SOURCE, isOurs } = require('./protocol');
const { whyNot } = require('./sharing');
const { BUSY, Waiting } = require('./waiting');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setInterval, setTimeout } = globalThis;

const log = debug('primary');

const table = new Table();
const registry = new NativeRegistry(table.state, prune);

/** Every cache that was asked for here, by namespace. The registry may know more: those of workers. */
const caches = new Map();

/** The cache of a namespace, made if there is none; `options` is the JSON of those that are given. */
function openCache(namespace, options) {
  const wrong = registry.open(namespace, options);
  table.release();
  if (wrong) throw makeError(wrong);
  let cache = caches.get(namespace);
  if (!cache) {
    cache = new LRUCache(new Opened(registry.cache(namespace), table));
    caches.set(namespace, cache);
  }
  return cache;
}

/** Called when the schedule of a namespace says so. What cannot be done now is done at the next time. */
function prune(namespace) {
  const done = registry.scheduled(namespace, Date.now());
  table.release();
  log(done === true ? 'pruned' : 'did not prune', namespace);
}

/** Milliseconds until values go whose entries workers have removed, where this process makes no call itself. */
const SWEEP = 1000;

let sweeper;

/** Where a worker can attach a namespace, or why it cannot. `theirs` is a ticket the worker has already. */
function share(namespace, theirs) {
  let why = whyNot();
  if (why === undefined) {
    const ticket = registry.share(namespace, theirs, table.values);
    table.release();
    if (typeof ticket === 'string') {
      sweeper ??= setInterval(sweep, SWEEP).unref();
      log('shares', namespace, ticket);
      return { ticket };
    }
    why = makeError(ticket).message;
  }
  log('does not share', namespace, why);
  return { why };
}

function sweep() {
  registry.sweep();
  table.release();
}

/** The synchronous cache of an instance's namespace. */
function cacheOf(namespace) {
  return openCache(namespace, '{}');
}

/** `{ namespace: LRUCache }` of all that exist. */
function allCaches() {
  return Object.fromEntries(registry.names().map((name) => [name, cacheOf(name)]));
}

/** Calls that wait for a store which a worker has locked, by namespace. */
const waiting = new Map();

/** The door of an instance in this process: calls go straight to the cache. */
class LocalDoor {
  constructor({ namespace, store, error }, instance) {
    if (error) throw error;
    this.namespace = namespace;
    /** Whose `timeout` and `failsafe` hold for a call that has to wait. */
    this.instance = instance;
    this.cache = openCache(namespace, store);
    /** Resolves when the cache exists. */
    this.ready = Promise.resolve();
  }

  async call(command, a, b, c) {
    if (!waiting.get(this.namespace)?.length) {
      try {
        return command.local(this.cache, a, b, c);
      } catch (error) {
        if (error?.code !== BUSY) throw error;
      }
    }
    return this.#wait(command, a, b, c);
  }

  /** Makes a call as soon as the store is free, or ends it when its time is over. */
  #wait(command, a, b, c) {
    if (command.snapshot) a = command.snapshot(a);
    return new Promise((resolve, reject) => {
      let over = false;
      const expire = () => {
        over = true;
        if (this.instance.failsafe === 'reject') reject(timedOut(this.namespace, command));
        else resolve(undefined);
      };
      const timeout = Number(this.instance.timeout);
      const timer = setTimeout(expire, timeout > 0 ? timeout : DEFAULT_TIMEOUT);
      const attempt = () => {
        if (over) return true;
        try {
          resolve(command.local(this.cache, a, b, c));
        } catch (error) {
          if (error?.code === BUSY) return false;
          reject(error);
        }
        clearTimeout(timer);
        return true;
      };
      if (!waiting.has(this.namespace)) waiting.set(this.namespace, new Waiting());
      waiting.get(this.namespace).add(attempt);
    });
  }

  /** Which door is in use. */
  transport() {
    return { door: 'local' };
  }
}

const nothing = () => {};

/** Sends to a worker. One that is gone, or goes meanwhile, is no event. */
function send(worker, message) {
  if (worker.isConnected()) worker.process.send(message, undefined, undefined, nothing);
}

/** Identifies this copy of the package to workers. */
const hello = randomUUID();

/** A part of a reply with the values that are in it: their slots may be free by now. */
function fetchValues(part) {
  if (typeof part === 'string') return part;
  const [id, pieces] = part;
  const fetched = pieces.map((piece) => {
    if (typeof piece === 'string') return piece;
    const [first, second] = piece;
    if (typeof first === 'string') return `0,${JSON.stringify(share(first, second))}`;
    return { value: table.values[first], advanced: second === 1 };
  });
  return { id, pieces: fetched };
}

/** The text of a part of a reply; an error in its place if one of its values cannot be written. */
function completePart(part, room) {
  if (typeof part === 'string') return part;
  try {
    let text = '';
    for (const piece of part.pieces) {
      if (text.length > room) throw new RangeError('the result is too large for a message');
      text += typeof piece === 'string' ? piece : encodeValue(piece.value, piece.advanced, NOTHING);
    }
    return text;
  } catch (error) {
    return errorAnswer(part.id, error);
  }
}

/** All parts of a reply as text. A worker may ask for one large value again and again: not without bound. */
function complete(parts) {
  let room = REPLY_LENGTH;
  return parts.map((part) => {
    const text = completePart(part, room);
    room -= text.length;
    return text;
  });
}

/** The most that a worker hears of an error's message, in characters. */
const LONGEST_MESSAGE = 10_000;

/** An answer that says what was thrown, whatever that is: user code may have thrown it. */
function errorAnswer(id, error) {
  let data;
  try {
    const { name = 'Error', message = error, code = '' } = Object(error);
    data = [String(name), String(message).slice(0, LONGEST_MESSAGE), String(code)];
  } catch {
    data = ['Error', 'the value cannot be written', ''];
  }
  return `${id},4,${JSON.stringify(data)}`;
}

/** Sends answers, in as few messages as their size allows. */
function sendAnswers(worker, to, answers) {
  let from = 0;
  let length = 0;
  for (let index = 0; index <= answers.length; index += 1) {
    const next = answers[index]?.length ?? Infinity;
    if (index > from && length + next > MESSAGE_LENGTH) {
      sendReply(worker, to, answers.slice(from, index).join(','));
      from = index;
      length = 0;
    }
    length += next;
  }
}

function sendReply(worker, to, text) {
  try {
    send(worker, { source: SOURCE, to, reply: `[${text}]` });
  } catch (error) {
    // Longer than a string can be, so it is one answer alone: only its caller hears of it.
    send(worker, { source: SOURCE, to, reply: `[${errorAnswer(parseInt(text, 10), error)}]` });
  }
}

/** Answers one message of a worker, whatever it is. */
function receive(worker, message) {
  if (!isOurs(message)) return;
  if (message.hello) send(worker, { source: SOURCE, hello });
  if (typeof message.batch !== 'string') return;
  const reply = registry.handle(message.batch, Date.now());
  if (typeof reply === 'string') {
    table.release();
    sendReply(worker, message.from, reply);
    return;
  }
  const parts = reply.map(fetchValues);
  table.release();
  sendAnswers(worker, message.from, complete(parts));
}

/** Begins to answer workers, and tells those that were there before. */
function listen() {
  // Each copy of the package adds one listener; a test runner may load many.
  const limit = cluster.getMaxListeners();
  if (limit > 0) cluster.setMaxListeners(limit + 1);
  cluster.on('message', receive);
  for (const worker of Object.values(cluster.workers ?? {}))
    send(worker, { source: SOURCE, hello });
}

module.exports = { LocalDoor, allCaches, cacheOf, listen };
