'use strict';

/**
 * The database that loaders read: a process of its own. A key has a version, which a change raises. It knows which loaders run, on both
 * machines, and finds where a key has two of them without a reason: no deletion of the key and no fault since the first one was called.
 *
 * A message is a line of JSON: `{ load, called }`, `{ loaded }`, `{ change }`, `{ deleted }`, `{ look }`.
 */

const { once } = require('node:events');
const net = require('node:net');
const { createInterface } = require('node:readline');
const { now } = require('../../../lib/remote/clock');
const { WORKERS } = require('./options');

/** Milliseconds that a machine has for being well again after a fault. */
const AFTER = 5000;

/** Milliseconds that a `del` may go on whose process was killed. */
const DELETING = 2500;

/** Half of what a load takes at most, in milliseconds. */
const LOADING = 20;

/** Milliseconds that deletions are kept. */
const KEPT = 30_000;

/** A connection of a worker to the database. */
class Database {
  #socket;
  #waiting = new Map();
  #id = 0;

  static async connect(port, name) {
    const database = new Database();
    const socket = net.connect(port, '127.0.0.1').setNoDelay(true);
    await once(socket, 'connect');
    database.#socket = socket;
    createInterface(socket).on('line', (line) => {
      const { to, ...reply } = JSON.parse(line);
      database.#waiting.get(to)(reply);
      database.#waiting.delete(to);
    });
    await database.ask({ name });
    return database;
  }

  ask(question) {
    this.#id += 1;
    this.#socket.write(`${JSON.stringify({ ...question, id: this.#id })}\n`);
    return new Promise((resolve) => this.#waiting.set(this.#id, resolve));
  }
}

class Loads {
  #keys = new Map();
  #faults = [];
  #id = 0;
  bad = [];
  counts = { loads: 0, overtaken: 0, afterFaults: 0, most: 0, mostOfMachine: 0 };

  #of(key) {
    let one = this.#keys.get(key);
    if (one === undefined) {
      one = { version: 1, deleted: 0, running: new Map(), deletions: [] };
      this.#keys.set(key, one);
    }
    return one;
  }

  fault() {
    this.#faults.push({ from: now(), to: Infinity });
  }

  calm() {
    this.#faults.at(-1).to = now() + AFTER;
  }

  /** A loader begins. */
  begin(key, called, name) {
    const { running, deletions } = this.#of(key);
    const at = now();
    this.counts.loads += 1;
    const besides = [];
    for (const other of running.values()) {
      // What was voided by a deletion does not count.
      if (deletions.some(({ to }) => to >= other.called)) {
        this.counts.overtaken += 1;
        continue;
      }
      besides.push(other);
      if (this.#faults.some(({ to }) => to >= other.called)) continue;
      const since = `called ${Math.round(at - other.called)} ms ago, begun ${Math.round(at - other.begun)} ms ago`;
      this.bad.push(`${key}: a loader of ${name} beside one of ${other.name}, ${since}`);
    }
    if (besides.length > 0) {
      this.counts.afterFaults += 1;
      this.counts.most = Math.max(this.counts.most, besides.length + 1);
      const own = besides.filter((other) => other.name[0] === name[0]).length + 1;
      this.counts.mostOfMachine = Math.max(this.counts.mostOfMachine, own);
      // Where the cache cannot be reached, one loader runs in each process.
      if (own > WORKERS) this.bad.push(`${key}: ${own} loaders of machine ${name[0]}`);
    }
    this.#id += 1;
    running.set(this.#id, { called, name, begun: at });
    return this.#id;
  }

  end(key, id) {
    this.#of(key).running.delete(id);
  }

  /** The database is changed, and `del` is to be called. */
  change(key) {
    const one = this.#of(key);
    one.version += 1;
    const at = now();
    while (one.deletions[0]?.to < at - KEPT) one.deletions.shift();
    const deletion = { version: one.version, to: Infinity };
    one.deletions.push(deletion);
    return deletion;
  }

  /** A `del` is over; or its process is gone. */
  deleted(key, deletion, isDone) {
    const one = this.#of(key);
    deletion.to = now() + (isDone ? 0 : DELETING);
    if (isDone) one.deleted = Math.max(one.deleted, deletion.version);
  }

  look(key) {
    const { version, deleted } = this.#of(key);
    return { version, deleted };
  }
}

/** Answers a worker. What it had begun ends with its connection. */
function serve(socket, loads) {
  const running = new Map();
  const deleting = new Map();
  let name = '';
  socket.setNoDelay(true).on('error', () => {});
  const answer = (to, reply) =>
    socket.writable && socket.write(`${JSON.stringify({ ...reply, to })}\n`);
  createInterface(socket)
    .on('line', (line) => {
      const question = JSON.parse(line);
      const { id } = question;
      if (question.name !== undefined) {
        name = question.name;
        answer(id, {});
      } else if (question.load !== undefined) {
        const key = question.load;
        const load = loads.begin(key, question.called, name);
        running.set(load, key);
        // The value is of some time of the load.
        setTimeout(() => {
          const { version } = loads.look(key);
          setTimeout(() => answer(id, { id: load, version }), Math.random() * LOADING);
        }, Math.random() * LOADING);
      } else if (question.loaded !== undefined) {
        loads.end(running.get(question.loaded), question.loaded);
        running.delete(question.loaded);
        answer(id, {});
      } else if (question.change !== undefined) {
        const deletion = loads.change(question.change);
        deleting.set(id, { key: question.change, deletion });
        answer(id, { id, version: deletion.version });
      } else if (question.deleted !== undefined) {
        const { key, deletion } = deleting.get(question.deleted);
        deleting.delete(question.deleted);
        loads.deleted(key, deletion, true);
        answer(id, {});
      } else {
        answer(id, loads.look(question.look));
      }
    })
    .on('error', () => {});
  socket.on('close', () => {
    for (const [load, key] of running) loads.end(key, load);
    for (const { key, deletion } of deleting.values()) loads.deleted(key, deletion, false);
  });
}

async function run() {
  const loads = new Loads();
  const server = net.createServer((socket) => serve(socket, loads)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.on('message', (what) => {
    if (what === 'fault') loads.fault();
    else if (what === 'calm') loads.calm();
    else process.send({ bad: loads.bad, counts: loads.counts });
  });
  process.on('disconnect', () => process.exit());
  process.send({ port: server.address().port });
}

module.exports = { Database, run };
