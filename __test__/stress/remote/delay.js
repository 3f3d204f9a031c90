'use strict';

/** How long it takes until a machine reads what the other one has written: machine a writes the time, machine b looks. */

const { setTimeout: sleep } = require('node:timers/promises');
const { now } = require('../../../lib/remote/clock');
const { MACHINE } = require('./options');

function create({ cache }) {
  const delays = [];
  let last = 0;
  return {
    loops: 1,
    async step() {
      if (MACHINE === 'a') {
        await sleep(20);
        await cache.set('delay', now());
        return;
      }
      await sleep(1);
      const value = await cache.get('delay');
      if (!(value > last)) return;
      if (last > 0) delays.push(now() - value);
      last = value;
    },
    report: () => ({ delays }),
  };
}

module.exports = { create };
