'use strict';

// The programs of examples/ that stand alone, as a stranger has them: copied into a project that has the package in its
// `node_modules`, started with `node`, and asked over HTTP by connections that reach all four workers. Those in TypeScript are
// compiled for it under strict settings, so that `await using` runs on each Node.js.

const assert = require('node:assert/strict');
const { execFileSync, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { name: packageName } = require('../package.json');
const { ENV_OF, TRANSPORTS } = require('./helpers/agents');
const { until } = require('./helpers');

const root = path.join(__dirname, '..');
const WORKERS = 4;

/** What compiles an example: strict, by the package's name, as an ES module. */
const STRICT = [
  ...[
    '--strict',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
    '--noImplicitReturns',
  ],
  ...['--isolatedModules', '--verbatimModuleSyntax', '--erasableSyntaxOnly', '--noUnusedLocals'],
  ...['--module', 'nodenext', '--target', 'es2022', '--skipLibCheck'],
  ...['--typeRoots', path.join(root, 'node_modules', '@types'), '--types', 'node'],
];

/** An example that runs. */
class Running {
  output = '';
  errors = '';

  constructor(file, env) {
    this.child = spawn(process.execPath, [file], {
      cwd: path.dirname(file),
      env: { ...process.env, NODE_CLUSTER_SCHED_POLICY: 'rr', PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.output += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.errors += text));
    this.isOver = false;
    /** How it ended. The workers have its streams, too: none of them is left then. */
    this.ended = once(this.child, 'close').then(([code, signal]) => {
      this.isOver = true;
      return code ?? signal;
    });
  }

  /** Waits until all workers serve, and says so. */
  async listening() {
    const [, port] = await until(() => {
      assert.ok(!this.isOver, `it ended: ${this.errors}`);
      return /127\.0\.0\.1:(\d+)/.exec(this.output);
    }, 30_000);
    this.port = Number(port);
    return this;
  }

  /** A request by a connection of its own. */
  ask(url, { method = 'GET', body, headers } = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request(
        { host: '127.0.0.1', port: this.port, path: url, method, headers, agent: false },
        (response) => {
          const { statusCode: status, headers: got } = response;
          textOf(response.setEncoding('utf8')).then(
            (text) => resolve({ status, headers: got, worker: got['x-worker'], text }),
            reject,
          );
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Asks until each worker has answered. All answers. */
  async askAll(url, options) {
    const answers = [];
    await until(async () => {
      answers.push(await this.ask(url, options));
      return new Set(answers.map(({ worker }) => worker)).size === WORKERS;
    });
    return answers;
  }

  /** Asks until this worker answers. */
  askOf(worker, url, options) {
    return until(async () => {
      const answer = await this.ask(url, options);
      return answer.worker === String(worker) && answer;
    });
  }

  /** Asks many times at once; several workers have answered. A worker that is busy may get no connection of them. */
  async askAtOnce(count, url, options) {
    const answers = await Promise.all(Array.from({ length: count }, () => this.ask(url, options)));
    assert.ok(new Set(answers.map(({ worker }) => worker)).size > 1);
    return answers;
  }

  async stop() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** How many answers there are of each status. */
function statuses(answers) {
  const counts = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** What is left of a response. */
async function textOf(response) {
  let text = '';
  for await (const part of response) text += part;
  return text;
}

/** The different texts of answers. */
const textsOf = (answers) => [...new Set(answers.map(({ text }) => text))];

describe('the examples', () => {
  let project;
  const fileOf = (name) =>
    path.join(
      project,
      fs.existsSync(path.join(project, `${name}.mjs`)) ? `${name}.mjs` : `${name}.js`,
    );

  before(function compile() {
    this.timeout(120_000);
    project = fs.mkdtempSync(path.join(os.tmpdir(), 'examples-test-'));
    fs.mkdirSync(path.join(project, 'node_modules'));
    // 'junction' needs no rights on Windows and is ignored elsewhere
    fs.symlinkSync(root, path.join(project, 'node_modules', packageName), 'junction');
    for (const file of fs.readdirSync(path.join(root, 'examples'))) {
      if (/\.m?[jt]s$/.test(file))
        fs.copyFileSync(path.join(root, 'examples', file), path.join(project, file));
    }
    const sources = fs.readdirSync(project).filter((file) => file.endsWith('.mts'));
    const tsc = require.resolve('typescript/bin/tsc');
    try {
      execFileSync(process.execPath, [tsc, ...STRICT, ...sources], {
        cwd: project,
        encoding: 'utf8',
      });
    } catch (error) {
      throw new Error(`the examples do not compile:\n${error.stdout}`, { cause: error });
    }
  });

  after(() => fs.rmSync(project, { recursive: true, force: true }));

  for (const transport of TRANSPORTS) {
    describe(`transport: ${transport}`, () => {
      let running;
      afterEach(() => running.stop());

      const start = (name, env) => {
        running = new Running(fileOf(name), { ...ENV_OF[transport], ...env });
        return running.listening();
      };

      /** What nobody expected would be there. */
      const assertNoErrors = () => assert.equal(running.errors, '');

      it('rate-limit: no client gets more than the limit, whichever worker it asks', async () => {
        const server = await start('rate-limit', { LIMIT: '10', WINDOW: '600' });
        const answers = await server.askAtOnce(60, '/', { headers: { 'x-api-key': 'ann' } });
        assert.deepEqual(statuses(answers), { 200: 10, 429: 50 });
        const left = answers.filter(({ status }) => status === 200);
        assert.deepEqual(
          left.map(({ headers }) => Number(headers['ratelimit-remaining'])).sort((a, b) => a - b),
          [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        );
        for (const { headers } of answers.filter(({ status }) => status === 429)) {
          const seconds = Number(headers['retry-after']);
          assert.ok(seconds > 0 && seconds <= 600, String(seconds));
        }
        const other = await server.ask('/', { headers: { 'x-api-key': 'bob' } });
        assert.equal(other.status, 200, 'another client has a limit of its own');
        assertNoErrors();
      });

      it('rate-limit: when the window is over, a client may ask again', async () => {
        const server = await start('rate-limit', { LIMIT: '1', WINDOW: '0.2' });
        await until(async () => (await server.ask('/')).status === 429);
        await until(async () => (await server.ask('/')).status === 200);
      });

      it('sessions: what one worker writes, all read, and no write is lost', async () => {
        const server = await start('sessions');
        const { headers } = await server.ask('/login?name=Ann', { method: 'POST' });
        const [sid] = headers['set-cookie'][0].split(';');
        const cookie = { headers: { cookie: sid } };
        const session = { name: 'Ann', cart: [] };
        for (const { text } of await server.askAll('/', cookie)) {
          assert.deepEqual(JSON.parse(text), session);
        }
        const items = Array.from({ length: 40 }, (_, at) => `item-${at}`);
        const added = await Promise.all(
          items.map((item) => server.ask(`/cart?item=${item}`, { ...cookie, method: 'POST' })),
        );
        assert.deepEqual(statuses(added), { 200: 40 });
        for (const { text } of await server.askAll('/', cookie)) {
          assert.deepEqual(JSON.parse(text).cart.sort(), [...items].sort());
        }
        assert.equal((await server.ask('/logout', { ...cookie, method: 'POST' })).status, 204);
        for (const { status } of await server.askAll('/', cookie)) assert.equal(status, 401);
        const late = await server.ask('/cart?item=late', { ...cookie, method: 'POST' });
        assert.equal(late.status, 401, 'a session that has ended does not come back');
        assertNoErrors();
      });

      it('jobs: a job runs once for a key, and all get its answer', async () => {
        const server = await start('jobs');
        const charge = (key, amount = 5) => [
          `/charges?amount=${amount}`,
          { method: 'POST', headers: { 'idempotency-key': key } },
        ];
        const answers = await server.askAtOnce(40, ...charge('one'));
        const counts = statuses(answers);
        assert.equal(counts[201], 1);
        assert.equal((counts[200] ?? 0) + (counts[409] ?? 0), 39);
        const again = await server.askAll(...charge('one'));
        assert.deepEqual(statuses(again), { 200: again.length });
        assert.deepEqual(textsOf(again), ['{"number":1,"amount":5}\n']);
        const others = await Promise.all(['two', 'three'].map((key) => server.ask(...charge(key))));
        assert.deepEqual(statuses(others), { 201: 2 });
        assert.deepEqual(textsOf(await server.askAll('/charges')), ['3\n']);
        assert.equal((await server.ask(...charge('wrong', 0))).status, 422);
        assert.equal(
          (await server.ask(...charge('wrong', 1))).status,
          201,
          'a failure is no answer',
        );
        assertNoErrors();
      });

      it('flags: a change in one worker counts in all', async () => {
        const server = await start('flags');
        for (const [percent, checkout] of [
          [undefined, 'the old checkout\n'],
          [100, 'the new checkout\n'],
          [0, 'the old checkout\n'],
        ]) {
          const body = JSON.stringify({ percent });
          if (percent !== undefined) await server.ask('/flags/checkout', { method: 'PUT', body });
          assert.deepEqual(textsOf(await server.askAll('/checkout?user=ann')), [checkout]);
        }
        await server.ask('/flags/checkout', { method: 'PUT', body: '{"percent":50}' });
        const users = Array.from({ length: 20 }, (_, at) => `user-${at}`);
        const seen = new Set();
        for (const user of users) {
          const texts = textsOf(await server.askAll(`/checkout?user=${user}`));
          assert.equal(texts.length, 1, `${user} gets ${texts}`);
          seen.add(texts[0]);
        }
        assert.equal(seen.size, 2);
        const flags = await server.askAll('/flags/checkout');
        assert.deepEqual(textsOf(flags), ['{"percent":50}\n']);
        for (const { headers } of flags) assert.equal(headers['x-frozen'], 'true');
        assertNoErrors();
      });

      it('tags: after a write no worker serves an old page that shows it', async () => {
        const server = await start('tags');
        const urls = ['/', '/posts/1', '/posts/2'];
        for (const url of urls) await server.askAll(url);
        assert.equal((await server.ask('/posts/1')).headers['x-cache'], 'hit');
        // Readers all the time: they make pages while posts are written.
        let isOver = false;
        let reads = 0;
        const readers = Array.from({ length: 6 }, async (_, at) => {
          while (!isOver) {
            await server.ask(urls[at % urls.length]);
            reads += 1;
          }
        });
        for (let round = 0; round < 8; round += 1) {
          const write = (body) => server.ask('/posts/1', { method: 'PUT', body });
          assert.equal((await write(`draft ${round}.`)).status, 204);
          // While pages are made of the draft, they get out of date.
          const late = urls.map((url) => server.ask(url));
          const body = `text ${round}.`;
          assert.equal((await write(body)).status, 204);
          await Promise.all(late);
          for (const url of ['/', '/posts/1']) {
            for (const { text } of await server.askAll(url))
              assert.ok(text.includes(body), `${text}${body}`);
          }
        }
        isOver = true;
        await Promise.all(readers);
        assert.ok(reads > 0);
        await server.ask('/posts/2');
        await server.ask('/posts/1', { method: 'PUT', body: 'last' });
        assert.equal((await server.ask('/posts/2')).headers['x-cache'], 'hit', 'other pages stay');
        assertNoErrors();
      });

      it('counters: they add up', async () => {
        const server = await start('counters');
        const votes = await server.askAtOnce(120, '/votes/tea', { method: 'POST' });
        const numbers = votes.map(({ text }) => Number(text)).sort((a, b) => a - b);
        assert.deepEqual(
          numbers,
          Array.from({ length: 120 }, (_, at) => at + 1),
          'each number once',
        );
        await Promise.all([
          server.askAtOnce(50, '/votes/tea', { method: 'DELETE' }),
          server.askAtOnce(30, '/votes/coffee', { method: 'POST' }),
        ]);
        for (const { text } of await server.askAll('/votes')) {
          assert.deepEqual(JSON.parse(text), { tea: 70, coffee: 30 });
        }
        assertNoErrors();
      });

      it('scan: the pages cover every key, while others write', async () => {
        const server = await start('scan');
        const put = (id) => server.ask(`/users/${id}`, { method: 'PUT', body: `name ${id}` });
        const ids = Array.from({ length: 200 }, (_, at) => `u${at}`);
        for (let at = 0; at < ids.length; at += 20)
          await Promise.all(ids.slice(at, at + 20).map(put));
        let isOver = false;
        const writers = [1, 2].map(async (writer) => {
          for (let at = 0; !isOver; at += 1) await put(`other${writer}x${at % 50}`);
        });
        const found = {};
        let pages = 0;
        for (let next = '/users?count=15'; next;) {
          const { text } = await server.askOf(1 + (pages % WORKERS), next);
          const page = JSON.parse(text);
          Object.assign(found, page.users);
          pages += 1;
          next = page.next;
        }
        isOver = true;
        await Promise.all(writers);
        assert.deepEqual(
          ids.filter((id) => found[id] !== `name ${id}`),
          [],
        );
        assert.ok(pages > 5, String(pages));
        assert.equal((await server.ask('/users?cursor=wrong')).status, 400);
        assert.equal((await server.ask('/users?count=x')).status, 400);
        assertNoErrors();
      });

      it('graceful: every request that has begun is answered, and nothing is left', async function graceful() {
        // There a process is ended by a signal at once.
        if (process.platform === 'win32') this.skip();
        const temporary = fs.mkdtempSync(path.join(project, 'tmp-'));
        const server = await start('graceful', { DELAY: '1000', TMPDIR: temporary });
        const agent = new http.Agent({ keepAlive: true });
        const answers = await Promise.all(
          Array.from({ length: 24 }, async (_, at) => {
            const connection = at % 2 === 0 ? { agent: false } : { agent };
            const request = http.get({ host: '127.0.0.1', port: server.port, ...connection });
            const [response] = await once(request, 'response');
            const [first] = await once(response.setEncoding('utf8'), 'data');
            return { worker: response.headers['x-worker'], first, rest: textOf(response) };
          }),
        );
        // All have begun.
        assert.equal(new Set(answers.map(({ worker }) => worker)).size, WORKERS);
        for (const { first } of answers) assert.match(first, /^order \d+ begins\n$/);
        server.child.kill('SIGTERM');
        const rests = await Promise.all(answers.map(({ rest }) => rest));
        const numbers = rests.map((rest) => Number(/^order (\d+) of those/.exec(rest)?.[1]));
        assert.deepEqual(
          numbers.sort((a, b) => a - b),
          rests.map((_, at) => at + 1),
        );
        assert.equal(await server.ended, 0);
        assert.match(server.output, /\nAnswered 24 requests\n$/);
        assert.deepEqual(fs.readdirSync(temporary), []);
        await assert.rejects(server.ask('/'), { code: 'ECONNREFUSED' });
        agent.destroy();
        assertNoErrors();
      });
    });
  }
});
