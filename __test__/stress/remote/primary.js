'use strict';

/** The primary of a machine: starts workers, and starts those again that were killed. */

const cluster = require('node:cluster');
const Cache = require('../../..');
const { URL, WORKERS } = require('./options');

function run() {
  Cache.init({ remote: { client: URL } });
  const workers = new Map();
  /** What every worker is to do now, and what those have given who have done it. */
  let wanted = 'rest';
  const results = new Map();
  const start = (index) => {
    const one = cluster.fork({ INDEX: index });
    workers.set(index, one);
    one.on('message', ({ ready, isHolder, did, result, ...rest }) => {
      if (ready) one.send({ want: wanted });
      if (isHolder !== undefined) one.isHolder = isHolder;
      if (did === wanted) {
        results.set(index, result);
        if (results.size === WORKERS) process.send({ did, results: [...results.values()] });
      }
      if (Object.keys(rest).length > 0) process.send(rest);
    });
    one.on('exit', () => start(index));
  };
  for (let index = 0; index < WORKERS; index += 1) start(index);
  const find = (what) => [...workers.values()].find((one) => !one.isHolder === (what === 'worker'));
  process.on('message', ({ want, kill, pause, ...rest }) => {
    if (want !== undefined) {
      wanted = want;
      results.clear();
    }
    if (kill !== undefined) find(kill)?.process.kill('SIGKILL');
    if (pause !== undefined) {
      const one = find(pause);
      one?.process.kill('SIGSTOP');
      setTimeout(() => one?.process.kill('SIGCONT'), 3500);
    }
    const told = want === undefined ? rest : { want };
    if (Object.keys(told).length === 0) return;
    for (const one of workers.values()) if (one.isConnected()) one.send(told, () => {});
  });
  process.on('disconnect', () => process.exit());
}

module.exports = { run };
