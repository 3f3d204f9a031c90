'use strict';

// The ports of the client libraries (`lib/remote/clients`), on each server.

const assert = require('node:assert/strict');
const net = require('node:net');
const { until } = require('../helpers');
const { Script } = require('../../lib/remote/clients/port');
const { IoredisPort, isIoredis } = require('../../lib/remote/clients/ioredis');
const { NodeRedisPort, isNodeRedis } = require('../../lib/remote/clients/node-redis');
const { CLIENTS, describeServers, endClient, startServer } = require('./servers');

describeServers('ports of clients', ({ program }) => {
  let server;
  before(async () => (server = await startServer(program)));
  after(() => server.remove());

  for (const [library, create] of Object.entries(CLIENTS)) {
    describe(library, () => {
      let client;
      let port;
      before(async () => {
        client = create(server.url);
        client.on('error', () => {});
        const isNode = library.startsWith('redis');
        assert.deepEqual([isNodeRedis(client), isIoredis(client)], [isNode, !isNode]);
        port = isNode ? new NodeRedisPort(client) : new IoredisPort(client);
        port.open();
        await until(() => port.isReady);
      });
      after(() => {
        port.close();
        endClient(client);
      });

      it('sends commands with bytes, and gives bytes', async () => {
        const value = Buffer.from([0, 255, 1, 13, 10, 128]);
        assert.equal(String(await port.send(['SET', 'ü:1', value, 'PX', '60000'])), 'OK');
        assert.deepEqual(await port.send(['GET', 'ü:1']), value);
        assert.equal(await port.send(['GET', 'none']), null);
        assert.ok((await port.send(['PTTL', 'ü:1'])) > 50_000);
        assert.deepEqual(await port.send(['MGET', 'ü:1', 'none']), [value, null]);
      });

      it('runs a script that the server does not know, and gives its errors', async () => {
        const script = new Script("return {redis.call('GET', KEYS[1]), ARGV[1], 7}");
        await port.send(['SCRIPT', 'FLUSH']);
        await port.send(['SET', 'k', 'v']);
        for (let times = 0; times < 2; times += 1) {
          const reply = await port.run(script, ['k'], [Buffer.from([255])]);
          assert.deepEqual(reply, [Buffer.from('v'), Buffer.from([255]), 7]);
        }
        await assert.rejects(port.run(new Script("return redis.call('INCR', KEYS[1])"), ['k'], []));
      });

      it('listens for errors of a socket at any time: one without a listener ends the process', async () => {
        const { createConnection } = net;
        const counts = [];
        const count = (socket) => counts.push(socket.listenerCount('error'));
        net.createConnection = (...args) => {
          const socket = createConnection(...args);
          // After what the library listens to.
          queueMicrotask(() => socket.once('connect', () => count(socket)));
          return socket;
        };
        try {
          const tracker = await port.track(
            ['a:'],
            () => {},
            () => {},
          );
          tracker.close();
        } finally {
          net.createConnection = createConnection;
        }
        assert.equal(counts.length, 1);
        assert.ok(counts[0] > 0);
      });

      it('tells of changed keys by prefix, before the answer to a ping', async () => {
        const told = [];
        let lost = 0;
        const onKeys = (keys) => told.push(...(keys ?? [null]));
        const tracker = await port.track(['a:', 'b:'], onKeys, () => (lost += 1));
        const ping = () => tracker.send(['PING']);
        const names = () => told.splice(0).map((key) => key && String(key));
        await port.send(['SET', 'a:ü', '1']);
        await port.send(['SET', 'c:1', '1']);
        await port.send(['SET', 'b:2', '1']);
        await ping();
        assert.deepEqual(names(), ['a:ü', 'b:2']);
        await port.send(['FLUSHALL']);
        await ping();
        assert.ok(names().includes(null));
        const pings = Promise.all([ping(), ping(), ping()]);
        await port.send(['SET', 'b:3', '1']);
        await pings;
        await ping();
        assert.deepEqual(names(), ['b:3']);
        assert.equal(lost, 0);
        tracker.close();
      });

      it('says that a tracking connection was lost', async () => {
        let lost = 0;
        const tracker = await port.track(
          ['a:'],
          () => {},
          () => (lost += 1),
        );
        const list = String(await port.send(['CLIENT', 'LIST']));
        const line = list.split('\n').find((one) => / flags=\S*[tB]/.test(one));
        await port.send(['CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)[1]]);
        await until(() => lost > 0);
        await assert.rejects(tracker.send(['PING']));
        tracker.close();
      });

      it('rejects what has no reply when the connection is lost, and connects again', async () => {
        for (let times = 0; times < 5; times += 1) {
          const waiting = port.send(['BLPOP', 'nothing', '0']);
          const rejected = assert.rejects(waiting);
          await server.restart();
          await rejected;
          await until(() => port.isReady);
          assert.equal(String(await port.send(['PING'])), 'PONG');
        }
      });

      it('gives up a connection on which no reply comes', async () => {
        const waiting = assert.rejects(port.send(['BLPOP', 'nothing', '0']));
        const { connects } = port;
        server.stop();
        await until(() => !port.isReady);
        server.go();
        await waiting;
        await until(() => port.isReady);
        assert.equal(port.connects, connects + 1);
        assert.equal(String(await port.send(['PING'])), 'PONG');
      });
    });
  }
});
