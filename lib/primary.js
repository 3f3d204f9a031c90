'use strict';

/**
 * The primary's side, and all there is in a process with no cluster: the caches, and the
 * server that answers the messages of workers.
 */

/** @type {import('cluster').Cluster} */
const cluster = /** @type {any} */ (require('cluster'));
const { randomUUID } = require('crypto');
const { NativeRegistry, handle } = require('./native');
const { NOTHING, decodeValue, encodeValue } = require('./codec');
const { commands } = require('./commands');
const { CODES, failSafe, makeError, unknownCommand } = require('./errors');
const { debug } = require('./debug');
const { LRUCache, Opened, Table, bulk } = require('./lru-cache');
const { DEFAULT_TIMEOUT, LONGEST_TIMER, timeoutOf } = require('./options');
const { MESSAGE_LENGTH, REPLY_LENGTH, SOURCE, isHello, isOurs } = require('./protocol');
const { whyNot } = require('./sharing');
const { Waiting } = require('./waiting');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setInterval, setTimeout } = globalThis;

const { BUSY } = CODES;

const log = debug('primary');

const table = new Table();
const registry = new NativeRegistry(table.state, prune);
const registryId = registry.id;

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

/** The synchronous cache of a namespace for the application, made if there is none. */
function cacheOf(namespace) {
  const { patient } = cachesOf(namespace);
  registry.expose(namespace);
  return patient;
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

/** A function that the application put on the synchronous cache of a namespace, under a name of its own choice. */
function ownFunction(namespace, name) {
  const cache = caches.get(namespace)?.patient;
  if (typeof name !== 'string' || cache === undefined || !Object.hasOwn(cache, name))
    return undefined;
  const own = cache[name];
  return typeof own === 'function' ? own : undefined;
}

/**
 * Calls such a function as one step for all processes, up to its first `await`. Throws where another process has the
 * store, and then it was not called; what it throws itself is a rejection.
 */
function callOwn(namespace, own, args) {
  const { quick, patient } = cachesOf(namespace);
  return bulk.atomically(quick, async () => Reflect.apply(own, patient, args));
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

/** The client of an instance in this process: calls go straight to the cache. */
class LocalClient {
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
      this.ready = this.#wait({ name: 'open', creates: true, local: open });
      // Whoever waits for it hears of a failure.
      this.ready.catch(nothing);
    }
    this.cache = cachesOf(namespace).quick;
  }

  async call(command, a, b, c) {
    // A visit of all entries cannot be begun again.
    if (command.visits) return command.local(cachesOf(this.namespace).patient, a, b, c);
    if (this.waiting.length === 0) {
      try {
        return command.local(this.cache, a, b, c);
      } catch (error) {
        if (error?.code !== BUSY) throw error;
      }
    }
    return this.#wait(command, a, b, c);
  }

  /** Calls by name: a function that the application put on the cache, or else a command. */
  async execute(name, args) {
    const own = ownFunction(this.namespace, name);
    if (own) return this.call({ name, local: () => callOwn(this.namespace, own, args) });
    const command = commands[name];
    if (!command) throw unknownCommand(name);
    return this.call(command, ...args);
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

  /** Which transport is in use. */
  transport() {
    return { kind: 'local' };
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
    send(worker, [SOURCE, to, `[${text}]`]);
  } catch (error) {
    // Longer than a string can be, so it is one answer alone: only its caller hears of it.
    send(worker, [SOURCE, to, `[${errorAnswer(parseInt(text, 10), error)}]`]);
  }
}

/** Batches whose store another worker has locked, and those behind them, by worker: answers come in order. */
const held = new WeakMap();

/** The longest that a batch waits for a store, in milliseconds. */
const LONGEST_HOLD = 60_000;

/** Answers one message of a worker, whatever it is. */
function receive(worker, message) {
  if (!isOurs(message)) return;
  if (isHello(message)) send(worker, [SOURCE, hello]);
  const [, from, batch, timeout] = message;
  if (typeof batch !== 'string' || !worker.isConnected()) return;
  const queue = held.get(worker);
  const left = queue === undefined ? answer(worker, from, batch) : batch;
  if (left !== '') hold(worker, from, left, timeout);
}

/** Lets a batch wait for its store, behind those of the same worker that wait. */
function hold(worker, from, batch, timeout) {
  const wait = Math.min(timeout > 0 ? timeout : DEFAULT_TIMEOUT, LONGEST_HOLD);
  const due = performance.now() + wait;
  let queue = held.get(worker);
  if (!queue) {
    queue = new Waiting(() => held.delete(worker));
    held.set(worker, queue);
  }
  queue.add(() => {
    if (!worker.isConnected()) return true;
    if (performance.now() >= due) {
      // Nobody waits for them any more, and not even a try is free.
      refuse(worker, from, batch);
      return true;
    }
    batch = answer(worker, from, batch);
    return batch === '';
  });
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

/**
 * Takes off a reply what it says of the requests that were left, if any: how many they are, and whether the first is an
 * `execute`.
 */
function takeLeft(reply) {
  const last = reply.at(-1);
  return Array.isArray(last) && typeof last[1] === 'boolean' ? reply.pop() : undefined;
}

/** The last lines of a batch, as many as `count` says. */
function lastLines(batch, count) {
  return batch.split('\n').filter(Boolean).slice(-count);
}

/** Answers a batch; its requests that were left because another worker has the store of the first of them. */
function answer(worker, to, batch) {
  for (let builtIn = false; ;) {
    const reply = handle(registryId, batch, Date.now(), builtIn);
    if (typeof reply === 'string') {
      // The worker can go on while values are let go here.
      sendReply(worker, to, reply);
      table.release();
      return '';
    }
    const left = takeLeft(reply);
    const parts = reply.map(fetchValues);
    table.release();
    sendAnswers(worker, to, complete(parts));
    if (left === undefined) return '';
    const [requests, executes] = left;
    let lines = lastLines(batch, requests);
    if (!executes) return lines.join('\n');
    builtIn = false;
    try {
      builtIn = !executeOwn(worker, to, lines[0]);
    } catch (error) {
      if (error?.code !== BUSY) throw error;
      return lines.join('\n');
    }
    if (!builtIn) lines = lines.slice(1);
    if (lines.length === 0) return '';
    batch = lines.join('\n');
  }
}

/**
 * Answers an `execute`, unless it is to be answered as the command that it names: then returns false. Throws where
 * another process has the store.
 */
function executeOwn(worker, to, line) {
  const [id, mode, namespace, , name, values, first] = parseRequest(line);
  const own = ownFunction(namespace, name);
  const refused = isRefusal(first) ? makeError(first.refused) : undefined;
  if (own === undefined && refused === undefined) return false;
  const send = (text) => sendAnswers(worker, to, [text]);
  const fail = (error) => send(errorAnswer(id, error));
  if (own === undefined) {
    fail(refused);
    return true;
  }
  let args;
  try {
    args = decodeArguments(values);
  } catch (error) {
    fail(error);
    return true;
  }
  const result = callOwn(namespace, own, args);
  table.release();
  result.then((value) => `${id},6,[${encodeValue(value, mode === 1, NOTHING)}]`).then(send, fail);
  return true;
}

/** The elements of a request; none where it cannot be read. */
function parseRequest(line) {
  try {
    return JSON.parse(line);
  } catch {
    return [];
  }
}

/** Whether a worker says that the arguments of a command are wrong, and how. */
function isRefusal(argument) {
  const refused = argument?.refused;
  return Array.isArray(refused) && refused.every((text) => typeof text === 'string');
}

/** The arguments of a function of the application, from a list of kinds and payloads in turn. */
function decodeArguments(list) {
  if (!Array.isArray(list)) {
    throw makeError([
      'TypeError',
      'an argument has no form as JSON: send what JSON can carry, or use serialization: "advanced"',
      CODES.INVALID_ARG_TYPE,
    ]);
  }
  return Array.from({ length: list.length / 2 }, (_, index) =>
    decodeValue(list[2 * index], list[2 * index + 1]),
  );
}

/** Begins to answer workers, and tells those that were there before. */
function listen() {
  // Each copy of the package adds one listener; a test runner may load many.
  const limit = cluster.getMaxListeners();
  if (limit > 0) cluster.setMaxListeners(limit + 1);
  cluster.on('message', receive);
  for (const worker of Object.values(cluster.workers ?? {})) send(worker, [SOURCE, hello]);
}

module.exports = { LocalClient, allCaches, cacheOf, listen };
