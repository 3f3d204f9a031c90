'use strict';

// Errors of loaders on their way to other processes.

const assert = require('node:assert/strict');
const vm = require('node:vm');
const { decodeError, encodeError } = require('../../lib/fetch/errors');

const carried = (thrown) => decodeError(encodeError(thrown));

describe('errors of loaders', () => {
  for (const Class of [
    Error,
    TypeError,
    RangeError,
    SyntaxError,
    ReferenceError,
    EvalError,
    URIError,
  ]) {
    it(`${Class.name} stays one`, () => {
      const error = carried(Object.assign(new Class('why'), { code: 'E_CODE' }));
      assert.equal(Object.getPrototypeOf(error), Class.prototype);
      assert.deepEqual([error.name, error.message, error.code], [Class.name, 'why', 'E_CODE']);
      assert.deepEqual(Object.keys(error), ['code']);
      assert.ok(error.stack.includes('why'));
    });
  }

  it('a DOMException stays one', () => {
    const error = carried(new DOMException('gave up', 'AbortError'));
    assert.ok(error instanceof DOMException);
    assert.deepEqual([error.name, error.message, error.code], ['AbortError', 'gave up', 20]);
  });

  it('what AbortSignal.timeout rejects with stays what it is', async () => {
    const signal = AbortSignal.timeout(1);
    const reason = await new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(signal.reason));
    });
    assert.equal(carried(reason).name, 'TimeoutError');
    assert.ok(carried(reason) instanceof DOMException);
  });

  it('an AbortError of Node.js keeps its name and its code', async () => {
    const { setTimeout: sleep } = require('node:timers/promises');
    const thrown = await sleep(1, 0, { signal: AbortSignal.abort() }).catch((error) => error);
    const error = carried(thrown);
    assert.deepEqual([error.name, error.code], ['AbortError', 'ABORT_ERR']);
    assert.ok(error.cause instanceof DOMException);
  });

  it('a class of the application becomes the nearest one, with its name', () => {
    class NotFound extends RangeError {
      name = 'NotFound';
    }
    const error = carried(new NotFound('no row'));
    assert.ok(error instanceof RangeError);
    assert.deepEqual([error.name, error.message], ['NotFound', 'no row']);
  });

  it('an AggregateError keeps its errors', () => {
    const error = carried(new AggregateError([new TypeError('a'), 'b'], 'both'));
    assert.ok(error instanceof AggregateError);
    assert.equal(error.message, 'both');
    assert.ok(error.errors[0] instanceof TypeError);
    assert.equal(error.errors[1], 'b');
  });

  it('causes are carried, to a depth', () => {
    let thrown = new Error('0');
    for (let depth = 1; depth < 20; depth += 1) thrown = new Error(`${depth}`, { cause: thrown });
    let error = carried(thrown);
    let depth = 0;
    for (; error !== undefined; error = error.cause) depth += 1;
    assert.equal(depth, 9);
  });

  it('a cause that is no error is carried as JSON', () => {
    assert.deepEqual(carried(new Error('a', { cause: { status: 503 } })).cause, { status: 503 });
    assert.equal(Object.hasOwn(carried(new Error('a')), 'cause'), false);
  });

  it('a circle of causes ends', () => {
    const error = new Error('a');
    error.cause = error;
    assert.equal(carried(error).cause.message, 'a');
  });

  it('what is thrown and is no error arrives as JSON makes it', () => {
    for (const thrown of ['text', 5, null, undefined, { status: 503 }, [1]]) {
      assert.deepEqual(carried(thrown), thrown);
    }
    assert.equal(carried(Symbol('none')), undefined);
    assert.equal(carried(1n), undefined);
  });

  it('an error of another context is one of this', () => {
    const error = carried(vm.runInNewContext('new TypeError("elsewhere")'));
    assert.ok(error instanceof TypeError);
    assert.equal(error.message, 'elsewhere');
  });

  it('getters that throw are no harm', () => {
    const thrown = Object.defineProperty(new Error('a'), 'code', {
      get() {
        throw new Error('in the getter');
      },
    });
    assert.ok(carried(thrown) instanceof Error);
  });

  it('any text gives an error or a value, and never throws', () => {
    for (const text of ['', '{', 'null', '5', '[]', '{"type":5}', '{"type":"__proto__"}']) {
      assert.doesNotThrow(() => decodeError(text));
    }
    assert.ok(decodeError('{"type":"constructor","message":"m"}') instanceof Error);
    assert.ok(decodeError('{"type":"AggregateError","errors":5}') instanceof AggregateError);
  });
});
