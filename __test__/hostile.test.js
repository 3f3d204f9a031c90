'use strict';

// Whatever a worker sends with our mark on it: the primary stays up, keeps what it has, and answers the next
// good call. The primary is a process of its own, so that its end would be seen.

const assert = require('node:assert/strict');
const { TRANSPORTS, STRESS, processes } = require('./helpers');
const { SOURCE } = require('../lib/transport/envelope');

const deep = (open, close) => open.repeat(200_000) + close.repeat(200_000);

/** Messages: [title, what follows `SOURCE` in the message]. None may be answered with a value. */
const messages = [
  ['no batch', []],
  ...[null, 5, true, [], {}, ['[1,0,"kept","get","k"]'], { length: 5 }].map((batch) => [
    `batch ${JSON.stringify(batch)}`,
    [null, batch],
  ]),
  ['an empty batch', [null, '']],
  ['empty lines', [null, '\n\n\r\n\n']],
  ['a hello of another type', [{ value: [1] }]],
  ['a reply', [null, '[1,0,2]']],
  ['a reply that is no JSON', [null, '[1,0']],
  [
    'prototype names',
    [null, JSON.parse('{"__proto__":{"batch":"x"},"constructor":1,"toString":2}')],
  ],
  ['more elements than there are', Array(1000).fill('x')],
  ['what is no JSON', [null, 'get k']],
  ['a truncated line', [null, '[7,0,"kept","get"']],
  ['a truncated string', [null, '[7,0,"kept","set","k",0,"va']],
  ['a NUL', [null, '[7,0,"kept","get","k"]\0']],
  ['lone surrogates', [null, '[7,0,"kept\ud800","get","\udc00"]']],
  ['open brackets without end', [null, '['.repeat(1_000_000)]],
  ['deep nesting', [null, deep('[', ']')]],
  ['deep nesting as an argument', [null, `[7,0,"kept","get",${deep('[', ']')}]`]],
  ['deep nesting as an option', [null, `[7,0,"kept","open",{"max":${deep('{"a":', '}')}}]`]],
  ['a very long line', [null, 'x'.repeat(5_000_000)]],
  ['many bad lines', [null, '[\n'.repeat(200_000)]],
];

/** Lines that have an id, each of which gets an error answer: [title, line]. */
const lines = [
  ['an id alone', '[7]'],
  ['no command', '[7,0,"kept"]'],
  ['another mode', '[7,5,"kept","get","k"]'],
  ['a mode of another type', '[7,"0","kept","get","k"]'],
  ['a namespace of another type', '[7,0,5,"get","k"]'],
  ['a namespace null', '[7,0,null,"get","k"]'],
  ['a namespace that is not there', '[7,0,"missing","get","k"]'],
  ['a namespace of a prototype', '[7,0,"__proto__","get","k"]'],
  ['a command of another type', '[7,0,"kept",{"a":1},"k"]'],
  ['an unknown command', '[7,0,"kept","nothing","k"]'],
  ...['constructor', '__proto__', 'toString', 'hasOwnProperty', 'forEach', ''].map((name) => [
    `the command ${JSON.stringify(name)}`,
    `[7,0,"kept",${JSON.stringify(name)},"k"]`,
  ]),
  ['a key that is an object', '[7,0,"kept","get",{"a":1}]'],
  ['a key that is an array', '[7,0,"kept","get",["k"]]'],
  ['a key with a wrong tag', '[7,0,"kept","get",{"n":"no number"}]'],
  ['a key that is no bigint', '[7,0,"kept","get",{"i":"1e3"}]'],
  ['set without a value', '[7,0,"kept","set","k"]'],
  ['set with half a value', '[7,0,"kept","set","k",0]'],
  ['a value of an unknown kind', '[7,0,"kept","set","k",9,"x"]'],
  ['a value of a kind of another type', '[7,0,"kept","set","k","0","x"]'],
  ['a value that pretends to be a miss', '[7,0,"kept","set","k",5,0]'],
  ['a value that pretends to be an error', '[7,0,"kept","set","k",4,["Error","x",""]]'],
  ['a special number that is none', '[7,0,"kept","set","k",2,"huge"]'],
  ['base64 that is none', '[7,0,"kept","set","k",3,"%%%"]'],
  ['an age of another type', '[7,0,"kept","set","k",0,"x","soon"]'],
  ['an amount of another type', '[7,0,"kept","incr","n",[1]]'],
  ['a wrong pair in mSet', '[7,0,"kept","mSet",["a",0,1,"b",0]]'],
  ['a wrong value in mSet', '[7,0,"kept","mSet",["a",0,1,"b",9,1]]'],
  ['a wrong key in mGet', '[7,0,"kept","mGet",["k",{}]]'],
  ['a wrong key in mDel', '[7,0,"kept","mDel",["k",{}]]'],
  ['a wrong entry in load', '[7,0,"kept","load",["k",0,1]]'],
  ['options that are no object', '[7,0,"kept","open","max"]'],
  ['options that are wrong', '[7,0,"kept","open",{"max":-1}]'],
  ['a pattern that is wrong', '[7,0,"kept","open",{"prune":"* * *"}]'],
  ['a max that is wrong', '[7,0,"kept","max",{"n":"-Infinity"}]'],
];

// What is sent is the same. What it meets is a cache on the heap, or one in memory that the worker has attached.
for (const transport of TRANSPORTS) {
  describe(`what a worker may send, transport: ${transport}`, () => {
    const { primary: start } = processes();
    let primary;

    before(async () => {
      primary = await start();
      await primary.run(async (context, by) => {
        const { state, require: load } = context;
        const { startWorker } = load('.');
        state.cache = new context.Cache({ namespace: 'kept', max: 10 });
        const kept = { k: 'kept', 1: { by: 'reference' } };
        await state.cache.mSet(kept);
        state.object = kept[1];
        state.worker = await startWorker({ transport: by });
        const { worker } = state;
        await worker.run(async ({ Cache, state: theirs }) => {
          const options = { namespace: 'kept', timeout: 30_000, failsafe: 'reject' };
          theirs.cache = await Cache.getInstance(options);
        });
        state.replies = [];
        const send = worker.child.send.bind(worker.child);
        worker.child.send = (message, ...rest) => {
          if (Array.isArray(message) && message.length === 3) state.replies.push(message[2]);
          return send(message, ...rest);
        };
        const { kind } = await worker.run(({ state: theirs }) => theirs.cache.transport());
        if (kind !== by) throw new Error(`${kind} instead of ${by}`);
      }, transport);
    });

    /** Sends messages from the worker, then calls; gives what the primary replied to the messages. */
    const send = (sent) =>
      primary.run(
        async ({ state }, source, given) => {
          state.replies.length = 0;
          // Two steps: a damaged id may be that of a call under way.
          await state.worker.run(
            (context, mark, list) => list.forEach((item) => process.send([mark, ...item])),
            source,
            given,
          );
          const got = await state.worker.run(({ state: theirs }) => theirs.cache.mGet(['k', '1']));
          if (got.k !== 'kept' || got[1].by !== 'reference') throw new Error(JSON.stringify(got));
          if ((await state.cache.get('1')) !== state.object) throw new Error('another object');
          const keys = await state.cache.keys();
          if (String(keys) !== '1,k') throw new Error(`the keys are ${keys}`);
          // The last reply is that to the call.
          return state.replies.slice(0, -1);
        },
        SOURCE,
        sent,
      );

    for (const [title, message] of messages) {
      it(`${title}: no harm`, async () => {
        const replies = await send([message]);
        for (const reply of replies) {
          const answers = JSON.parse(reply);
          for (let at = 1; at < answers.length; at += 3) assert.equal(answers[at], 4);
        }
      });
    }

    for (const [title, line] of lines) {
      it(`${title}: an error answer, and its neighbours are answered`, async () => {
        const good = '[8,0,"kept","peek","k"]';
        const [reply] = await send([[null, `${good}\n${line}\n${good}\n`]]);
        const [id, kind, value, badId, badKind, error, ...rest] = JSON.parse(reply);
        assert.deepEqual([id, kind, value], [8, 0, 'kept']);
        assert.deepEqual([badId, badKind], [7, 4]);
        assert.match(error[0], /Error$/);
        assert.ok(error[1].length > 5 && error[1].length < 500, error[1]);
        assert.deepEqual(rest, [8, 0, 'kept']);
      });
    }

    it('a line without an id is dropped, and its neighbours are answered', async () => {
      const good = (id) => `[${id},0,"kept","peek","k"]`;
      const bad = [
        '{}',
        '5',
        '"x"',
        'null',
        '[]',
        '["7"]',
        '[-1,0,"kept","peek","k"]',
        '[1.5,0,"kept","peek","k"]',
        'x',
        '[',
        '[8,',
      ];
      const batch = bad.map((line, at) => `${line}\n${good(at)}`).join('\n');
      const [reply] = await send([[null, batch]]);
      assert.deepEqual(
        JSON.parse(reply),
        bad.flatMap((_, at) => [at, 0, 'kept']),
      );
    });

    it('a million requests in one message: all answered', async () => {
      const count = 1_000_000;
      const replies = await primary.run(
        async ({ state }, source, total) => {
          state.replies.length = 0;
          await state.worker.run(
            async ({ state: theirs }, mark, number) => {
              process.send([mark, null, '[9,0,"kept","has","k"]\n'.repeat(number)]);
              // By reference: the primary is asked for it, through either transport.
              await theirs.cache.get('1');
            },
            source,
            total,
          );
          const answers = state.replies.slice(0, -1).map((reply) => JSON.parse(reply).length / 3);
          return answers.reduce((sum, answered) => sum + answered, 0);
        },
        SOURCE,
        count,
      );
      assert.equal(replies, count);
      await send([]);
    }).timeout(120_000);

    it('random bytes of good requests: no harm', async () => {
      const base =
        '[7,0,"kept","peek","k"]\n[8,1,"kept","mGet",["k",{"n":"NaN"},{"i":"5"}]]\n[9,0,"kept","dump"]';
      let seed = 12345;
      const random = (limit) => {
        seed = (seed * 1103515245 + 12345) % 2 ** 31;
        return seed % limit;
      };
      const bytes = '[]{}",:\\0123456789-+.eunltrfa \n\u0000\u00e9';
      const damaged = Array.from({ length: STRESS ? 20_000 : 2000 }, () => {
        const text = base.split('');
        for (let count = 1 + random(6); count > 0; count -= 1) {
          const at = random(text.length);
          if (random(3)) text[at] = bytes[random(bytes.length)];
          else text.splice(at, 1 + random(4));
        }
        return [null, text.join('')];
      });
      await send(damaged);
    });
  });
}

describe('what is too large for a message', () => {
  const { primary: startPrimary } = processes();

  /** A primary with a worker, and what calls of that worker end with, all made in one turn. */
  async function outcomes(prepare, calls, transport = 'ipc') {
    const primary = await startPrimary();
    const got = await primary.run(
      async (context, first, second, by) => {
        const { startWorker } = context.require('.');
        const cache = new context.Cache({ namespace: 'large' });
        await cache.set('k', 'kept');
        (0, eval)(first)(cache.getCache());
        const worker = await startWorker({ transport: by });
        const settled = await worker.run(async ({ Cache }, source) => {
          const options = { namespace: 'large', timeout: 120_000, failsafe: 'reject' };
          const theirs = await Cache.getInstance(options);
          const made = [theirs.get('k'), ...(0, eval)(source)(theirs), theirs.get('k')];
          const ended = await Promise.allSettled(made);
          return ended.map(({ value, reason }) => value ?? reason.name);
        }, second);
        return [...settled, await cache.get('k')];
      },
      String(prepare),
      String(calls),
      transport,
    );
    await primary.kill();
    return got;
  }

  const nothing = () => {};
  const error = ['kept', 'RangeError', 'kept', 'kept'];

  // Some of these take gigabytes, and seconds.
  const long = STRESS ? it : it.skip;

  it('fails its caller only: a value whose JSON is longer than a string can be', async () => {
    // Each character takes six.
    const calls = (cache) => [cache.set('k', '\u0001'.repeat(2 ** 29 / 6))];
    assert.deepEqual(await outcomes(nothing, calls), error);
  });

  if (TRANSPORTS.includes('shared-memory')) {
    it('needs no message with the shared memory', async () => {
      const calls = (cache) => {
        const large = '\u0001'.repeat(2 ** 29 / 6);
        const isSame = (value) => value === large;
        return [cache.set('large', large), cache.get('large').then(isSame)];
      };
      assert.deepEqual(await outcomes(nothing, calls, 'shared-memory'), [
        'kept',
        true,
        true,
        'kept',
        'kept',
      ]);
    });

    it('fails its caller only with the shared memory, where it is longer than a string can be', async () => {
      const calls = (cache) => [cache.set('k', { text: '\u0001'.repeat(2 ** 29 / 6) })];
      assert.deepEqual(await outcomes(nothing, calls, 'shared-memory'), error);
    });
  }

  long('fails its caller only: a value whose message is longer than a string can be', async () => {
    // Two characters in the request, and four in the message that carries it.
    const calls = (cache) => [cache.mSet({ k: '"'.repeat(140e6) })];
    assert.deepEqual(await outcomes(nothing, calls), error);
  });

  long('fails its caller only: a value of the primary that no string can hold', async () => {
    const prepare = (cache) => cache.set('large', 'x'.repeat(2 ** 29 - 24));
    assert.deepEqual(await outcomes(prepare, (cache) => [cache.get('large')]), error);
  });

  long('fails its caller only: an answer that no message can hold', async () => {
    const prepare = (cache) => cache.set('large', '"'.repeat(140e6));
    assert.deepEqual(await outcomes(prepare, (cache) => [cache.get('large')]), error);
  });

  long('fails its caller only: many values of the primary', async () => {
    const prepare = (cache) =>
      ['a', 'b', 'c'].forEach((key) => cache.set(key, 'x'.repeat(2 ** 28)));
    assert.deepEqual(await outcomes(prepare, (cache) => [cache.values()]), error);
  });

  long('fails its caller only: an answer with large keys', async () => {
    const prepare = (cache) => cache.set('\u0001'.repeat(2 ** 28 / 6), 1);
    assert.deepEqual(await outcomes(prepare, (cache) => [cache.keys()]), error);
  });
});
