'use strict';

// The configurations of docs/machines.md and docs/scale.md, each with a server that it fits: addresses and paths are put in the
// place of those of the page.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const Cache = require('../..');
const { unique, until } = require('../helpers');
const { describeServers, endClient, speaksTls, startSentinel, startServer } = require('./servers');

const ROOT = path.join(__dirname, '..', '..');
const CERTIFICATES = path.join(__dirname, 'certificates');

/** A user, as arguments of a server. */
const USER = ['--user', 'app', 'on', '>sec:ret/1', '~*', '&*', '+@all'];

/** The blocks of a page that give `remote`. */
function blocksOf(page) {
  const text = fs.readFileSync(path.join(ROOT, 'docs', page), 'utf8');
  const blocks = [...text.matchAll(/pages\.test\.js runs it -->\n+```js\n([^]*?)```/g)];
  return blocks.map(([, code]) => code);
}

/** Runs a block, and gives its `remote`. */
function remoteOf(code, places) {
  let program = code.replace(
    /^import \{ (\w+) \} from '([\w:]+)';$/gm,
    "const { $1 } = require('$2');",
  );
  for (const [place, value] of places) program = program.replaceAll(place, value);
  assert.doesNotMatch(program, /example\.com|\/etc\/|\/run\//);
  return new Function('require', `${program}\nreturn remote;`)(require);
}

describeServers('configurations of the pages', ({ program }) => {
  const blocks = [...blocksOf('machines.md'), ...blocksOf('scale.md')];
  let server;
  let tls;
  let sentinel;

  before(async () => {
    process.env.CACHE_PASSWORD = 'sec:ret/1';
    server = await startServer(program, ({ directory }) => [
      ...['--unixsocket', path.join(directory, 's'), ...USER],
    ]);
    sentinel = await startSentinel(program, server.port);
    if (!speaksTls(program)) return;
    const of = (name) => path.join(CERTIFICATES, name);
    tls = await startServer(program, ({ port }) => [
      ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'optional'],
      ...['--tls-cert-file', of('server.crt'), '--tls-key-file', of('server.key')],
      ...['--tls-ca-cert-file', of('ca.crt'), ...USER],
    ]);
  });
  after(async () => {
    delete process.env.CACHE_PASSWORD;
    for (const one of [server, tls, sentinel]) await one?.remove();
  });

  it('are all found', () => assert.equal(blocks.length, 6));

  for (const [at, code] of blocks.entries()) {
    it(`block ${at + 1}: ${code.split('\n').find((line) => line.includes('client'))}`, async function () {
      const isTls = code.includes('6380');
      if (isTls && tls === undefined) this.skip();
      const remote = remoteOf(code, [
        ['cache.example.com', 'localhost'],
        ['6380', String(tls?.port)],
        ['/etc/cache', CERTIFICATES],
        ['/run/valkey.sock', path.join(server.directory, 's')],
        ['sentinel-1.example.com', '127.0.0.1'],
        ['sentinel-2.example.com', '127.0.0.1'],
        ['26379', String(sentinel.port)],
      ]);
      const cache = new Cache({
        namespace: unique('page'),
        timeout: 2000,
        remote: { ...remote, onError: 'reject' },
      });
      await until(async () => (await cache.stats()).remote.state === 'on');
      await cache.set('k', 1);
      assert.equal(await cache.get('k'), 1);
      assert.equal((await cache.stats()).remote.reason, undefined);
      await cache.close();
      if (typeof remote.client.duplicate === 'function') endClient(remote.client);
    });
  }
});
