'use strict';

// Lists that Rust and JavaScript both have: error codes, kinds of values, results of calls, functions of the addon.

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const v8 = require('node:v8');
const ts = require('typescript');

const { COUNT_FETCHES, commands } = require('../lib/commands');
const { CODES } = require('../lib/errors');
const { KIND } = require('../lib/kinds');
const native = require('../lib/native/loader');
const { STATE } = require('../lib/store/value-table');

const root = path.join(__dirname, '..');
const read = (...names) => fs.readFileSync(path.join(root, ...names), 'utf8');

/** `NoSharedMemory` as a constant is named: `NO_SHARED_MEMORY`. */
const constantName = (name) => name.replace(/(?<!^)(?=[A-Z])/g, '_').toUpperCase();

/** The text between the first `start` and the next `end` behind it. */
function between(text, start, end) {
  const from = text.indexOf(start);
  assert.ok(from >= 0, `${start} is not there`);
  return text.slice(from + start.length, text.indexOf(end, from));
}

describe('lists that Rust and JavaScript both have', () => {
  it('error codes', () => {
    const list = between(read('src', 'error.rs'), '\ncodes! {', '\n}');
    const codes = Array.from(list.matchAll(/^ *(\w+) = "(\w+)",$/gm), ([, name, text]) => [
      constantName(name),
      text,
    ]);
    assert.ok(codes.length > 0);
    const { NOT_PRIMARY, CLOSED, CONFLICT, REMOTE, ...shared } = CODES;
    assert.deepStrictEqual(
      [NOT_PRIMARY, CLOSED, CONFLICT, REMOTE],
      ['ERR_NOT_PRIMARY', 'ERR_CLOSED', 'ERR_CONFLICT', 'ERR_REMOTE'],
    );
    assert.deepStrictEqual(shared, Object.fromEntries(codes));
  });

  it('error codes are written in lib/errors.js alone', () => {
    const files = fs.readdirSync(path.join(root, 'lib'), { recursive: true });
    const sources = files.filter((file) => file.endsWith('.js')).map((file) => `lib/${file}`);
    const others = ['index.js', ...sources.filter((file) => file !== 'lib/errors.js')];
    const literal = /['"`](ERR_\w*|ETIMEDOUT)/;
    assert.deepStrictEqual(
      others.filter((file) => literal.test(read(file))),
      [],
    );
  });

  it('kinds of values in messages', () => {
    const registry = new native.NativeRegistry(new Int32Array(64), () => {});
    assert.strictEqual(registry.open('kinds', '{}'), null);
    /** Kind and payload of an answer. */
    const ask = (request) =>
      JSON.parse(`[${native.handle(registry.id, `[1,0,"kinds",${request}]`, 0)}]`);
    const clone = v8.serialize(new Map()).toString('base64');
    const values = { JSON: '{"a":1}', UNDEFINED: '0', NUMBER: '"NaN"', CLONE: `"${clone}"` };
    for (const [name, payload] of Object.entries(values)) {
      const kind = KIND[name];
      assert.strictEqual(ask(`"set","key",${kind},${payload},null`)[1], KIND.JSON);
      assert.deepStrictEqual(ask('"get","key"'), [1, kind, JSON.parse(payload)], name);
    }
    assert.strictEqual(ask('"no such command"')[1], KIND.ERROR);
    assert.strictEqual(ask('"get","no such key"')[1], KIND.MISS);
    // The head of the file in Rust describes every kind of messages.
    const described = Array.from(
      read('src', 'wire', 'mod.rs').matchAll(/^\/\/! \| (\d+) `(\w+)` \|/gm),
      ([, kind, name]) => [constantName(name), Number(kind)],
    );
    const ofMessages = Object.entries(KIND).filter(([, kind]) => kind < 7);
    assert.deepStrictEqual(described, ofMessages);
  });

  it('kinds of values, and what stands in their place', () => {
    const list = between(read('src', 'value.rs'), '\nkinds! {', '\n}\n');
    assert.deepStrictEqual(
      { ...KIND },
      Object.fromEntries(
        Array.from(list.matchAll(/^ *(\w+) = (\d+),$/gm), ([, name, number]) => [
          constantName(name),
          Number(number),
        ]),
      ),
    );
  });

  it('kinds of answers have names in lib/transport/server.js', () => {
    const server = read('lib', 'transport', 'server.js');
    for (const name of ['JSON', 'ERROR', 'OWN']) assert.ok(server.includes(`KIND.${name}},`), name);
    // The kind as a number, as in `4,${…}` and `${id},6,…`.
    assert.deepStrictEqual(server.match(/[`,]\d,[^`\n]*`/g), null);
  });

  it('kinds are numbered in lib/kinds.js alone', () => {
    const files = fs.readdirSync(path.join(root, 'lib'), { recursive: true });
    const lists = files.filter(
      (file) => file.endsWith('.js') && /^ *JSON: \d/m.test(read('lib', file)),
    );
    assert.deepStrictEqual(lists, ['kinds.js']);
  });

  it('commands', () => {
    const visitors = Object.keys(commands).filter((name) => commands[name].visits);
    assert.deepStrictEqual(
      [...Object.keys(commands), COUNT_FETCHES.name].sort(),
      [...Object.keys(native.commands), ...visitors].sort(),
    );
    for (const name of Object.keys(native.commands)) {
      const registry = new native.NativeRegistry(new Int32Array(64), () => {});
      registry.open('commands', '{}');
      const answer = native.handle(registry.id, `[1,0,"commands",${JSON.stringify(name)}]`, 0);
      assert.ok(!answer.includes(CODES.UNKNOWN_COMMAND), `${name}: ${answer}`);
    }
  });

  it('fields of the state that a table of JavaScript values has', () => {
    const source = read('src', 'addon', 'caches.rs');
    const state = between(source, 'pub mod state {', '\n}').matchAll(
      /const (\w+): usize = (\d+);/g,
    );
    assert.deepStrictEqual(
      { ...STATE },
      Object.fromEntries(Array.from(state, ([, name, index]) => [name, Number(index)])),
    );
  });

  it('the memory of near reads', () => {
    /** The number of a constant, which may be a power of two written as a shift. */
    const constant = (name, ...file) => {
      const found = new RegExp(`\\bconst ${name}(?:: \\w+)? = (\\d+)(?: << (\\d+))?;`).exec(
        read(...file),
      );
      assert.ok(found, `${name} is not in ${file.join('/')}`);
      return Number(found[1]) << Number(found[2] ?? 0);
    };
    const ring = (name) => constant(name, 'lib', 'near', 'ring.js');
    const near = (name) => constant(name, 'lib', 'near', 'near-cache.js');
    const layout = (name) => constant(name, 'src', 'storage', 'shared', 'layout.rs');
    const source = read('src', 'storage', 'shared', 'layout.rs');
    /** What the compiler has checked: where a field begins, in bytes. */
    const offset = (struct, field, where = source) =>
      Number(new RegExp(`offset_of!\\(${struct}, ${field}\\) == (\\d+)`).exec(where)?.[1]);
    const uses = (name) => constant(name, 'lib', 'near', 'uses.js');
    const heap = read('src', 'storage', 'heap', 'versions.rs');
    assert.deepStrictEqual(
      {
        gate: near('GATE') * 4,
        epoch: near('EPOCH') * 4,
        uses: ring('STAMP') * 4,
        head: ring('HEAD') * 4,
        tail: ring('TAIL') * 4,
        records: ring('HEAD_WORDS') * 4,
        capacity: ring('CAPACITY') * 4,
        piece: 1 << constant('PIECE_BITS', 'lib', 'near', 'pieces.js'),
      },
      {
        gate: offset('Control', 'gate'),
        epoch: offset('Control', 'epoch'),
        uses: offset('Control', 'uses'),
        head: offset('RingHead', 'head'),
        tail: offset('RingHead', 'tail'),
        records: offset('Ring', 'records'),
        capacity: offset('RingHead', 'capacity'),
        piece: layout('VERSIONS_PER_PIECE'),
      },
    );
    assert.deepStrictEqual(
      {
        count: uses('COUNT') * 8,
        applied: uses('APPLIED') * 8,
        uncounted: uses('UNCOUNTED') * 8,
        listed: uses('LISTED') * 4,
        rows: uses('ROWS') * 4,
      },
      {
        count: offset('Uses', 'count', heap),
        applied: offset('Uses', 'applied', heap),
        uncounted: offset('Uses', 'uncounted', heap),
        listed: offset('Uses', 'listed', heap),
        rows: offset('Uses', 'rows', heap),
      },
    );
  });

  it('functions of the addon, and lib/native/loader.d.ts', () => {
    /** The functions that a declaration file declares. */
    const declared = (file) => {
      const source = ts.createSourceFile(file, read(...file.split('/')), ts.ScriptTarget.Latest);
      return source.statements.filter(ts.isFunctionDeclaration).map(({ name }) => name.text);
    };
    const isFunction = (name) =>
      typeof native[name] === 'function' && !/^class\b|^Native/.test(name);
    assert.deepStrictEqual(
      [...declared('lib/native/loader.d.ts'), ...declared('binding.d.ts')].sort(),
      Object.keys(native).filter(isFunction).sort(),
    );
  });
});
