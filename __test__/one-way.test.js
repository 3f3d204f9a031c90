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
    name: 'errors, and what has no state, know nothing of the product',
    from: /^lib\/(errors|define|debug|protocol|peers|sharing|under-way|waiting)\.js$/,
    to: /./,
  },
  {
    name: 'the form of messages knows errors, options and kinds alone',
    from: /^lib\/codec\.js$/,
    to: /^(?!lib\/(errors|options|kinds)\.js$)/,
  },
  {
    name: 'the synchronous class knows no transport, and no command',
    from: /^lib\/(lru-cache\.js$|store\/)/,
    to: /^(index\.js$|lib\/((primary|worker|space|protocol|sharing|peers|codec|commands|cache)\.js$|transport\/))/,
    reaches: true,
  },
  {
    name: 'the worker never loads the side of the primary',
    from: /^lib\/(worker|space|transport\/(worker-client|channel|attachment))\.js$/,
    to: /^lib\/(primary|transport\/(server|local-client|caches))\.js$/,
    reaches: true,
  },
  {
    name: 'the primary never loads the side of the worker',
    from: /^lib\/(primary|transport\/(server|local-client|caches))\.js$/,
    to: /^lib\/(worker|space|transport\/(worker-client|channel|attachment))\.js$/,
    reaches: true,
  },
  {
    name: 'the attachment does no I/O of its own',
    from: /^lib\/transport\/attachment\.js$/,
    to: /^lib\/(native|transport\/(channel|worker-client|server))/,
  },
  {
    name: 'transport never loads near reads, fetch, remote tier or adapters',
    from: /^lib\/transport\//,
    to: /^(adapters\/|lib\/(near|fetch|remote)\/)/,
    reaches: true,
  },
  {
    name: 'near reads, fetch and remote tier see the public surface, not what is under it',
    from: /^lib\/(near|fetch|remote)\//,
    to: /^lib\/(transport\/|store\/|lru-cache\.js$|worker\.js$|primary\.js$|space\.js$)/,
  },
  {
    name: 'adapters see the public class alone',
    from: /^adapters\//,
    to: /^(?!index\.js$|adapters\/)/,
  },
  {
    name: 'the loader of the addon knows the platforms alone',
    from: /^lib\/native(\.js$|\/)/,
    to: /^(?!lib\/(native\/|platforms\.js$)|binding\.js$|package\.json$)/,
  },
  {
    name: 'the class is loaded by index.js alone',
    from: /^lib\//,
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
      'lib/lru-cache.js': ['lib/options.js'],
      'lib/options.js': ['lib/worker.js'],
      'lib/worker.js': ['lib/lru-cache.js', 'lib/primary.js'],
      'lib/transport/channel.js': ['lib/errors.js', 'lib/near/reads.js'],
      'adapters/keyv.js': ['index.js', 'lib/options.js'],
    };
    const found = RULES.flatMap((rule) => violations(planted, rule));
    for (const violation of [
      'lib/lru-cache.js -> lib/worker.js',
      'lib/worker.js -> lib/primary.js',
      'lib/transport/channel.js -> lib/near/reads.js',
      'adapters/keyv.js -> lib/options.js',
    ]) {
      assert.ok(found.includes(violation), violation);
    }
    assert.ok(reachedFrom(planted, 'lib/lru-cache.js').has('lib/lru-cache.js'));
  });
});
