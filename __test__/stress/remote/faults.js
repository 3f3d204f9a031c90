'use strict';

/**
 * What may go wrong. A fault is over when its function resolves.
 *
 * | fault     | what                                                                      |
 * | --------- | ------------------------------------------------------------------------- |
 * | `kill`    | the server is killed and started again                                    |
 * | `stop`    | the server stands still                                                   |
 * | `flush`   | `FLUSHALL`                                                                |
 * | `client`  | the server ends the connections that tell what changes                    |
 * | `holder`  | the holder of a machine is killed                                         |
 * | `pause`   | the holder of a machine stands still                                      |
 * | `worker`  | a worker of a machine is killed that is not its holder                    |
 * | `replies` | what the server says to a machine is kept back, but what it tells of changes |
 * | `pushes`  | what the server tells a machine of changes is kept back                   |
 */

const { setTimeout: sleep } = require('node:timers/promises');
const { now } = require('../../../lib/remote/clock');
const { CLIENTS } = require('../../remote/servers');
const { FAULTS, isVerbose } = require('./options');

const some = (list) => list[Math.floor(Math.random() * list.length)];

/** Short enough that calls only wait, or so long that connections and what a machine has count no longer. */
const span = () => (Math.random() < 0.4 ? 2500 + Math.random() * 1000 : Math.random() * 800);

const KINDS = {
  async kill({ server }) {
    await server.kill();
    await sleep(Math.random() * 300);
    await server.restart();
  },
  async stop({ server }) {
    server.stop();
    await sleep(span());
    server.go();
  },
  async flush({ server, machines }) {
    const from = now();
    await ask(server, [['FLUSHALL']]);
    machines.say({ flushed: { from, to: now() } });
  },
  async client({ server }) {
    const [list] = await ask(server, [['CLIENT', 'LIST']]);
    const tracking = list.split('\n').filter((one) => / flags=\S*[tB]/.test(one));
    const ids = tracking.map((one) => /id=(\d+)/.exec(one)[1]);
    await ask(
      server,
      ids.map((id) => ['CLIENT', 'KILL', 'ID', id]),
    );
  },
  async holder({ machines }) {
    machines.sayToOne({ kill: 'holder' });
  },
  async pause({ machines }) {
    machines.sayToOne({ pause: 'holder' });
    await sleep(3500);
  },
  async worker({ machines }) {
    machines.sayToOne({ kill: 'worker' });
  },
  async replies({ proxies }) {
    const proxy = some(proxies);
    proxy.holdReplies();
    await sleep(span());
    proxy.release();
  },
  async pushes({ proxies }) {
    const proxy = some(proxies);
    proxy.holdPushes();
    await sleep(span());
    proxy.release();
  },
};

/** Faults after which a key has no second loader: that of the process that was killed is gone. */
const HARMLESS = ['worker'];

/** Asks the server. */
async function ask(server, commands) {
  const client = CLIENTS['redis 6'](server.url);
  client.on('error', () => {});
  await client.connect();
  try {
    const replies = [];
    for (const args of commands) replies.push(String(await client.sendCommand(args)));
    return replies;
  } finally {
    client.destroy();
  }
}

class Faults {
  #of;
  #round = 0;
  /** How often each fault was. */
  counts = {};

  constructor(of) {
    this.#of = of;
  }

  /** The next fault in turn, and some time after it. */
  async next() {
    const kind = FAULTS[this.#round % FAULTS.length];
    this.#round += 1;
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    if (isVerbose) console.error(`${Math.round(performance.now())} ms: ${kind}`);
    const { database } = this.#of;
    if (!HARMLESS.includes(kind)) database.send('fault');
    await KINDS[kind](this.#of);
    if (!HARMLESS.includes(kind)) database.send('calm');
    await sleep(300 + Math.random() * 1200);
  }
}

module.exports = { Faults };
