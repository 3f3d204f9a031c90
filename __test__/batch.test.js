'use strict';

const assert = require('node:assert');
const { Batch, Call } = require('../lib/transport/call');

describe('a batch', () => {
  const client = { runner: {} };
  const command = { name: 'open' };
  /** As `Channel` makes a call that somebody waits for, and a request that nobody waits for. */
  const awaited = () =>
    new Call(
      client,
      command,
      ',request]',
      '',
      () => {},
      () => {},
    );
  const unawaited = () => new Call(client, command, ',request]');

  function sent(...calls) {
    const batch = new Batch(calls, 1);
    for (const call of calls) {
      call.batch = batch;
      if (call.isAwaited) batch.awaited += 1;
    }
    return batch;
  }

  it('keeps a call that waits while a request that nobody waits for is sent again', () => {
    const [request, call] = [unawaited(), awaited()];
    const batch = sent(request, call);
    assert.strictEqual(batch.take(1), request);
    batch.release(request);
    assert.strictEqual(batch.take(2), call);
  });

  it('keeps nothing when all calls that waited have ended or are sent again', () => {
    const [request, call] = [unawaited(), awaited()];
    const batch = sent(request, call);
    batch.release(batch.take(2));
    assert.strictEqual(batch.take(1), undefined);
    assert.strictEqual(call.batch, undefined);
  });
});
