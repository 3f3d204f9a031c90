'use strict';

/**
 * Servers for the tests of the remote tier: each test runs on `valkey-server` and on `redis-server`, where they are found in the
 * PATH. A server listens on a free port of the loopback interface and keeps nothing on disk, unless its options say so.
 */

const assert = require('node:assert/strict');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

/** Whether a program is in the PATH. */
function isThere(program) {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The servers of this machine. */
const PROGRAMS = ['valkey-server', 'redis-server'];
const SERVERS = PROGRAMS.filter(isThere);

/** A port that nobody listens on. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

class Server {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lru-remote-'));
  #args;

  /** @param {string} program @param {number} port @param {(server: Server) => string[]} [args] more arguments */
  constructor(program, port, args = () => []) {
    this.program = program;
    this.port = port;
    this.#args = args;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start() {
    const options = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', ''];
    const args = [...options, '--dir', this.directory, ...this.#args(this)];
    await this.run(args, /ready to accept connections/i);
    return this;
  }

  /** Starts the process. Resolves when it has said so. */
  async run(args, isReady) {
    this.child = spawn(this.program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    await new Promise((resolve, reject) => {
      const read = (text) => {
        output += text;
        if (isReady.test(output)) resolve();
      };
      this.child.stdout.setEncoding('utf8').on('data', read);
      this.child.stderr.setEncoding('utf8').on('data', read);
      this.child.once('error', reject);
      this.child.once('exit', () => reject(new Error(`${this.program} ended: ${output}`)));
    });
  }

  stop() {
    this.child.kill('SIGSTOP');
  }

  go() {
    this.child.kill('SIGCONT');
  }

  /** Ends the process; its entries are gone, unless its options keep them on disk. */
  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  async restart() {
    await this.kill();
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.start();
      } catch (error) {
        // The port may have been taken meanwhile, for a moment.
        if (attempt === 20) throw error;
      }
    }
  }

  async remove() {
    await this.kill();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A sentinel of one primary, which it calls `mymaster`. */
class Sentinel extends Server {
  /** @param {string} program @param {number} port @param {number} primary the port of the primary */
  constructor(program, port, primary) {
    super(program, port);
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${this.directory}`,
      `sentinel monitor mymaster 127.0.0.1 ${primary} 1`,
      'sentinel down-after-milliseconds mymaster 500',
      'sentinel failover-timeout mymaster 3000',
    ];
    this.file = path.join(this.directory, 'sentinel.conf');
    fs.writeFileSync(this.file, `${lines.join('\n')}\n`);
  }

  async start() {
    await this.run([this.file, '--sentinel'], /\+monitor/);
    return this;
  }
}

/** Starts what `make` makes with a free port. Another process may take the port first: then there is another attempt. */
async function startOn(make) {
  for (let attempt = 0; ; attempt += 1) {
    const server = make(await freePort());
    try {
      return await server.start();
    } catch (error) {
      await server.remove();
      if (attempt === 5) throw error;
    }
  }
}

/** Starts a server, with more arguments. */
const startServer = (program, args) => startOn((port) => new Server(program, port, args));

/** Starts a sentinel of the primary on a port. */
const startSentinel = (program, primary) => startOn((port) => new Sentinel(program, port, primary));

/**
 * A TCP proxy before a server. `hold` keeps back what the server says, on connections that `isHeld` chooses; `release` lets it
 * go on.
 */
class Proxy {
  #connections = new Set();
  #server;
  /** Milliseconds that each piece is kept back. */
  delay = 0;
  /** Whether new connections are ended at once. */
  refuses = false;

  constructor(port) {
    this.target = port;
  }

  async start() {
    this.#server = net.createServer((socket) => this.#connect(socket)).listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = this.#server.address().port;
    return this;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  #connect(socket) {
    if (this.refuses) {
      socket.on('error', () => {}).destroy();
      return;
    }
    const upstream = net.connect(this.target, '127.0.0.1');
    const one = { socket, upstream, sent: '', isHeld: false, held: [], asked: undefined };
    this.#connections.add(one);
    const end = () => {
      this.#connections.delete(one);
      socket.destroy();
      // What is on its way arrives, though nobody waits for it.
      if (one.asked === undefined) upstream.destroy();
    };
    for (const side of [socket, upstream]) {
      side.setNoDelay(true);
      side.on('error', end).on('close', end);
    }
    socket.on('data', (data) => {
      one.sent = (one.sent + data.toString('latin1')).slice(-10_000);
      if (one.asked) one.asked.push(data);
      else this.#pass(data, upstream);
    });
    upstream.on('data', (data) => {
      if (one.isHeld) one.held.push(data);
      else this.#pass(data, socket);
    });
  }

  #pass(data, to) {
    if (this.delay === 0) to.write(data);
    else setTimeout(() => to.writable && to.write(data), this.delay);
  }

  /** The connections, those that have sent a text. */
  #of(text) {
    return [...this.#connections].filter(({ sent }) => sent.includes(text));
  }

  /** Whether a connection has sent a text lately. */
  hasSent(text) {
    return this.#of(text).length > 0;
  }

  /** Keeps back what the server says to the connections that track. */
  holdPushes() {
    for (const one of this.#of('TRACKING')) one.isHeld = true;
  }

  /** Keeps back what the server says to all other connections, or to those of them that have sent a text lately. */
  holdReplies(text = '') {
    const tracking = this.#of('TRACKING');
    for (const one of this.#of(text)) one.isHeld = !tracking.includes(one);
  }

  /** Keeps back what clients ask, also when their connections end. Returns what lets it arrive. */
  holdRequests() {
    const all = [...this.#connections];
    for (const one of all) one.asked = [];
    return () => {
      for (const { asked, upstream } of all) for (const data of asked) upstream.write(data);
    };
  }

  /** How many pieces of what clients ask are kept back. */
  get asked() {
    return [...this.#connections].reduce((sum, { asked }) => sum + (asked?.length ?? 0), 0);
  }

  /** How many pieces of what the server said are kept back. */
  get held() {
    return [...this.#connections].reduce((sum, { held }) => sum + held.length, 0);
  }

  release() {
    for (const one of this.#connections) {
      one.isHeld = false;
      for (const data of one.held.splice(0)) one.socket.write(data);
    }
  }

  /** Ends the connections that have sent a text lately. */
  cutThose(text) {
    for (const { socket } of this.#of(text)) socket.destroy();
  }

  /** Ends the connections that track. */
  cutTracking() {
    this.cutThose('TRACKING');
  }

  /** Ends all other connections. */
  cutCommands() {
    const tracking = this.#of('TRACKING');
    for (const one of [...this.#connections]) if (!tracking.includes(one)) one.socket.destroy();
  }

  /** Ends all connections. */
  cut() {
    for (const { socket } of [...this.#connections]) socket.destroy();
  }

  async remove() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/**
 * One `describe` for each server. Without a server the tests are skipped; with `REMOTE_TESTS=required` those of each that is not there fail.
 *
 * @param {string} title
 * @param {(given: { program: string }) => void} tests
 */
function describeServers(title, tests) {
  const isPossible = Number(process.versions.node.split('.')[0]) >= 20;
  const isRequired = isPossible && process.env.REMOTE_TESTS === 'required';
  for (const program of isRequired ? PROGRAMS : isPossible ? SERVERS : []) {
    describe(`${title}, ${program}`, () => {
      if (SERVERS.includes(program)) tests({ program });
      else it(`needs ${program} in the PATH`, () => assert.fail(`${program} is not there`));
    });
  }
  if (isPossible && (isRequired || SERVERS.length > 0)) return;
  const why = isPossible ? 'no valkey-server or redis-server' : 'the clients need Node.js 20';
  describe(title, () => it.skip(why, () => {}));
}

/** Makes a client of each library. */
const CLIENTS = {
  'redis 6': (url) => require('redis').createClient({ url }),
  'redis 5': (url) => require('redis-5').createClient({ url }),
  'ioredis 6': (url) => new (require('ioredis').Redis)(url),
  'ioredis 5': (url) => new (require('ioredis-5').Redis)(url),
};

/** Ends a client. */
function endClient(client) {
  if (typeof client.destroy === 'function') {
    if (client.isOpen) client.destroy();
  } else {
    client.disconnect();
  }
}

/** Whether a server is built with TLS. Then it misses the certificate, and ends. */
function speaksTls(program) {
  const args = ['--port', '0', '--tls-port', '0', '--tls-cluster', 'yes'];
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 10_000 });
  return /tls-cert-file/.test(`${stdout}${stderr}`);
}

module.exports = {
  CLIENTS,
  Proxy,
  describeServers,
  endClient,
  speaksTls,
  startSentinel,
  startServer,
};
