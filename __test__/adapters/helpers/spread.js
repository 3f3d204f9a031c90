'use strict';

// Adapters whose calls are made by several workers in turn, each call by another one.

const cluster = require('node:cluster');
const { EventEmitter } = require('node:events');
const path = require('node:path');

// The primary has the package, so the workers share its caches.
require('lru-cache-for-clusters-as-promised');

const WORKERS = 3;

/** What Keyv has set; a driver of bentocache has a method of that name. */
const textOf = (namespace) => (typeof namespace === 'string' ? namespace : undefined);

class Spread {
  #workers = [];
  #calls = new Map();
  #count = 0;

  /** `env`: what else is in the environment of the workers. */
  start(env = {}) {
    cluster.setupPrimary({ exec: path.join(__dirname, 'worker.js'), serialization: 'advanced' });
    for (let n = 0; n < WORKERS; n += 1) {
      const worker = cluster.fork(env);
      worker.on('message', ({ spread, value, error }) => {
        const call = this.#calls.get(spread);
        this.#calls.delete(spread);
        if (error !== undefined) call?.reject(error);
        else call?.resolve(value);
      });
      this.#workers.push(worker);
    }
    return this;
  }

  async stop() {
    const ends = this.#workers.map((worker) => new Promise((end) => worker.once('exit', end)));
    for (const worker of this.#workers) worker.process.kill('SIGKILL');
    await Promise.all(ends);
  }

  call(message) {
    this.#count += 1;
    const spread = this.#count;
    return new Promise((resolve, reject) => {
      this.#calls.set(spread, { resolve, reject });
      this.#workers[spread % WORKERS].send({ spread, ...message });
    });
  }

  /** An adapter of a kind with these methods. `properties`: what else it has. */
  adapter(kind, options, methods, properties = {}) {
    const adapter = Object.assign(new EventEmitter(), properties);
    for (const method of methods) {
      adapter[method] = (...args) =>
        this.call({ kind, options, namespace: textOf(adapter.namespace), method, args });
    }
    return adapter;
  }

  /** A store of Keyv. */
  keyv(kind, options, properties) {
    const methods = 'get getMany set setMany delete deleteMany has hasMany clear disconnect';
    const store = this.adapter(kind, options, methods.split(' '), properties);
    store.iterator = async function* iterator(...args) {
      yield* await store.all(...args);
    };
    store.all = (...args) =>
      this.call({ kind, options, namespace: textOf(store.namespace), method: 'iterator', args });
    return store;
  }
}

module.exports = { Spread };
