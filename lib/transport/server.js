'use strict';

/** The server in the primary: answers the messages of workers. */

/** @type {import('cluster').Cluster} */
const cluster = /** @type {any} */ (require('cluster'));
const { randomUUID } = require('crypto');
const { handle } = require('../native/loader');
const { CODES, makeError } = require('../errors');
const { KIND } = require('../kinds');
const { DEFAULT_TIMEOUT } = require('../options');
const { RetryQueue } = require('../store/retry-queue');
const { leaseCall } = require('./lease-server');
const { LEASE } = require('./leases');
const { callOwn, letGo, ownFunction, registry, share, table } = require('./caches');
const {
  MESSAGE_LENGTH,
  NOTHING,
  REPLY_LENGTH,
  SOURCE,
  decodeValue,
  encodeValue,
  isHello,
  isOurs,
} = require('./envelope');

// Kept, because test suites replace the globals by timers that stand still.
const { performance } = globalThis;

const { BUSY } = CODES;

const registryId = registry.id;

const nothing = () => {};

/** Sends to a worker. A worker that is gone, or ends meanwhile, is no error. */
function send(worker, message) {
  if (worker.isConnected()) worker.process.send(message, undefined, undefined, nothing);
}

/** Identifies this copy of the package to workers. */
const hello = randomUUID();

/**
 * Fetches the values that a part of a reply needs. Must run before `letGo`, which drops the values of freed slots. A piece that is not text yet is a
 * slot and the mode in which its value is encoded, or a namespace and the ticket that the worker has for it.
 */
function fetchValues(part) {
  if (typeof part === 'string') return part;
  const [id, pieces] = part;
  const fetched = pieces.map((piece) => {
    if (typeof piece === 'string') return piece;
    const [first, second] = piece;
    if (typeof first === 'string') return shareText(first, second);
    return { value: table.values[first], advanced: second === 1 };
  });
  return { id, pieces: fetched };
}

/** Kind and payload of the answer to a worker that asks for the segment of a namespace: a ticket, or why there is none. */
function shareText(namespace, ticket) {
  try {
    return `${KIND.JSON},${JSON.stringify(share(namespace, ticket))}`;
  } catch (error) {
    return errorText(error);
  }
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

/** All parts of a reply as text. A reply is bounded, because a worker may ask for one large value many times. */
function complete(parts) {
  let room = REPLY_LENGTH;
  return parts.map((part) => {
    const text = completePart(part, room);
    room -= text.length;
    return text;
  });
}

/** The most characters of an error's message that an answer has. */
const LONGEST_MESSAGE = 10_000;

/** An answer that says what was thrown. */
const errorAnswer = (id, error) => `${id},${errorText(error)}`;

/** Kind and payload of such an answer. The error is anything: user code may have thrown it. */
function errorText(error) {
  let data;
  try {
    const { name = 'Error', message = error, code = '' } = Object(error);
    data = [String(name), String(message).slice(0, LONGEST_MESSAGE), String(code)];
  } catch {
    data = ['Error', 'the value cannot be written', ''];
  }
  return `${KIND.ERROR},${JSON.stringify(data)}`;
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
    // The text is longer than a string can be, so it is one answer alone, and only that call gets the error.
    send(worker, [SOURCE, to, `[${errorAnswer(parseInt(text, 10), error)}]`]);
  }
}

/** Batches that found a segment locked, and those behind them, by worker: answers come in order. */
const retries = new WeakMap();

/** The longest that a batch waits for a lock, in milliseconds. */
const LONGEST_RETRY = 60_000;

/** Answers one message of a worker, whatever it is. */
function receive(worker, message) {
  if (!isOurs(message)) return;
  if (isHello(message)) send(worker, [SOURCE, hello]);
  const [, from, batch, timeout] = message;
  if (typeof batch !== 'string' || !worker.isConnected()) return;
  const queue = retries.get(worker);
  const rest = queue === undefined ? answer(worker, from, batch) : batch;
  if (rest !== '') retryLater(worker, from, rest, timeout);
}

/** Answers a batch as soon as the lock is free, behind the batches of the same worker that wait. */
function retryLater(worker, from, batch, timeout) {
  const wait = Math.min(timeout > 0 ? timeout : DEFAULT_TIMEOUT, LONGEST_RETRY);
  const due = performance.now() + wait;
  let queue = retries.get(worker);
  if (!queue) {
    queue = new RetryQueue(() => retries.delete(worker));
    retries.set(worker, queue);
  }
  queue.add(() => {
    if (!worker.isConnected()) return true;
    if (performance.now() >= due) {
      // Nobody waits for the answers any more.
      refuse(worker, from, batch);
      return true;
    }
    batch = answer(worker, from, batch);
    return batch === '';
  });
}

/** Answers each request of a batch with an error: another worker has the lock. */
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
 * Takes off a reply what it says of the requests that have no answer yet, if any: how many they are, and whether the
 * first is an `execute`.
 */
function takeRest(reply) {
  const last = reply.at(-1);
  return Array.isArray(last) && typeof last[1] === 'boolean' ? reply.pop() : undefined;
}

/** The last lines of a batch, as many as `count` says. */
function lastLines(batch, count) {
  return batch.split('\n').filter(Boolean).slice(-count);
}

/** Answers a batch. Returns the requests that have no answer because another worker has the lock for the first of them. */
function answer(worker, to, batch) {
  for (let builtIn = false; ;) {
    const reply = handle(registryId, batch, Date.now(), builtIn);
    if (typeof reply === 'string') {
      // The worker can go on while the values of freed slots are dropped here.
      sendReply(worker, to, reply);
      letGo();
      return '';
    }
    const rest = takeRest(reply);
    const parts = reply.map(fetchValues);
    letGo();
    sendAnswers(worker, to, complete(parts));
    if (rest === undefined) return '';
    const [requests, executes] = rest;
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
 * Answers an `execute` of a function of the application. Returns false where there is none of this name: then the command
 * of the name is the answer. Throws where another process has the lock.
 */
function executeOwn(worker, to, line) {
  const [id, mode, namespace, , name, values, first] = parseRequest(line);
  if (name === LEASE && Array.isArray(values)) {
    const called = leaseCall(worker, namespace, mode, values);
    called.then(
      (text) => sendAnswers(worker, to, [`${id},${KIND.OWN},${text}`]),
      (error) => sendAnswers(worker, to, [errorAnswer(id, error)]),
    );
    return true;
  }
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
  const encode = (value) => `${id},${KIND.OWN},[${encodeValue(value, mode === 1, NOTHING)}]`;
  result.then(encode).then(send, fail);
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

/** Whether an argument is the record of an error that the worker found in the arguments of a command. */
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

/** Begins to answer workers, and says hello to those that were forked before. */
function listen() {
  // Each copy of the package adds one listener; a test runner may load many.
  const limit = cluster.getMaxListeners();
  if (limit > 0) cluster.setMaxListeners(limit + 1);
  cluster.on('message', receive);
  for (const worker of Object.values(cluster.workers ?? {})) send(worker, [SOURCE, hello]);
}

module.exports = { listen };
