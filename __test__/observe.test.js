'use strict';

// What observes a cache: channels of node:diagnostics_channel, metrics for Prometheus and OpenTelemetry.

const assert = require('node:assert/strict');
const diagnostics = require('node:diagnostics_channel');
const prom = require('prom-client');
const { MeterProvider, MetricReader } = require('@opentelemetry/sdk-metrics');
const Cache = require('..');
const prometheus = require('lru-cache-for-clusters-as-promised/prometheus');
const opentelemetry = require('lru-cache-for-clusters-as-promised/opentelemetry');
const { INSTRUMENTS, prometheusName } = require('../lib/observe/instruments');
const { describeShared, processes, unique } = require('./helpers');

const NAMES = ['get', 'set', 'delete', 'evict'];
const channelOf = (name) => diagnostics.channel(`lru-cache-for-clusters-as-promised:${name}`);

/** Makes calls and gives what the channels said of them, without what varies. */
async function heard(cache, calls, names = NAMES) {
  const messages = [];
  const listeners = names.map((name) => {
    const listener = ({ namespace, duration, ...message }, from) => {
      assert.equal(from, `lru-cache-for-clusters-as-promised:${name}`);
      assert.equal(namespace, cache.namespace);
      if (name !== 'evict') assert.ok(duration >= 0);
      messages.push([name, message]);
    };
    channelOf(name).subscribe(listener);
    return [name, listener];
  });
  try {
    await calls(cache);
  } finally {
    for (const [name, listener] of listeners) channelOf(name).unsubscribe(listener);
  }
  return messages;
}

/** Calls that each channel says something of. */
async function calls(cache) {
  await cache.set('a', 1);
  assert.equal(await cache.get('a'), 1);
  assert.equal(await cache.get('none'), undefined);
  assert.deepEqual(await cache.mGet(['a', 'none']), { a: 1 });
  assert.equal(await cache.mSet(new Map([['b', 1]])), true);
  assert.equal(await cache.incr('c'), 1);
  await cache.mDel(['b', 'none']);
  await cache.del('c');
  await cache.max(1);
  await cache.set('d', 1);
  await cache.reset();
  await cache.peek('a');
}

const MESSAGES = [
  ['set', { key: 'a', stored: true }],
  ['get', { key: 'a', hit: true }],
  ['get', { key: 'none', hit: false }],
  ['get', { key: 'a', hit: true }],
  ['get', { key: 'none', hit: false }],
  ['set', { key: 'b', stored: true }],
  ['set', { key: 'c', stored: true }],
  ['delete', { key: 'b' }],
  ['delete', { key: 'none' }],
  ['delete', { key: 'c' }],
  ['set', { key: 'd', stored: true }],
  ['evict', { count: 1 }],
  ['delete', {}],
];

describe('diagnostics channels', () => {
  it('say what the calls of this process did', async () => {
    const cache = new Cache({ namespace: unique('channels') });
    assert.deepEqual(await heard(cache, calls), MESSAGES);
    assert.deepEqual(
      await heard(cache, calls, ['get']),
      MESSAGES.filter(([name]) => name === 'get'),
    );
  });

  it('say what calls beyond 1.x did', async () => {
    const cache = new Cache({ namespace: unique('channels'), max: 3 });
    const messages = await heard(cache, async () => {
      await cache.setIfAbsent('a', 1);
      await cache.setIfAbsent('a', 2);
      const { version } = await cache.getEntry('a');
      await cache.getEntry('none');
      await cache.compareAndSet('a', version, 3);
      await cache.compareAndSet('a', version, 4);
      await cache.compareAndDelete('a', version);
      await cache.update('a', (value) => value + 1);
      await cache.setMany([
        ['b', 1],
        ['c', 1],
        ['d', 1],
      ]);
      await cache.getMany(['a', 'b']);
      await cache.hit('h', 1000);
      await cache.getAndDelete('h');
      await cache.deleteMany(['c', 'none']);
      await cache.deletePrefix('x:');
      await cache.invalidateTags(['x', 'y']);
      // These read, store and remove nothing.
      await cache.hasMany(['d']);
      await cache.scan();
      await cache.entries();
      await cache.keys({ prefix: 'd' });
      await cache.touch('d');
      await cache.getRemainingTTL('d');
      await cache.healthCheck();
    });
    const [get, set] = [
      (key, hit) => ['get', { key, hit }],
      (key, stored) => ['set', { key, stored }],
    ];
    const removed = (key) => ['delete', { key }];
    assert.deepEqual(messages, [
      ...[set('a', true), set('a', false)],
      ...[get('a', true), get('none', false)],
      ...[set('a', true), set('a', false)],
      ...[get('a', true), set('a', true)],
      ...[set('b', true), set('c', true), set('d', true), ['evict', { count: 1 }]],
      ...[get('a', false), get('b', true)],
      ...[set('h', true), ['evict', { count: 1 }], removed('h')],
      ...[
        removed('c'),
        removed('none'),
        ['delete', { prefix: 'x:' }],
        ['delete', { tags: ['x', 'y'] }],
      ],
    ]);
  });

  it('see reads that were near reads before', async () => {
    const cache = new Cache({ namespace: unique('channels') });
    await cache.setObject('k', { a: 1 });
    const reads = async () => {
      assert.deepEqual(await cache.getObject('k'), { a: 1 });
      assert.deepEqual(await cache.mGetObjects(['k']), { k: { a: 1 } });
    };
    await reads();
    await reads();
    const hit = ['get', { key: 'k', hit: true }];
    assert.deepEqual(await heard(cache, reads, ['get']), [hit, hit]);
  });

  it('count evictions of observed calls alone', async () => {
    const cache = new Cache({ namespace: unique('channels'), max: 2 });
    for (let key = 0; key < 5; key += 1) await cache.set(key, key);
    const evict = await heard(cache, () => cache.mSet({ x: 1, y: 1, z: 1 }), ['evict']);
    assert.deepEqual(evict, [['evict', { count: 3 }]]);
    assert.deepEqual(await heard(cache, () => cache.set('z', 2), ['evict']), []);
  });

  it('say why a call failed, and the call fails as ever', async () => {
    const cache = new Cache({ namespace: unique('channels') });
    let thrown;
    const [[name, { error, key }]] = await heard(cache, () =>
      cache.set('k', 1, 'no age').catch((reason) => {
        thrown = reason;
      }),
    );
    assert.deepEqual([name, key, error], ['set', 'k', thrown]);
    assert.equal(thrown.name, 'TypeError');
    assert.deepEqual(await heard(cache, () => cache.mGet('no list')), []);
  });
});

describeShared('diagnostics channels of a worker', () => {
  const { worker: start } = processes();

  for (const transport of ['shared-memory', 'ipc']) {
    it(`say what its calls did, transport: ${transport}`, async () => {
      const worker = await start({ transport });
      const messages = await worker.run(
        async ({ Cache: Class, require: load }, given, texts) => {
          const [NAMES, channelOf, assert] = [
            ['get', 'set', 'delete', 'evict'],
            (name) =>
              load('node:diagnostics_channel').channel(
                `lru-cache-for-clusters-as-promised:${name}`,
              ),
            load('node:assert/strict'),
          ];
          const scope = { NAMES, channelOf, assert };
          const make = (text) =>
            new Function(...Object.keys(scope), `return (${text})`)(...Object.values(scope));
          const cache = await Class.getInstance(given);
          return make(texts[0])(cache, make(texts[1]));
        },
        { namespace: unique('channels'), timeout: 10_000 },
        [String(heard), String(calls)],
      );
      const wanted = transport === 'ipc' ? MESSAGES.filter(([name]) => name !== 'evict') : MESSAGES;
      assert.deepEqual(messages, wanted);
    });
  }
});

/** Makes two hits, a miss and three entries, one of them evicted. */
async function fill(namespace) {
  const cache = await Cache.getInstance({ namespace, max: 2, maxSize: 1e6 });
  for (const key of ['a', 'b', 'c']) await cache.set(key, key);
  for (const key of ['a', 'b', 'c']) await cache.get(key);
  return cache;
}

/** The numbers of a namespace by name, of Prometheus text. */
function parse(text, namespace) {
  const found = {};
  const label = namespace.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  for (const line of text.split('\n')) {
    const [, name, labels, value] = /^(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (labels?.startsWith(`namespace="${label}"`)) found[name] = value;
  }
  return found;
}

/** What is of every namespace, and not of those with a remote tier alone. */
const OF_ALL = INSTRUMENTS.filter(({ name }) => !name.startsWith('remote_'));

describe('metrics for Prometheus', () => {
  it('as text, whatever the namespace is called', async () => {
    const namespace = `${unique('metrics')} "quoted" \\ \n`;
    await fill(namespace);
    const text = await prometheus.metrics();
    const numbers = parse(text, namespace);
    assert.deepEqual(
      Object.keys(numbers),
      OF_ALL.map((instrument) => prometheusName('lru_cache_', instrument)),
    );
    assert.equal(numbers.lru_cache_hits_total, '2');
    assert.equal(numbers.lru_cache_misses_total, '1');
    assert.equal(numbers.lru_cache_evictions_total, '1');
    assert.equal(numbers.lru_cache_max_size_bytes, '1000000');
    assert.match(text, /^# TYPE lru_cache_hits_total counter$/m);
    assert.match(text, new RegExp(`lru_cache_near_entries\\{.*,pid="${process.pid}"\\} \\d`));
    assert.match(await prometheus.metrics({ prefix: 'mine_' }), /^mine_hits_total\{/m);
  });

  it('by prom-client, anew at each collection', async () => {
    const namespace = unique('metrics');
    const cache = await fill(namespace);
    const register = new prom.Registry();
    prometheus.register(prom, { registers: [register] });
    const first = parse(await register.metrics(), namespace);
    assert.equal(first.lru_cache_hits_total, '2');
    assert.equal(first.lru_cache_entries, '2');
    await cache.get('c');
    await cache.reset();
    const second = parse(await register.metrics(), namespace);
    assert.deepEqual(
      [second.lru_cache_hits_total, second.lru_cache_entries, second.lru_cache_deletes_total],
      ['3', '0', '2'],
    );
    const unbound = new Cache({ namespace: unique('metrics') });
    await unbound.set('key', 1);
    const { lru_cache_max_size_bytes: bound } = parse(await register.metrics(), unbound.namespace);
    assert.equal(bound, '+Inf');
    // Both forms give the same.
    const text = parse(await prometheus.metrics(), namespace);
    assert.deepEqual(Object.keys(second).sort(), Object.keys(text).sort());
  });

  it('each shared number once, of all workers', async () => {
    const namespace = unique('metrics');
    await fill(namespace);
    const collect = async () => {
      const register = new prom.Registry();
      prometheus.register(prom, { registers: [register] });
      return register.getMetricsAsJSON();
    };
    const [one, two] = [await collect(), await collect()];
    const all = prom.AggregatorRegistry.aggregate([one, two]);
    const numbers = parse(await all.metrics(), namespace);
    assert.equal(numbers.lru_cache_hits_total, '2');
    assert.equal(numbers.lru_cache_entries, '2');
    const near = parse(await prometheus.metrics(), namespace).lru_cache_near_entries;
    assert.equal(Number(numbers.lru_cache_near_entries), 2 * near, 'of processes: the sum');
  });
});

class Reader extends MetricReader {
  onShutdown() {}
  onForceFlush() {}
}

describe('subpaths', () => {
  it('are imported by name', async () => {
    const { metrics, register } = await import('lru-cache-for-clusters-as-promised/prometheus');
    const { instrument } = await import('lru-cache-for-clusters-as-promised/opentelemetry');
    assert.deepEqual({ metrics, register }, prometheus);
    assert.equal(instrument, opentelemetry.instrument);
  });
});

describe('instruments for OpenTelemetry', () => {
  /** The values of a namespace by name, and the names there are. */
  async function collected(reader, namespace) {
    const { resourceMetrics, errors } = await reader.collect();
    assert.deepEqual(errors, []);
    const values = {};
    for (const { metrics } of resourceMetrics.scopeMetrics) {
      for (const { descriptor, dataPoints } of metrics) {
        const point = dataPoints.find(({ attributes }) => attributes.namespace === namespace);
        if (point !== undefined) values[descriptor.name] = point.value;
      }
    }
    return values;
  }

  it('give the statistics until they are ended', async () => {
    const namespace = unique('instruments');
    await fill(namespace);
    const reader = new Reader();
    const meterProvider = new MeterProvider({ readers: [reader] });
    const end = opentelemetry.instrument({ meterProvider });
    const values = await collected(reader, namespace);
    assert.equal(values['lru_cache.hits'], 2);
    assert.equal(values['lru_cache.max_size'], 1e6);
    assert.ok('lru_cache.near.entries' in values);
    assert.equal(Object.keys(values).length, OF_ALL.length);
    end();
    await new Cache({ namespace }).get('c');
    assert.equal((await collected(reader, namespace))['lru_cache.hits'], 2);
    await meterProvider.shutdown();
  });

  it('leave out what another process reports', async () => {
    const namespace = unique('instruments');
    await fill(namespace);
    const reader = new Reader();
    const meterProvider = new MeterProvider({ readers: [reader] });
    opentelemetry.instrument({ meterProvider, shared: false, prefix: 'mine.' });
    const values = await collected(reader, namespace);
    assert.deepEqual(Object.keys(values).sort(), [
      'mine.near.entries',
      'mine.near.hits',
      'mine.near.size',
    ]);
    await meterProvider.shutdown();
  });

  it('need no provider of their own', () => {
    opentelemetry.instrument()();
  });
});
