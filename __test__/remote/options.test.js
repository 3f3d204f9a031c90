'use strict';

// What is wrong with the option `remote` is said with the value, and what to do. It needs no server.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const path = require('node:path');
const Cache = require('../..');
const { unique } = require('../helpers');

const wrong = (remote) => () => new Cache({ namespace: unique('remote'), remote });

describe('the option remote', () => {
  it('names what a client must be', () => {
    assert.throws(wrong({}), /remote needs client: a client of redis or ioredis/);
    assert.throws(wrong({ client: 5 }), { name: 'TypeError', message: /or a URL, got 5/ });
  });

  it('shows a URL that is none, without its password', () => {
    for (const url of ['redis//x', 'nope', '']) {
      assert.throws(wrong({ client: url }), {
        name: 'TypeError',
        message: /must be a URL such as/,
      });
      assert.throws(wrong({ client: url }), (error) => error.message.includes(`"${url}"`));
    }
    assert.throws(wrong('http://user:secret@host/'), (error) => {
      assert.match(error.message, /got "http:\/\/…@host\/"/);
      return true;
    });
  });

  it('says of other kinds of clients what to give instead', function () {
    // The clients need it.
    if (Number(process.versions.node.split('.')[0]) < 20) this.skip();
    const node = { host: '127.0.0.1', port: 1 };
    const clients = [];
    const refuses = (client, message) => {
      clients.push(client);
      for (const remote of [{ client }, client]) {
        const error = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message };
        assert.throws(wrong(remote), error);
      }
    };
    for (const name of ['redis', 'redis-5']) {
      const { createClientPool, createCluster, createSentinel } = require(name);
      refuses(
        createCluster({ rootNodes: [{ url: 'redis://127.0.0.1:1' }] }),
        /of a cluster, which is not supported: give a client of one server/,
      );
      refuses(
        createClientPool({ url: 'redis://127.0.0.1:1' }),
        /a pool, .* give a client \(create/,
      );
      refuses(
        createSentinel({ name: 'mymaster', sentinelRootNodes: [node] }),
        /createSentinel, .* give these options themselves, { client: { name, sentinelRootNodes } }/,
      );
    }
    for (const name of ['ioredis', 'ioredis-5']) {
      const { Redis } = require(name);
      refuses(
        new Redis.Cluster([node], { lazyConnect: true }),
        /of a cluster, which is not supported: give a client of one server .* new Redis of ioredis/,
      );
    }
    refuses({ sendCommand() {} }, /not a client of redis 5 or 6, or of ioredis 5 or 6/);
    for (const client of [
      { sentinelRootNodes: [], name: 'a' },
      { sentinels: [{ host: 'a' }] },
      { sentinels: 'a', name: 'a' },
    ]) {
      const error = { name: 'TypeError', message: /needs a list of { host, port }, and name, got/ };
      assert.throws(wrong({ client }), error);
    }
    assert.throws(wrong({ client: { rootNodes: [] } }), /of a cluster, which is not supported/);
  });

  it('takes options of one library by that library alone, and says which is missing', () => {
    const program = `
      const { Module } = require('module');
      const load = Module._load;
      const missing = process.argv[1].split(',');
      Module._load = function (name, ...rest) {
        if (!missing.includes(name)) return load.call(this, name, ...rest);
        throw Object.assign(new Error('none'), { code: 'MODULE_NOT_FOUND' });
      };
      const Cache = require(${JSON.stringify(path.join(__dirname, '..', '..'))});
      const said = [];
      for (const client of [{ host: 'a' }, { sentinels: [{}], name: 'a' }, { socket: {} }, 'redis://127.0.0.1:1', {}]) {
        try {
          new Cache({ namespace: 'n' + said.length, remote: { client } });
          said.push('made');
        } catch (error) {
          said.push(error.message);
        }
      }
      console.log(JSON.stringify(said));
      process.exit();
    `;
    const say = (missing) =>
      JSON.parse(execFileSync(process.execPath, ['-e', program, missing], { encoding: 'utf8' }));
    const ioredis = 'remote.client has options of the package ioredis: npm install ioredis';
    const redis = 'remote.client has options of the package redis: npm install redis';
    const any = 'remote needs the package redis or ioredis: npm install redis';
    assert.deepEqual(say('redis,ioredis'), [ioredis, ioredis, redis, any, any]);
    assert.deepEqual(say('ioredis').slice(0, 2), [ioredis, ioredis]);
    assert.equal(say('redis')[2], redis);
  });

  it('says the same of LRU_CACHE_REMOTE', () => {
    const program = `
      const Cache = require(${JSON.stringify(path.join(__dirname, '..', '..'))});
      try { new Cache(); } catch (error) { console.log(error.message); }
      process.exit();
    `;
    const env = { ...process.env, LRU_CACHE_REMOTE: 'localhost' };
    const output = execFileSync(process.execPath, ['-e', program], { env, encoding: 'utf8' });
    assert.match(output, /LRU_CACHE_REMOTE, must be a URL such as .*, got "localhost"/);
  });
});
