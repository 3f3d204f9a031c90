'use strict';

/**
 * Random calls. A seed decides them all, so every process makes the same list by itself, values that no message
 * can carry included.
 *
 * A run is `{ seed, cluster, free, calls }`; a call is `{ actor, space, name, args, advance, joined }`:
 * - `actor`: 0 the primary, 1 and more the workers;
 * - `space`: which of the run's namespaces;
 * - `name`, `args`: a call of the API, or one of `compare.js`;
 * - `advance`: milliseconds that pass before it;
 * - `joined`: made together with the call before it, without waiting for that one.
 *
 * `cluster` says that there are workers. A `free` run is not for the original: it has calls, keys, values and options in
 * it that a worker of that one does not know, or that its primary would die of. When it is `shared`, both sides' caches
 * lie in shared memory: they count bytes alike.
 */

const { isAlone } = require('./mends');
const { Random } = require('./random');

const SPACES = 2;
const CALLS = 150;

/** When every run begins. */
const START = 1_700_000_000_000;

const STRINGS = [
  '',
  'a',
  'text',
  'null',
  'undefined',
  '0',
  '{"json":[1,"\\u0000"]}',
  '[1,2',
  'a "quoted" \\ back\nline\u2028\u2029\u0000',
  'naïve 日本 🚀',
  'lone \ud800 high',
  '\udc00',
  'x'.repeat(300),
];

const NUMBERS = [0, 1, -1, 2, 1.5, 0.1, 1e21, 1e-7, 2 ** 53, -(2 ** 31), 5e-324, 1e300, -0];

const KEYS = [
  ...['a', 'b', 'c', '', ' ', '1', '0', 'true', 'null', 'undefined', 'key:1', 'é', '🚀', '\ud83d'],
  ...['\ude80', '__proto__', 'constructor', 'length', 'k'.repeat(300), 'a\u0000b', '"'],
  ...[1, 0, -1, 2, 1.5, 1e21, 2 ** 53, true, false, null],
];

/** Keys that JSON has no form for. */
const PRIMARY_KEYS = [undefined, NaN, Infinity, -Infinity, 1n, 0n, -(2n ** 70n)];

/** What is no key: an error that names its type. */
const NO_KEYS = [{}, [], ['a'], new Date(0), () => 1, Symbol('key')];

/** What is no method of a cache. */
const UNKNOWN = ['borked', '', 'get ', 'toString', 'constructor', '__proto__', 'hasOwnProperty'];

const AGES = [10, 20, 30];
const ODD_AGES = [-5, 2.5];
/** Objects are none of them: calls take options in the place of an age, where 1.x rejects. */
const WRONG_AGES = [NaN, '', '5', 'x', true];

/** Options and settings that are odd, and those that are wrong: the primary of the original dies of them. */
const ODD_OPTIONS = [{ max: 2.5 }, { maxAge: -5 }, { maxAge: 2.5 }, { stale: 1 }, { stale: 'yes' }];
const WRONG_OPTIONS = [
  ...[{ max: -1 }, { max: 'x' }, { max: Infinity }, { max: '5' }],
  ...[{ maxAge: 'x' }, { maxAge: '5' }, { maxAge: Infinity }, { maxAge: {} }],
];
const ODD = { max: [null, 2.5], maxAge: [null, -5, 2.5], allowStale: [null, 1, 'x', {}] };
const WRONG = [-1, '5', 'x', true, {}];

const BYTES = [0, 50, 150, 250, 400, 600, 2000];

const STEPS = [1, 2, 9, 10, 11, 19, 20, 21, 30, 31, 100];

/** Values in the form of JSON, and what JSON makes something else of when it lies inside one. */
class Values {
  constructor(random) {
    this.random = random;
  }

  json(depth = 3) {
    const { random } = this;
    const kind = random.weighted({
      string: 4,
      number: 4,
      boolean: 1,
      null: 1,
      array: 2,
      object: 4,
    });
    switch (kind) {
      case 'string':
        return random.pick(STRINGS);
      case 'number':
        return random.pick(NUMBERS);
      case 'boolean':
        return random.chance(0.5);
      case 'null':
        return null;
      case 'array':
        return depth === 0 ? [] : random.some(4, () => this.inner(depth - 1));
      default:
        return depth === 0 ? {} : this.object(() => this.inner(depth - 1));
    }
  }

  object(make) {
    const { random } = this;
    const names = ['a', 'b', '1', '0', '', 'toString', '__proto__', 'é', '\ud800', 'n', '$'];
    const object = {};
    for (const name of random.sample(names, random.below(5))) {
      const value = make();
      Object.defineProperty(object, name, {
        value,
        configurable: true,
        enumerable: true,
        writable: true,
      });
    }
    return object;
  }

  inner(depth) {
    return this.random.chance(0.1) ? this.odd() : this.json(depth);
  }

  /** What JSON makes something else of. */
  odd() {
    const { random } = this;
    return random.pick([
      () => new Date(random.below(2) * 1e12),
      () => new Date(NaN),
      () => new Map([[1, 2]]),
      () => new Set([1]),
      () => /expression/g,
      () => new Error('an error'),
      () => Buffer.from('bytes'),
      () => new Uint8Array([1, 2]),
      () => [Object(5), Object('boxed')],
      () => ({ toJSON: () => ({ is: 'json' }) }),
      () => Object.assign(Object.create(null), { without: 'prototype' }),
      () =>
        new (class Instance {
          field = [1];
          method() {}
        })(),
      () => ({ undefined, function() {}, [Symbol('s')]: 1, number: NaN }),
      () => [undefined, () => 1, Symbol('s'), Infinity],
      // oxlint-disable-next-line no-sparse-arrays -- holes are what is tried here
      () => [, 1, ,],
    ])();
  }

  /** What JSON has no form for at all. */
  unwritable() {
    const circular = {};
    circular.self = circular;
    return this.random.pick([
      circular,
      10n,
      { nested: [1n] },
      {
        toJSON() {
          throw new RangeError('no JSON');
        },
      },
    ]);
  }
}

/** Makes the calls of one run. */
class Generator {
  constructor(seed, { workers = 0, free = false }) {
    this.random = new Random(seed);
    this.workers = workers;
    this.free = free;
    /** Whether it is only what a cluster of the original can do. */
    this.cluster = workers > 0 && !free;
    this.now = START;
    this.values = new Values(this.random);
    const { random } = this;
    /** Whether values that JSON made null or nothing of are among them. */
    this.loose = random.chance(0.2);
    this.keys = random.sample(KEYS, 3 + random.below(6));
    /** Calls that change a setting are rare in one run and frequent in another. */
    this.settings = random.pick([0, 0.3, 1]);
    this.bulk = random.pick([0.2, 1]);
    this.rare = random.pick([0, 1]);
    this.odd = random.chance(0.3);
    this.shared = free && random.chance(0.5);
    // For a worker these two are one key.
    if (free && random.chance(0.2)) this.keys.push(undefined, null);
  }

  /** A run. */
  run(seed) {
    const { random, workers, free } = this;
    const calls = [];
    const actors = workers + 1;
    const opener = random.below(actors);
    for (let space = 0; space < SPACES; space += 1) {
      for (let turn = 0; turn < actors; turn += 1) {
        const actor = (opener + turn) % actors;
        const options = turn === 0 ? this.options() : {};
        calls.push({ actor, space, name: 'open', args: [options], advance: 0, joined: false });
      }
    }
    let last = { alone: true };
    while (calls.length < CALLS) {
      const alike = last.actor !== undefined && random.chance(0.6);
      const actor = alike ? last.actor : random.below(actors);
      const space = random.chance(0.85) ? 0 : 1;
      const [name, args] = this.call(actor);
      const call = { actor, space, name, args, advance: 0, joined: false };
      call.alone = isAlone(call, free);
      call.joined = !call.alone && !last.alone && last.actor === actor && random.chance(0.4);
      if (!call.joined && random.chance(0.3)) {
        call.advance = random.chance(0.03) ? -random.pick(STEPS) : random.pick(STEPS);
        this.now += call.advance;
      }
      calls.push(call);
      last = call;
    }
    const { loose, shared } = this;
    return { seed, cluster: workers > 0, free, shared, loose, calls };
  }

  /** A call of an actor: name and arguments. */
  call(actor) {
    const { random, workers, settings, bulk, rare } = this;
    const primary = actor === 0;
    const name = random.weighted({
      set: 20,
      get: 14,
      peek: 6,
      has: 6,
      del: 4,
      mSet: 5 * bulk,
      mGet: 5 * bulk,
      mDel: 2 * bulk,
      setObject: 4,
      getObject: 4,
      mSetObjects: 2 * bulk,
      mGetObjects: this.loose ? 0 : 2 * bulk,
      incr: 5,
      decr: 3,
      reset: 0.3,
      keys: 2,
      values: 2,
      dump: 2,
      prune: 2,
      length: 1,
      itemCount: 1,
      max: 2 * settings,
      maxAge: 2 * settings,
      allowStale: 1.5 * settings,
      stale: 0.5 * settings,
      open: 2 * settings,
      execute: 8,
      forEach: primary ? 2 : 0,
      rforEach: primary ? 2 : 0,
      reload: 0.5,
      sync: primary ? 5 : 0,
      noKey: 0.3 * rare,
      unwritable: workers > 0 ? 0.5 * rare : 0,
      maxSize: this.shared ? 2 * settings : 0,
    });
    switch (name) {
      case 'execute': {
        if (random.chance(0.05 * rare)) return [name, [random.pick(UNKNOWN), 1]];
        const [method, args] = random.chance(0.2) ? this.promised(actor) : this.method(actor);
        return [name, [method, ...args]];
      }
      case 'sync': {
        const [method, args] = this.method(actor);
        return [name, [method, ...args]];
      }
      case 'noKey': {
        const key = random.pick(NO_KEYS);
        return random.pick([
          ['get', [key]],
          ['set', [key, 1]],
          ['peek', [key]],
          ['has', [key]],
          ['del', [key]],
          ['incr', [key]],
          ['mGet', [['a', key]]],
          ['mDel', [['a', key]]],
        ]);
      }
      case 'unwritable': {
        // With a key of its own: the original's primary dies of an mGet that it cannot answer.
        const key = 'unwritable';
        if (primary) return ['set', [key, this.values.unwritable()]];
        return [random.pick(['get', 'peek', 'has', 'del', 'getObject', 'incr']), [key]];
      }
      default:
        return [name, this.args(name, actor)];
    }
  }

  /** A call of the class that \`execute\` reaches too: name and arguments. */
  promised(actor) {
    const { random, settings } = this;
    const name = random.weighted({
      mGet: 1,
      mSet: 1,
      mDel: 1,
      incr: 1,
      decr: 1,
      length: 1,
      itemCount: 1,
      max: settings,
      maxAge: settings,
      allowStale: settings,
      stale: settings,
    });
    return [name, this.args(name, actor)];
  }

  /** A method that both `execute` and the synchronous class reach: name and arguments. */
  method(actor) {
    const name = this.random.weighted({
      pop: 4,
      set: 4,
      get: 3,
      peek: 2,
      has: 2,
      del: 1,
      load: 1,
      dump: 1,
      keys: 1,
      values: 1,
      prune: 1,
      reset: 0.1,
    });
    return [name, this.args(name, actor)];
  }

  args(name, actor) {
    const { random } = this;
    switch (name) {
      case 'set':
      case 'setObject': {
        const value = name === 'set' ? this.value(actor) : this.values.json();
        return [this.key(actor), value, ...this.age(actor)];
      }
      case 'get':
      case 'peek':
      case 'has':
      case 'del':
      case 'getObject':
        return [random.chance(0.02) ? -0 : this.key(actor)];
      case 'incr':
      case 'decr':
        if (this.free && random.chance(0.4)) {
          return [this.key(actor), this.amount(), ...this.age(actor)];
        }
        return random.chance(0.5) ? [this.key(actor)] : [this.key(actor), this.amount()];
      case 'mSet':
        return [this.pairs(() => this.value(actor, true)), ...this.age(actor, true)];
      case 'mSetObjects':
        return [this.pairs(() => this.values.json()), ...this.age(actor, true)];
      case 'mGet':
      case 'mDel':
      case 'mGetObjects':
        return [
          random.chance(0.05) ? random.pick([null, undefined, 'a', 5, {}]) : this.list(actor),
        ];
      case 'max':
        if (this.odd && random.chance(0.3)) return [random.pick(this.oddSettings(name, actor))];
        return random.chance(0.3) ? [] : [random.pick([0, 1, 2, 3, 4, 6, 8])];
      case 'maxAge':
        if (this.odd && random.chance(0.3)) return [random.pick(this.oddSettings(name, actor))];
        return random.chance(0.3) ? [] : [random.pick([0, ...AGES])];
      case 'maxSize':
        return random.chance(0.3) ? [] : [random.pick([...BYTES, ...(this.odd ? WRONG : [])])];
      case 'allowStale':
      case 'stale':
        if (this.odd && random.chance(0.3)) return [random.pick(ODD.allowStale)];
        return random.chance(0.3) ? [] : [random.chance(0.5)];
      case 'open':
        if (this.odd && random.chance(0.3)) {
          return [random.pick(this.may(actor) ? [...ODD_OPTIONS, ...WRONG_OPTIONS] : ODD_OPTIONS)];
        }
        return [this.options()];
      case 'load':
        return [this.dump(actor)];
      case 'forEach':
      case 'rforEach':
        return [random.chance(0.3)];
      default:
        return [];
    }
  }

  key(actor) {
    const { random, cluster } = this;
    if (!cluster && random.chance(0.05)) return random.pick(PRIMARY_KEYS);
    if (actor > 0 && random.chance(0.02)) return undefined;
    return random.pick(this.keys);
  }

  /** A key within a list. From a worker of the original `undefined` is another one there. */
  listed(actor) {
    const key = this.key(actor);
    return this.free ? key : (key ?? null);
  }

  list(actor) {
    const keys = this.random.some(5, () => this.listed(actor));
    if (!this.loose) return keys;
    // The original does not tell a miss from undefined, which matters for two keys of one name.
    return keys.filter(
      (key, at) => keys.findIndex((other) => String(other) === String(key)) === at,
    );
  }

  pairs(make) {
    const { random } = this;
    if (random.chance(0.05))
      return random.pick([null, undefined, 'text', 5, ['in an array'], true]);
    const pairs = {};
    for (const key of random.sample(this.keys, random.below(4))) {
      Object.defineProperty(pairs, String(key), {
        value: make(),
        configurable: true,
        enumerable: true,
        writable: true,
      });
    }
    return pairs;
  }

  value(actor, inPairs) {
    const { random, cluster } = this;
    const loose = this.loose && !(cluster && actor > 0 && inPairs);
    if (random.chance(0.1)) return this.values.odd();
    if (random.chance(0.03) && !(cluster && actor === 0)) return this.values.unwritable();
    if (random.chance(0.1) && loose) {
      return cluster
        ? random.pick([undefined, () => 1, Symbol('s')])
        : random.pick([undefined, NaN, Infinity, () => 1, Symbol('s')]);
    }
    return this.values.json();
  }

  /** The argument `maxAge`, given or not; `bulk`: it is for several values. */
  age(actor, bulk = false) {
    const { random, odd } = this;
    if (odd && random.chance(0.1)) {
      // Wrong for several values, it makes the original's primary die.
      const ages = bulk && !this.free ? ODD_AGES : [...ODD_AGES, ...WRONG_AGES];
      // From a worker of the original, Infinity is no age: JSON has no form for it.
      return [random.pick(this.may(actor) ? [...ages, Infinity] : ages)];
    }
    return random.chance(0.6) ? [] : [random.pick([0, undefined, null, 1, ...AGES])];
  }

  oddSettings(name, actor) {
    return this.may(actor) ? [...ODD[name], ...WRONG] : ODD[name];
  }

  /** Whether it may do what the original can do in its primary alone. */
  may(actor) {
    return this.free || actor === 0;
  }

  amount() {
    return this.random.pick([0, 1, 2, -1, 10, 0.5, -0.1, undefined, null]);
  }

  options() {
    const { random } = this;
    const options = {};
    if (random.chance(0.6)) options.max = random.pick([0, 1, 2, 3, 4, 6]);
    if (random.chance(0.5)) options.maxAge = random.pick([0, ...AGES]);
    if (random.chance(0.4)) options.stale = random.chance(0.7);
    if (random.chance(0.2)) {
      options.stringify = (value) => `~${JSON.stringify(value)}`;
      options.parse = (text) => JSON.parse(text.slice(1));
    }
    if (this.free) {
      if (this.shared && random.chance(0.3)) options.maxSize = random.pick(BYTES);
      if (this.shared && random.chance(0.3)) options.maxEntrySize = random.pick(BYTES);
      if (random.chance(0.5)) options.serialization = random.pick(['json', 'advanced']);
    }
    return options;
  }

  /** What `dump()` might give, though that has no key twice. */
  dump(actor) {
    return this.random.some(6, () => this.dumped(this.listed(actor), actor));
  }

  dumped(k, actor) {
    const { random } = this;
    const e = random.pick([
      0,
      undefined,
      this.now - 1,
      this.now,
      ...AGES.map((age) => this.now + age),
    ]);
    return { k, v: this.value(actor), e };
  }
}

/** The run of a seed, of so many workers. */
function generate(seed, options) {
  return new Generator(seed, options).run(seed);
}

module.exports = { generate, CALLS, START };
