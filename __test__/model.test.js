'use strict';

// Random programs of the calls beyond 1.x, on the cache and on a plain model of it (helpers/model.js): same calls, same results.
// In one process, and in a primary and two workers by each transport, which take turns.
//   MODEL_SEED=N npx mocha --no-config --timeout 60000 __test__/model.test.js     begins with this seed
//   MODEL_RUNS=N …                                                                makes so many programs

const assert = require('node:assert/strict');
const Cache = require('..');
const { Random } = require('./differential/random');
const { Model } = require('./helpers/model');
const { STRESS, TRANSPORTS, fakeClock, processes, unique } = require('./helpers');

const FIRST = Number(process.env.MODEL_SEED ?? 1);
const RUNS = Number(process.env.MODEL_RUNS ?? (STRESS ? 1000 : 60));
const CALLS = 80;

const KEYS = ['a:1', 'a:2', 'a:3', 'a', 'b:1', 'b:2', '1', 1, 2.5, null, true];
const TAGS = ['red', 'green', 'blue'];
const AGES = [5, 20, 100, 1000];

/** How often which call is made. */
const WEIGHTS = {
  set: 8,
  get: 6,
  peek: 2,
  has: 2,
  setIfAbsent: 5,
  getEntry: 6,
  compareAndSet: 6,
  compareAndDelete: 3,
  update: 4,
  getAndDelete: 3,
  touch: 5,
  getRemainingTTL: 4,
  incr: 4,
  hit: 8,
  getMany: 3,
  hasMany: 2,
  deleteMany: 1,
  setMany: 3,
  deletePrefix: 1,
  scan: 3,
  entries: 2,
  keys: 2,
  invalidateTags: 3,
};

/** Draws the calls of one program. */
class Program {
  constructor(seed) {
    this.random = new Random(seed);
    const { random } = this;
    this.seed = seed;
    /** A limit, or ages and tags: see `Model`. */
    this.bounded = random.chance(0.3);
    const maxAge = !this.bounded && random.chance(0.5) ? { maxAge: random.pick(AGES) } : {};
    this.limits = this.bounded ? { max: 1 + random.below(8) } : maxAge;
    const reads = random.pick([{}, { near: false }, { freeze: true }]);
    this.options = { ...this.limits, ...reads };
    /** Versions that were given: by the cache and by the model. */
    this.versions = [[0, 0]];
  }

  key = () => this.random.pick(KEYS);

  /** A key that is counted often. */
  counter = () => this.random.pick(KEYS.slice(0, 3));

  keys = () => this.random.some(5, this.key);

  value = () =>
    this.random.pick([
      this.random.below(9),
      `text ${this.random.below(9)}`,
      { n: [this.random.below(9), null] },
      'long '.repeat(this.random.below(400)),
      null,
      false,
    ]);

  tags() {
    const tags = this.random.sample(TAGS, 1 + this.random.below(2));
    return tags.length === 1 && this.random.chance(0.5) ? tags[0] : tags;
  }

  /** The last arguments of a call that takes an age or options; `tagged`: tags too. */
  terms(tagged = true) {
    const { random } = this;
    if (this.bounded || random.chance(0.3)) return [];
    if (random.chance(0.2)) return [random.pick(AGES)];
    const given = {};
    if (random.chance(0.6)) given[random.pick(['maxAge', 'ttl'])] = random.pick(AGES);
    if (random.chance(0.3)) given.noUpdateTTL = random.chance(0.8);
    if (tagged && random.chance(0.5)) given.tags = this.tags();
    return [given];
  }

  hitOptions() {
    const { random } = this;
    const given = {};
    if (random.chance(0.5)) given.amount = random.pick([-3, -1, 2, 3]);
    if (random.chance(0.3)) given.ifPresent = true;
    if (random.chance(0.4)) {
      given.limit = random.below(4);
      given.whenOver = random.pick(['restart', 'double', ...(this.bounded ? [] : AGES)]);
    }
    return given;
  }

  prefix = () => this.random.pick(['a:', 'a', 'b:', '1', 'none']);

  selection() {
    return { prefix: this.random.pick([this.prefix(), this.prefix(), '', undefined]) };
  }

  /** The arguments of a call, without the version. */
  argumentsOf(name) {
    const { random } = this;
    switch (name) {
      case 'set':
      case 'setIfAbsent':
      case 'compareAndSet':
      case 'update':
        return [this.key(), this.value(), ...this.terms()];
      case 'touch':
        return [this.key(), ...this.terms(false)];
      case 'incr':
        return [this.counter(), 1 + random.below(3), ...this.terms()];
      case 'hit':
        return [this.counter(), this.bounded ? Infinity : random.pick(AGES), this.hitOptions()];
      case 'getMany':
      case 'hasMany':
      case 'deleteMany':
        return [this.keys()];
      case 'setMany':
        return [this.keys().map((key) => [key, this.value(), ...this.terms()]), ...this.terms()];
      case 'deletePrefix':
        return [this.prefix()];
      case 'scan':
        return [{ ...this.selection(), count: 1 + random.below(6) }];
      case 'entries':
        return [this.selection()];
      case 'keys':
        return [this.selection()];
      case 'invalidateTags':
        return [this.tags()];
      default:
        return [this.key()];
    }
  }

  call() {
    const { random } = this;
    const name = random.weighted(WEIGHTS);
    const args = this.argumentsOf(name);
    const [real, model] = random.pick([this.versions[0], ...this.versions.slice(-6)]);
    const isVersioned = name.startsWith('compareAnd');
    const road = random.pick(['call', 'call', 'execute']);
    return {
      name,
      advance: random.chance(0.3) ? random.pick([1, 5, 20, 200]) : 0,
      road: ['update', 'scan'].includes(name) ? 'call' : road,
      /** Whether the function of `update` gives a value. */
      gives: random.chance(0.8),
      args: isVersioned ? [args[0], real, ...args.slice(1)] : args,
      modelArgs: isVersioned ? [args[0], model, ...args.slice(1)] : args,
    };
  }
}

/** Makes a call, in the process of the cache; it uses nothing from around it, as it is sent there. */
async function make({ Cache: Class, state }, options, { name, road, gives, args }) {
  state.model ??= {};
  const cache = (state.model[options.namespace] ??= await Class.getInstance(options));
  if (name === 'update') {
    const [key, value, ...terms] = args;
    const change = (current) => (gives ? [value, current ?? null] : undefined);
    return cache.update(key, change, ...terms);
  }
  if (name !== 'scan')
    return road === 'execute' ? cache.execute(name, ...args) : cache[name](...args);
  const keys = [];
  let cursor;
  do {
    const part = await cache.scan({ ...args[0], cursor });
    keys.push(...part.keys);
    cursor = part.cursor;
  } while (cursor !== undefined);
  return keys;
}

/** What the model says. */
function expected(model, { name, gives, modelArgs }) {
  if (name === 'scan') return model.keys(modelArgs[0]);
  if (name !== 'update') return model[name](...modelArgs);
  const [key, value, ...terms] = modelArgs;
  return model.update(key, (current) => (gives ? [value, current ?? null] : undefined), ...terms);
}

const byText = (a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);

/** A result in the form in which the cache and the model are the same. */
function plain(name, result) {
  if (name === 'scan') return [...new Set(result)].sort(byText);
  if (name !== 'getEntry' || !result) return result;
  const { version, tags, ...rest } = result;
  return { ...rest, tags: [...tags].sort(), versioned: version > 0 };
}

/**
 * @param {object} clock
 * @param {() => Array<{ run: Function }>} processesOf those that take turns
 */
async function runProgram(seed, clock, processesOf) {
  const program = new Program(seed);
  const options = {
    namespace: unique('model'),
    timeout: 20_000,
    failsafe: 'reject',
    ...program.options,
  };
  const model = new Model(program.limits, () => clock.now);
  const done = [];
  for (let made = 0; made < CALLS; made += 1) {
    const actors = processesOf();
    const actor = program.random.below(actors.length);
    const call = program.call();
    if (call.advance > 0) await clock.tick(call.advance);
    const said = call.road === 'execute' ? 'execute ' : '';
    const given = JSON.stringify(call.args).slice(1, -1);
    done.push(`${call.advance} ms later, process ${actor}: ${said}${call.name}(${given})`);
    const wanted = expected(model, call);
    const check = (what, got, want) =>
      assert.deepEqual(
        got,
        want,
        `seed ${seed}, ${JSON.stringify(program.options)}, ${what} after\n  ${done.slice(-25).join('\n  ')}\n` +
          `gave ${JSON.stringify(got)}, the model ${JSON.stringify(want)}`,
      );
    const got = await actors[actor].run(make, options, call);
    check(call.name, plain(call.name, got), plain(call.name, wanted));
    if (call.name === 'getEntry' && got) program.versions.push([got.version, wanted.version]);
    if (made % 8 !== 0 && made !== CALLS - 1) continue;
    const look = (name, ...args) => actors[actor].run(make, options, { name, args });
    check('the entries', await look('entries'), model.entries());
    if (program.bounded) check('the length', await look('length'), model.keys().length);
    for (const key of model.keys()) {
      check('an age', await look('getRemainingTTL', key), model.getRemainingTTL(key));
    }
  }
  // The next program has a namespace of its own.
  await processesOf()[0].run(make, options, { name: 'destroy', args: [] });
}

describe('random programs of the calls beyond 1.x do what the model does', () => {
  const context = { Cache, state: {} };
  const here = { run: (fn, ...args) => fn(context, ...args) };

  function programs(clock, processesOf) {
    for (let from = 0; from < RUNS; from += 20) {
      const first = FIRST + from;
      const count = Math.min(20, RUNS - from);
      it(`seeds ${first} to ${first + count - 1}`, async () => {
        for (let seed = first; seed < first + count; seed += 1) {
          await runProgram(seed, clock, processesOf);
        }
      });
    }
  }

  describe('in a process without workers', () => {
    const clock = fakeClock();
    programs(clock, () => [here]);
  });

  for (const transport of TRANSPORTS) {
    describe(`in a primary and two workers, transport: ${transport}`, () => {
      const { worker: start } = processes();
      let workers = [];
      before(async () => {
        workers = await Promise.all([start({ transport }), start({ transport })]);
      });
      const clock = fakeClock(() => workers);
      programs(clock, () => [here, ...workers]);
    });
  }
});
