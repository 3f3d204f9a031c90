'use strict';

// Which file of the product may require which: the one-way rules between the parts of lib/.

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/**
 * Rules: a file whose path matches `from` requires no file whose path matches `to`, not even by way of others where
 * `reaches` is set. A rule about folders that are not there yet holds from the day that they are.
 */
const RULES = [
  {
    name: 'the product knows no tests, tools, benchmarks or examples',
    from: /^(index\.js|lib\/|adapters\/)/,
    to: /^(__test__|bench|examples|scripts|fuzz|tools|docs)\//,
  },
  {
    name: 'errors and small helpers know nothing of the product',
    from: /^lib\/(errors|define|debug|freeze)\.js$/,
    to: /./,
  },
  {
    name: 'the queue of calls that are made again knows nothing of the product',
    from: /^lib\/store\/retry-queue\.js$/,
    to: /./,
  },
  {
    name: 'parts of the transport that send and receive nothing know the form of calls and messages alone',
    from: /^lib\/transport\/(call|clones|deadline|outbox|shared-memory|siblings|in-flight)\.js$/,
    to: /^(?!lib\/(options|transport\/(call|envelope))\.js$)/,
  },
  {
    name: 'the form of messages knows errors, options and kinds alone',
    from: /^lib\/transport\/envelope\.js$/,
    to: /^(?!lib\/(errors|options|kinds)\.js$)/,
  },
  {
    name: 'caches of this process know no transport and no command',
    from: /^lib\/store\//,
    to: /^(index\.js$|lib\/((commands|cache)\.js$|transport\/))/,
    reaches: true,
  },
  {
    name: 'commands know the form of messages, but no other part of the transport',
    from: /^lib\/commands\.js$/,
    to: /^lib\/transport\/(?!envelope\.js$)/,
    reaches: true,
  },
  {
    name: "the worker's side never loads the primary's",
    from: /^lib\/transport\/(worker-client|channel|attachment|attachment-runner)\.js$/,
    to: /^lib\/transport\/(server|local-client|caches)\.js$/,
    reaches: true,
  },
  {
    name: "the primary's side never loads the worker's",
    from: /^lib\/transport\/(server|local-client|caches)\.js$/,
    to: /^lib\/transport\/(worker-client|channel|attachment|attachment-runner)\.js$/,
    reaches: true,
  },
  {
    name: 'the server and the local client know the caches, and not each other',
    from: /^lib\/transport\/(caches|server|local-client)\.js$/,
    to: /^lib\/transport\/(server|local-client)\.js$/,
    reaches: true,
  },
  {
    name: 'the attachment does no I/O: it knows errors and the calls in flight alone',
    from: /^lib\/transport\/attachment\.js$/,
    to: /^(?!lib\/(errors|transport\/in-flight)\.js$)/,
  },
  {
    name: 'transport never loads fetch, remote tier or adapters',
    from: /^lib\/transport\//,
    to: /^(adapters\/|lib\/(fetch|remote)\/)/,
    reaches: true,
  },
  {
    name: 'near reads are known to the caches of a process alone',
    from: /^(index\.js$|lib\/(?!store\/|near\/))/,
    to: /^lib\/near\//,
  },
  {
    name: 'near reads, fetch and remote tier see the public surface, not what is under it',
    from: /^lib\/(near|fetch|remote)\//,
    to: /^lib\/(transport|store)\//,
  },
  {
    name: 'fetch knows errors, options and channels alone: it is given the client of an instance',
    from: /^lib\/fetch\//,
    to: /^(?!lib\/(fetch\/|(errors|options|observe\/channels)\.js$))/,
  },
  {
    name: 'adapters see the public class alone',
    from: /^adapters\//,
    to: /^(?!index\.js$|adapters\/)/,
  },
  {
    name: 'the loader of the addon knows the platforms alone',
    from: /^lib\/native\//,
    to: /^(?!lib\/native\/|binding\.js$|package\.json$)/,
  },
  {
    name: 'what exports the statistics sees the public class alone',
    from: /^lib\/observe\/(prometheus|opentelemetry)\.js$/,
    to: /^(?!(index\.js|package\.json|lib\/observe\/instruments\.js)$)/,
  },
  {
    name: 'the class is loaded by index.js, and by what exports its statistics',
    from: /^lib\/(?!observe\/(prometheus|opentelemetry)\.js$)/,
    to: /^(index|lib\/cache)\.js$/,
  },
];

/** The product's files, from the root, with forward slashes. */
function productFiles() {
  const list = (dir) =>
    fs.existsSync(path.join(root, dir))
      ? fs.readdirSync(path.join(root, dir), { recursive: true }).map((file) => `${dir}/${file}`)
      : [];
  return ['index.js', ...list('lib'), ...list('adapters')]
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.js'));
}

/** The text of a file, without its comments. */
function codeOf(file) {
  const text = fs.readFileSync(path.join(root, file), 'utf8');
  return text.replace(/\/\*[^]*?\*\/|^ *\/\/.*/gm, '');
}

/** What a file requires, of this package. Generated files and JSON end the walk. */
function requiredBy(file) {
  return Array.from(codeOf(file).matchAll(/\brequire\((['"`])(\.[^'"`]*)\1\)/g), ([, , name]) => {
    const found = require.resolve(path.resolve(root, path.dirname(file), name));
    return path.relative(root, found).replaceAll('\\', '/');
  });
}

/** By file: what it requires. */
function graphOf(files) {
  return Object.fromEntries(files.map((file) => [file, requiredBy(file)]));
}

/** All that a file requires, by way of others too. */
function reachedFrom(graph, file, seen = new Set()) {
  for (const next of graph[file] ?? []) {
    if (seen.has(next)) continue;
    seen.add(next);
    reachedFrom(graph, next, seen);
  }
  return seen;
}

/** What breaks a rule: `from -> to`. */
function violations(graph, { from, to, reaches }) {
  return Object.keys(graph)
    .filter((file) => from.test(file))
    .flatMap((file) => {
      const required = reaches ? [...reachedFrom(graph, file)] : graph[file];
      return required.filter((other) => to.test(other)).map((other) => `${file} -> ${other}`);
    });
}

describe('one-way rules of lib/', () => {
  const graph = graphOf(productFiles());

  for (const rule of RULES) {
    it(rule.name, () => assert.deepStrictEqual(violations(graph, rule), []));
  }

  it('no file requires itself by way of others', () => {
    const inCircle = Object.keys(graph).filter((file) => reachedFrom(graph, file).has(file));
    assert.deepStrictEqual(inCircle, []);
  });

  it('every `require` of a file is by a plain name, which these rules can read', () => {
    const isUnread = (file) => /\brequire\((?!['"])|\bimport\(/.test(codeOf(file));
    const unread = Object.keys(graph).filter(isUnread);
    assert.deepStrictEqual(unread, []);
  });

  it('find what is planted', () => {
    const planted = {
      'lib/store/lru-cache.js': ['lib/options.js'],
      'lib/options.js': ['lib/transport/worker-client.js'],
      'lib/transport/worker-client.js': ['lib/store/lru-cache.js', 'lib/transport/server.js'],
      'lib/transport/channel.js': ['lib/errors.js', 'lib/near/reads.js'],
      'lib/transport/attachment.js': ['lib/errors.js', 'lib/native/loader.js'],
      'adapters/keyv.js': ['index.js', 'lib/options.js'],
    };
    const found = RULES.flatMap((rule) => violations(planted, rule));
    for (const violation of [
      'lib/store/lru-cache.js -> lib/transport/worker-client.js',
      'lib/transport/worker-client.js -> lib/transport/server.js',
      'lib/transport/channel.js -> lib/near/reads.js',
      'lib/transport/attachment.js -> lib/native/loader.js',
      'adapters/keyv.js -> lib/options.js',
    ]) {
      assert.ok(found.includes(violation), violation);
    }
    assert.ok(reachedFrom(planted, 'lib/store/lru-cache.js').has('lib/store/lru-cache.js'));
  });
});
