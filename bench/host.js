'use strict';

const { fork } = require('node:child_process');
const path = require('node:path');

/** Milliseconds that one command may take before its process counts as hanging. */
const COMMAND_LIMIT = 300_000;

/**
 * One implementation in processes of its own: a single process, or a primary and its workers.
 * `run(to, command, args)` runs a command of `subject.js` there and gives its result.
 */
class Host {
  /** `spec`: `kind`, `path`, `options`, `workers`, `transport`; `env`: variables set for these processes, `undefined` unsets. */
  static async start(spec, env) {
    const host = new Host();
    host.child = fork(path.join(__dirname, 'subject.js'), [JSON.stringify(spec)], {
      env: { ...process.env, ...env },
      execArgv: ['--expose-gc'],
    });
    host.child.on('message', (message) => {
      if (message.bench === 'note') host.noted?.(message.note);
      else if (message.bench === 'done') host.settle((pending) => pending.resolve(message.result));
      else host.settle((pending) => pending.reject(new Error(message.error)));
    });
    host.gone = new Promise((resolve) => {
      host.child.on('exit', (code, signal) => {
        host.dead = true;
        host.settle((pending) =>
          pending.reject(new Error(`the process ended (${signal || code})`)),
        );
        resolve();
      });
    });
    await host.reply(() => {});
    return host;
  }

  run(to, command, args = {}) {
    return this.reply(() => this.child.send({ bench: 'run', to, command, ...args }));
  }

  async stop() {
    if (!this.dead) this.child.disconnect();
    await this.gone;
  }

  reply(send) {
    if (this.dead) return Promise.reject(new Error('its process has ended'));
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject };
      this.timer = setTimeout(() => this.child.kill('SIGKILL'), COMMAND_LIMIT);
      send();
    });
  }

  settle(how) {
    clearTimeout(this.timer);
    const { pending } = this;
    this.pending = undefined;
    if (pending) how(pending);
  }
}

module.exports = { Host };
