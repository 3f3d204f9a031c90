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
  'express-rate-limit': ['LRUCacheStore'],
  'rate-limiter-flexible': ['RateLimiterLRUCache'],
  'fastify-rate-limit': ['createStore'],
};

/** Adapters that load their peer, or ask for its version: the peer, what versions fit, and how the adapter is used. */
const LOAD_THEIRS = {
  'express-session': ['express-session', '1', ''],
  'rate-limiter-flexible': ['rate-limiter-flexible', '5 to 11', ''],
  'fastify-rate-limit': ['@fastify/rate-limit', '10 or 11', '.createStore()'],
};

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
  /** The message of the error of `require`, and of the use of what is exported; or the names that are exported. */
  const load = (adapter, use = '') => {
    const program = `try {
        const adapter = require('${name}/${adapter}');
        adapter${use};
        console.log(Object.keys(adapter).join());
      } catch (error) { console.log(error.message) }`;
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
      const [peer, versions, use] = LOAD_THEIRS[adapter];
      const says = (found) =>
        assert.equal(
          load(adapter, use),
          `${name}/${adapter} needs the package ${peer}, version ${versions} (found: ${found}): npm install ${peer}`,
        );
      says('none');
      install(peer, '0.9.0');
      says('0.9.0');
    });
  }
});
