'use strict';

const cluster = require('node:cluster');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const v8 = require('node:v8');

const AGENT = path.join(__dirname, '..', 'fixtures', 'agent.js');

/** The environment of a worker by the transport that its calls take; without it, the package decides. */
const ENV_OF = { 'shared-memory': { LRU_CACHE_SHARED: '1' }, ipc: { LRU_CACHE_SHARED: '0' } };

/** The transports there are on this system. */
const TRANSPORTS = process.platform === 'linux' ? ['shared-memory', 'ipc'] : ['ipc'];

/** A process that runs functions for a test; see `fixtures/agent.js`. */
class Agent {
  /** Everything the process wrote, to either stream. */
  output = '';
  #calls = new Map();
  #nextId = 1;

  constructor(child, worker, transport) {
    this.child = child;
    /** The cluster's object, where this is a worker. */
    this.worker = worker;
    /** The transport that the caches it opens must take, where that was said. */
    this.transport = transport;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.output += text));
    }
    child.on('message', (message) => this.#receive(message));
    /** `{ code, signal }`, when it has ended and its output has been read. */
    this.ended = once(child, 'close').then(([code, signal]) => {
      const how = `the process ended (${signal ?? code}): ${this.output}`;
      for (const { reject } of this.#calls.values()) reject(new Error(how));
      this.#calls.clear();
      return { code, signal };
    });
  }

  /** Runs a function in the process: it must not use what is around it here. */
  run(fn, ...args) {
    const id = this.#nextId++;
    const text = v8.serialize(args).toString('base64');
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.child.send({ agent: id, source: String(fn), args: text }, (error) => {
        if (error) reject(error);
      });
    });
  }

  /**
   * A cache in the process, opened there with `getInstance`, whose calls are made from here. Fails when it has not the
   * transport that the process was started for.
   */
  async open(options) {
    const open = async ({ Cache, state }, given) => {
      const cache = await Cache.getInstance(given);
      state.caches ??= [];
      return [state.caches.push(cache) - 1, cache.transport()];
    };
    const [id, { kind, reason }] = await this.run(open, options);
    if (this.transport && kind !== this.transport)
      throw new Error(`${kind} instead of ${this.transport}: ${reason}`);
    const call = ({ state }, at, name, args) => state.caches[at][name](...args);
    return new Proxy(
      {},
      { get: (target, name) => name !== 'then' && ((...args) => this.run(call, id, name, args)) },
    );
  }

  #receive(message) {
    if (typeof message?.agent !== 'number') return;
    const call = this.#calls.get(message.agent);
    if (!call) return;
    this.#calls.delete(message.agent);
    const result = v8.deserialize(Buffer.from(message.result, 'base64'));
    if (message.ok) call.resolve(result);
    else call.reject(Object.assign(new Error(result.message), result));
  }

  /** Ends the process, whatever it is doing. */
  async kill() {
    this.child.kill('SIGKILL');
    return this.ended;
  }
}

async function ready(agent) {
  const early = agent.ended.then(() => {
    throw new Error(`the process did not start: ${agent.output}`);
  });
  early.catch(() => {});
  await Promise.race([once(agent.child, 'message'), early]);
  return agent;
}

/**
 * Forks a worker of this process's cluster.
 *
 * @param {{ transport?: 'shared-memory' | 'ipc' }} [options] `transport`: the one its calls must take; the package decides, when it
 * is not given
 */
function startWorker({ transport, serialization = 'json', execArgv = [], env = {} } = {}) {
  cluster.setupPrimary({ exec: AGENT, args: [], execArgv, serialization, silent: true });
  const worker = cluster.fork({ ...ENV_OF[transport], ...env });
  return ready(new Agent(worker.process, worker, transport));
}

/** Starts a process that can be the primary of a cluster of its own. */
function startPrimary({ execArgv = [], env = {} } = {}) {
  return ready(
    new Agent(fork(AGENT, [], { execArgv, silent: true, env: { ...process.env, ...env } })),
  );
}

/**
 * For one `describe`: starts processes, and ends those that are left when its tests are done.
 *
 * @returns {{ worker: typeof startWorker, primary: typeof startPrimary }}
 */
function processes() {
  const starting = [];
  let over = false;
  after(async () => {
    // A test that failed may have left one behind that is only just starting.
    over = true;
    await Promise.all(starting.map((start) => start.then((agent) => agent.kill()).catch(() => {})));
  });
  const keep = (start) => (options) => {
    if (over) return Promise.reject(new Error('the tests are over'));
    const agent = start(options);
    starting.push(agent);
    return agent;
  };
  return { worker: keep(startWorker), primary: keep(startPrimary) };
}

module.exports = { TRANSPORTS, ENV_OF, startWorker, startPrimary, processes };
