'use strict';

const assert = require('node:assert/strict');
const { InFlight } = require('../lib/transport/in-flight');
const { passes } = require('../lib/errors');

describe('calls that are in flight as messages', () => {
  it('hold up calls on their keys, and on all keys', () => {
    const calls = new InFlight();
    assert.equal(calls.blocks(undefined), false);
    calls.begin(['a', 1, NaN]);
    for (const keys of [['a'], ['b', 1], [NaN], undefined]) assert.equal(calls.blocks(keys), true);
    for (const keys of [['b'], ['1'], [null], []]) assert.equal(calls.blocks(keys), false);
    calls.begin(undefined);
    for (const keys of [['b'], [], undefined]) assert.equal(calls.blocks(keys), true);
  });

  it('do so until they are answered, each for itself', () => {
    const calls = new InFlight();
    const [first, second, all] = [['a'], ['a', 'b'], undefined].map((keys) => calls.begin(keys));
    calls.sent(first, 1);
    calls.sent(second, 2);
    calls.answered(2);
    assert.equal(calls.size, 1, 'one is not sent yet');
    calls.drop(all);
    calls.drop(all);
    assert.equal(calls.size, 0);
    assert.equal(calls.blocks(['a', 'b']), false);

    const again = calls.begin(['a']);
    calls.begin(['a']);
    calls.drop(again);
    assert.equal(calls.blocks(['a']), true, 'the other is still in flight');
    calls.answered(1000);
    assert.equal(calls.blocks(['a']), true, 'it is not sent yet');
    calls.answered(Infinity);
    assert.equal(calls.blocks(['a']), false, 'none will be answered any more');
  });
});

describe('a failure to get a store', () => {
  it('passes where something is lacking at the moment', () => {
    for (const code of ['ERR_STORE_BUSY', 'ERR_STORE_UNAVAILABLE', 'ERR_OUT_OF_MEMORY'])
      assert.equal(passes(code), true);
    for (const code of ['ERR_STORE_PEERS', 'ERR_STORE_MEMORY', 'ERR_STORE_ATTACH', '', undefined])
      assert.equal(passes(code), false);
  });
});
