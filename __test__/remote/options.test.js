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
