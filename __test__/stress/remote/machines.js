'use strict';

/** The machines, as the main process has them: it says what all workers do, and learns what they have done. */

const { fork } = require('node:child_process');
const { MACHINES, TRANSPORT } = require('./options');

/** How long all workers may take for what they are to do, in milliseconds. */
const PATIENCE = 60_000;

class Machines {
  #children;
  #wait;
  ops = 0;
  /** What workers have found that must not be. */
  bad = [];

  constructor(script, proxies, database) {
    this.#children = MACHINES.map((machine, at) => {
      const given = ['--machine', machine, '--url', proxies[at].url, '--database', `${database}`];
      const args = [...process.argv.slice(2), '--role', 'primary', ...given];
      const env = { ...process.env, LRU_CACHE_SHARED: TRANSPORT === 'ipc' ? '0' : '1' };
      const child = fork(script, args, { env });
      child.on('message', (message) => this.#take(child, message));
      child.once('exit', (code) => {
        if (this.#children.length > 0) throw new Error(`a machine ended with ${code}`);
      });
      return child;
    });
  }

  #take(child, { ops = 0, bad, tell, did, results }) {
    this.ops += ops;
    if (bad !== undefined) this.bad.push(bad);
    // What one machine has done, the other is told.
    if (tell !== undefined) {
      for (const other of this.#children) if (other !== child) other.send({ told: tell });
    }
    if (did !== undefined) this.#wait?.(child, did, results);
  }

  /** All workers go, rest, check, or report. Resolves with what they give. */
  all(what) {
    return new Promise((resolve, reject) => {
      const given = new Map();
      const late = () => reject(new Error(`not all workers ${what}: ${this.bad.slice(0, 5)}`));
      const timer = setTimeout(late, PATIENCE);
      this.#wait = (child, did, results) => {
        if (did !== what) return;
        given.set(child, results);
        if (given.size < this.#children.length) return;
        clearTimeout(timer);
        resolve([...given.values()].flat());
      };
      this.say({ want: what });
    });
  }

  /** Says something to all machines. */
  say(message) {
    for (const child of this.#children) child.send(message);
  }

  /** Says something to one machine. */
  sayToOne(message) {
    const at = Math.floor(Math.random() * this.#children.length);
    this.#children[at].send(message);
  }

  end() {
    for (const child of this.#children.splice(0)) child.kill();
  }
}

module.exports = { Machines };
