'use strict';

/**
 * The primary's side, and all there is in a process with no cluster: the caches, and the door for the
 * messages of workers.
 */

const cluster = require('cluster');
const { randomUUID } = require('crypto');
const { NativeRegistry } = require('./native');
const { NOTHING, encodeValue } = require('./codec');
const { failSafe, makeError } = require('./errors');
const { debug } = require('./debug');
const { LRUCache, Opened, Table } = require('./lru-cache');
const { DEFAULT_TIMEOUT, LONGEST_TIMER, timeoutOf } = require('./options');
const { MESSAGE_LENGTH, REPLY_LENGTH, SOURCE, isOurs } = require('./protocol');
const { whyNot } = require('./sharing');
const { BUSY, Waiting } = require('./waiting');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setInterval, setTimeout } = globalThis;

const log = debug('primary');

const table = new Table();
const registry = new NativeRegistry(table.state, prune);

/** The caches of each namespace that was asked for. The registry may know more: those of workers. */
const caches = new Map();

/**
 * The cache of a namespace, made if there is none, in two ways: `quick` for calls that are made again where a worker
 * has the store, `patient` for those of the synchronous class, which wait for it.
 */
function cachesOf(namespace) {
  let both = caches.get(namespace);
  if (!both) {
    if (!registry.cache(namespace)) applyOptions(namespace, '{}');
    const open = (patient) => new LRUCache(new Opened(registry.cache(namespace, patient), table));
    both = { quick: open(false), patient: open(true) };
    caches.set(namespace, both);
  }
  return both;
}

/** The synchronous cache of a namespace, made if there is none. */
function cacheOf(namespace) {
  return cachesOf(namespace).patient;
}

/**
 * Makes the cache of a namespace, or changes its options to those given, as JSON. Throws what is wrong with them;
 * where a worker has the store, nothing is changed yet.
 */
function applyOptions(namespace, options) {
  const wrong = registry.open(namespace, options);
  table.release();
  if (wrong) throw makeError(wrong);
}

/** Called when the schedule of a namespace says so. */
function prune(namespace) {
  const attempt = () => {
    const done = registry.scheduled(namespace, Date.now());
    table.release();
    if (Array.isArray(done) && done[2] === BUSY) return false;
    log(done === true ? 'pruned' : 'did not prune', namespace);
    return true;
  };
  if (!attempt()) queueOf(waiting, namespace).add(attempt);
}

/** Milliseconds until values go whose entries workers have removed, where this process makes no call itself. */
const SWEEP = 1000;

let sweeper;

/**
 * The answer to a worker that asks where it can attach a namespace, or why it cannot; an error where it has to ask
 * again. `theirs` is a ticket the worker has already.
 */
function share(namespace, theirs) {
  let why = whyNot();
  if (why === undefined) {
    // Values that were freed meanwhile may still have to be read: they are dropped later.
    const ticket = registry.share(namespace, theirs, table.values);
    if (typeof ticket === 'string') {
      sweeper ??= setInterval(sweep, SWEEP).unref();
      log('shares', namespace, ticket);
      return `0,${JSON.stringify({ ticket })}`;
    }
    const error = makeError(ticket);
    if (error.code === BUSY) return `4,${JSON.stringify(ticket)}`;
    why = error.message;
  }
  log('does not share', namespace, why);
  return `0,${JSON.stringify({ why })}`;
}

function sweep() {
  registry.sweep();
  table.release();
}

/** `{ namespace: LRUCache }` of all that exist. */
function allCaches() {
  return Object.fromEntries(registry.names().map((name) => [name, cacheOf(name)]));
}

const nothing = () => {};

/** Calls that wait for a store which a worker has locked, by namespace. */
const waiting = new Map();

/** What waits under a key of `map`. */
function queueOf(map, key) {
  if (!map.has(key)) map.set(key, new Waiting());
  return map.get(key);
}

/** The door of an instance in this process: calls go straight to the cache. */
class LocalDoor {
  constructor({ namespace, store, error }, instance) {
    if (error) throw error;
    this.namespace = namespace;
    /** Calls that wait for the store, and go first. */
    this.waiting = queueOf(waiting, namespace);
    /** Whose `timeout` and `failsafe` hold for a call that has to wait. */
    this.instance = instance;
    const open = () => applyOptions(namespace, store);
    /** Resolves when the cache has its options. */
    this.ready = Promise.resolve();
    try {
      open();
    } catch (error) {
      if (error?.code !== BUSY) throw error;
      this.ready = this.#wait({ name: '()', creates: true, local: open });
      // Whoever waits for it hears of a failure.
      this.ready.catch(nothing);
    }
    this.cache = cachesOf(namespace).quick;
  }

  async call(command, a, b, c) {
    // A visit of all entries cannot be begun again.
    if (command.visits) return command.local(cacheOf(this.namespace), a, b, c);
    if (this.waiting.length === 0) {
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
        const { failsafe } = this.instance;
        failSafe({ failsafe, namespace: this.namespace }, command, { resolve, reject });
      };
      const timer = setTimeout(expire, Math.min(timeoutOf(this.instance), LONGEST_TIMER));
      const attempt = () => {
        if (over && !command.creates) return true;
        try {
          resolve(command.local(this.cache, a, b, c));
        } catch (error) {
          if (error?.code === BUSY) return false;
          reject(error);
        }
        clearTimeout(timer);
        return true;
      };
      this.waiting.add(attempt);
    });
  }

  /** Which door is in use. */
  transport() {
    return { door: 'local' };
  }
}

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
    if (typeof first === 'string') return share(first, second);
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

/** Batches whose store another worker has locked, and those behind them, by worker: answers come in order. */
const held = new WeakMap();

/** The longest that a batch waits for a store, in milliseconds. */
const LONGEST_HOLD = 60_000;

/** Answers one message of a worker, whatever it is. */
function receive(worker, message) {
  if (!isOurs(message)) return;
  if (message.hello) send(worker, { source: SOURCE, hello });
  if (typeof message.batch !== 'string') return;
  let batch = message.batch;
  const wait = Math.min(message.timeout > 0 ? message.timeout : DEFAULT_TIMEOUT, LONGEST_HOLD);
  const due = performance.now() + wait;
  const attempt = () => {
    if (!worker.isConnected()) return true;
    if (performance.now() >= due) {
      // Nobody waits for them any more, and not even a try is free.
      refuse(worker, message.from, batch);
      return true;
    }
    const left = answer(worker, message.from, batch);
    if (left > 0) batch = batch.split('\n').filter(Boolean).slice(-left).join('\n');
    return left === 0;
  };
  const queue = queueOf(held, worker);
  if (queue.length > 0 || !attempt()) queue.add(attempt);
}

/** Answers each request of a batch with an error: another worker has the store. */
function refuse(worker, to, batch) {
  const busy = makeError(['Error', 'another process has the shared store', BUSY]);
  const ids = batch.split('\n').flatMap((request) => /^\[(\d+),/.exec(request)?.[1] ?? []);
  sendAnswers(
    worker,
    to,
    ids.map((id) => errorAnswer(id, busy)),
  );
}

/** Answers a batch; how many of its requests, the last ones, were left because another worker has their store. */
function answer(worker, to, batch) {
  const reply = registry.handle(batch, Date.now());
  if (typeof reply === 'string') {
    table.release();
    sendReply(worker, to, reply);
    return 0;
  }
  const left = typeof reply.at(-1) === 'number' ? reply.pop() : 0;
  const parts = reply.map(fetchValues);
  table.release();
  sendAnswers(worker, to, complete(parts));
  return left;
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
