'use strict';

// An application in which a dependency still brings the original: both work in one process tree.

const assert = require('node:assert/strict');
const { TRANSPORTS, processes } = require('./helpers');

describe('beside the original', () => {
  const { primary: start } = processes();

  for (const version of ['1.7.4', '1.5.24']) {
    for (const [transport, first] of TRANSPORTS.flatMap((by) => [
      [by, 'ours'],
      [by, 'theirs'],
    ])) {
      it(`${version}, ${first} loaded first, transport: ${transport}: each has its own messages and caches`, async () => {
        const primary = await start();
        const got = await primary.run(
          async (context, name, oursFirst, by) => {
            if (oursFirst) void context.Cache;
            const Theirs = context.require(name);
            const Ours = context.Cache;
            const { startWorker } = context.require('.');
            const worker = await startWorker({ transport: by });
            const inWorker = await worker.run(async (theirContext, theirName) => {
              const Original = theirContext.require(theirName);
              const options = { namespace: 'shared name', timeout: 10_000, failsafe: 'reject' };
              const ours = await theirContext.Cache.getInstance({ ...options, max: 5 });
              const theirs = new Original({ ...options, max: 7 });
              await Promise.all([ours.set('k', 'ours'), theirs.set('k', 'theirs')]);
              await Promise.all([ours.incr('n', 2), theirs.incr('n', 3)]);
              return Promise.all([
                ours.get('k'),
                theirs.get('k'),
                ours.get('n'),
                theirs.get('n'),
                ours.max(),
                theirs.max(),
              ]);
            }, name);
            const ours = new Ours({ namespace: 'shared name' });
            const theirs = new Theirs({ namespace: 'shared name' });
            await worker.kill();
            return [
              inWorker,
              [await ours.get('k'), await theirs.get('k')],
              Object.keys(Ours.getAllCaches()),
            ];
          },
          `lru-cache-for-clusters-${version}`,
          first === 'ours',
          transport,
        );
        assert.deepEqual(got, [
          ['ours', 'theirs', 2, 3, 5, 7],
          ['ours', 'theirs'],
          ['shared name'],
        ]);
      });
    }
  }
});
