'use strict';

// The adapters of a package whose peers are not installed, or are of a version that does not fit; and how they are loaded.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const name = 'lru-cache-for-clusters-as-promised';

/** What each adapter exports. */
const EXPORTS = {
  keyv: ['KeyvStore', 'Keyv6Store'],
  'express-session': ['LRUCacheStore'],
  unstorage: ['lruCacheDriver'],
  bentocache: ['lruCacheDriver'],
};

/** Adapters that load their peer; the others know its interface alone. */
const LOAD_THEIRS = { 'express-session': 1 };

describe('the exports of adapters', () => {
  let project;
  before(() => {
    project = fs.mkdtempSync(path.join(os.tmpdir(), 'peers-'));
    const installed = path.join(__dirname, 'node_modules');
    for (const file of fs.readdirSync(installed)) {
      if (!file.startsWith(name)) continue;
      const copy = path.join(project, 'node_modules', file);
      fs.cpSync(path.join(installed, file), copy, { recursive: true });
    }
  });
  after(() => fs.rmSync(project, { recursive: true, force: true }));

  const node = (cwd, ...args) => execFileSync(process.execPath, args, { cwd, encoding: 'utf8' });
  /** The message of the error of `require`, or what is exported. */
  const load = (adapter) => {
    const program = `try { console.log(Object.keys(require('${name}/${adapter}')).join()) }
      catch (error) { console.log(error.message) }`;
    return node(project, '--eval', program).trim();
  };
  const install = (peer, version) => {
    const directory = path.join(project, 'node_modules', peer);
    fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(path.join(directory, 'package.json'), JSON.stringify({ version }));
    fs.writeFileSync(path.join(directory, 'index.js'), '');
  };

  for (const [adapter, names] of Object.entries(EXPORTS)) {
    it(`${adapter} is there for require and for import`, () => {
      const program = `import { ${names} } from '${name}/${adapter}'; console.log(typeof ${names[0]})`;
      const typed = node(__dirname, '--input-type=module', '--eval', program).trim();
      assert.equal(typed, 'function');
      const keys = Object.keys(require(`${name}/${adapter}`));
      assert.deepEqual(keys.sort(), [...names].sort());
    });

    if (!(adapter in LOAD_THEIRS)) {
      it(`${adapter} needs no peer to be loaded`, () => assert.equal(load(adapter), `${names}`));
      continue;
    }

    it(`${adapter} says which package is missing, or has a version that does not fit`, () => {
      const command = `npm install ${adapter}`;
      const needs = `needs the package ${adapter}, version ${LOAD_THEIRS[adapter]}`;
      assert.ok(load(adapter).endsWith(`${needs} (found: none): ${command}`), load(adapter));
      install(adapter, '0.9.0');
      assert.ok(load(adapter).endsWith(`${needs} (found: 0.9.0): ${command}`), load(adapter));
    });
  }
});
