'use strict';

// index.d.ts against the package as it runs: it declares what is there, no more and no less.

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const ts = require('typescript');

const root = path.join(__dirname, '..', '..');
const Cache = require(root);
const { commands } = require(path.join(root, 'lib', 'commands'));

const NAMED_EXPORTS = [
  'LRUCache',
  'LRUCacheClustered',
  'LRUCacheForClustersAsPromised',
  'default',
  'memoize',
  'wrap',
];

/** What a declared member is, as `kindsOf` names it. */
function kindOf(member) {
  if (ts.isMethodDeclaration(member)) return 'method';
  if (ts.isGetAccessor(member)) return 'get';
  if (ts.isSetAccessor(member)) return 'set';
  return 'field';
}

/** The members of the prototype of a class: `['get max', 'method set', …]`. */
function kindsOf(Class) {
  const { constructor, ...members } = Object.getOwnPropertyDescriptors(Class.prototype);
  return Object.entries(members).flatMap(([name, { value, get, set }]) => [
    ...(value ? [`method ${name}`] : []),
    ...(get ? [`get ${name}`] : []),
    ...(set ? [`set ${name}`] : []),
  ]);
}

const sorted = (names) => [...new Set(names)].sort();

describe('index.d.ts', () => {
  /** By class or interface: its members, and its static members. */
  const members = {};
  const statics = {};

  before(() => {
    const text = fs.readFileSync(path.join(root, 'index.d.ts'), 'utf8');
    const isStatic = ({ kind }) => kind === ts.SyntaxKind.StaticKeyword;
    ts.forEachChild(
      ts.createSourceFile('index.d.ts', text, ts.ScriptTarget.Latest),
      function visit(node) {
        if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) {
          // Symbols have no text here.
          const named = node.members.filter(({ name }) => name && !ts.isComputedPropertyName(name));
          const [own, shared] = [false, true].map((wanted) =>
            named.filter((member) => Boolean(member.modifiers?.some(isStatic)) === wanted),
          );
          members[node.name.text] = own.map((member) => `${kindOf(member)} ${member.name.text}`);
          statics[node.name.text] = shared.map((member) => member.name.text);
        }
        ts.forEachChild(node, visit);
      },
    );
  });

  it('declares the members of LRUCacheForClustersAsPromised', () => {
    const fields = Object.keys(new Cache()).map((name) => `field ${name}`);
    assert.deepStrictEqual(
      sorted(members.LRUCacheForClustersAsPromised),
      sorted([...kindsOf(Cache), ...fields]),
    );
  });

  it('declares its static members', () => {
    const others = ['length', 'name', 'prototype', ...NAMED_EXPORTS];
    const own = Object.getOwnPropertyNames(Cache).filter((name) => !others.includes(name));
    assert.deepStrictEqual(sorted(statics.LRUCacheForClustersAsPromised), sorted(own));
  });

  it('declares the members of LRUCacheClustered', () => {
    const declared = members.LRUCacheClustered;
    const { LRUCacheClustered } = Cache;
    const missing = kindsOf(LRUCacheClustered).filter((kind) => !declared.includes(kind));
    assert.deepStrictEqual(missing, []);
    const instance = new LRUCacheClustered();
    const names = declared.map((member) => member.split(' ')[1]);
    assert.deepStrictEqual(
      names.filter((name) => !(name in instance)),
      [],
    );
    const shared = statics.LRUCacheClustered.filter((name) => !(name in LRUCacheClustered));
    assert.deepStrictEqual(shared, []);
  });

  it('declares the members of LRUCache', () => {
    assert.deepStrictEqual(sorted(members.LRUCache), sorted(kindsOf(Cache.LRUCache)));
  });

  it('declares the commands of execute, save the two that take a function', () => {
    const declared = members.Commands.map((member) => member.split(' ')[1]);
    assert.deepStrictEqual(
      sorted([...declared, 'forEach', 'rforEach']),
      sorted(Object.keys(commands)),
    );
  });

  // TypeScript takes every static member for a named export; Node finds those that index.js writes out.
  it('has no named export that an ES module cannot import', async () => {
    const module = await import(pathToFileURL(require.resolve(root)));
    assert.deepStrictEqual(
      sorted(Object.keys(module).filter((name) => name !== 'module.exports')),
      sorted([...NAMED_EXPORTS, ...statics.LRUCacheForClustersAsPromised]),
    );
  });
});
