'use strict';

// The command: what it shows of applications that run, and that looking changes nothing.

const assert = require('node:assert/strict');
const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const Cache = require('..');
const { bin, version } = require('../package.json');
const { FIELDS } = require('../lib/stats');
const { bytes, printable, table } = require('../lib/cli/text');
const { describeShared, processes, unique, until } = require('./helpers');

const COMMAND = path.join(__dirname, '..', Object.values(bin)[0]);

/** Runs the command. Without `status`, it must succeed. */
function run(args, { status = 0, ...options } = {}) {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [COMMAND, ...args], options, (error, stdout, stderr) => {
      const outcome = { status: error ? error.code : 0, stdout, stderr };
      if (outcome.status === status) resolve(outcome);
      else reject(new Error(`${args.join(' ')}: ${JSON.stringify(outcome)}`));
    });
  });
}

/** What it says where it refuses. */
const refused = async (...args) => (await run(args, { status: 1 })).stderr;

const jsonOf = async (...args) => JSON.parse((await run([...args, '--json'])).stdout);

describe('texts of the command', () => {
  it('do no harm to a terminal', () => {
    assert.equal(printable('a\u001b[31m\nü😀'), 'a\\u001b[31m\\u000aü😀');
    assert.equal(printable('\u202egpj'), '\\u202egpj');
  });

  it('tables have numbers to the right', () => {
    const rows = [
      ['a', { right: '1' }],
      ['long name', { right: '1,000' }],
    ];
    assert.deepEqual(table(['NAME', 'N'], rows).split('\n'), [
      'NAME           N',
      'a              1',
      'long name  1,000',
    ]);
    assert.equal(table(['NAME', 'N'], []), 'NAME  N');
  });

  it('bytes for people', () => {
    const shown = [0, 1023, 1024, 20_000, 5 * 2 ** 20, 2 ** 43, Infinity].map(bytes);
    assert.deepEqual(shown, ['0 B', '1023 B', '1.0 KiB', '20 KiB', '5.0 MiB', '8.0 TiB', '-']);
  });
});

describe('use of the command', () => {
  it('help and version', async () => {
    const { stdout: help } = await run(['--help']);
    assert.equal((await run([])).stdout, help);
    for (const command of ['list', 'stats', 'keys', 'get', 'delete', 'reset'])
      assert.match(help, new RegExp(`^ {2}${command}\\b`, 'm'));
    assert.equal((await run(['--version'])).stdout, `${version}\n`);
  });

  it('what it does not know it says', async () => {
    assert.match(await refused('nonsense'), /^no such command: nonsense/);
    assert.match(await refused('get', 'name'), /^get takes 2 words/);
    assert.match(await refused('list', '--nonsense'), /--nonsense/);
    assert.match(await refused('list', '--pid', 'x'), /^--pid x/);
    assert.match(await refused('list', '--watch', '--interval', '-1'), /interval/);
  });
});

describeShared('the command, on applications that run', () => {
  const { worker: start, primary: startPrimary } = processes();
  const pid = String(process.pid);
  let worker;
  before(async () => {
    worker = await start({ transport: 'shared-memory' });
  });

  /** A namespace of this process and its worker, with entries. */
  async function filled(name = unique('command')) {
    const cache = await worker.open({ namespace: name, timeout: 10_000, maxSize: 1e6 });
    await cache.set('user:1', { name: 'Ada' });
    await cache.set('user:2', 'text');
    await cache.set(7, [1, 2]);
    await cache.set('old', 1, -1);
    await cache.get('user:1');
    await cache.get('none');
    return { name, cache };
  }

  it('looks, and leaves recency, statistics and expired entries alone', async () => {
    const { name, cache } = await filled();
    const state = async () => [await cache.keys(), { ...(await cache.stats()), near: undefined }];
    const before = await state();
    const all = await jsonOf('list');
    const stats = await jsonOf('stats', name);
    const found = all.find(({ namespace }) => namespace === name);
    assert.deepEqual(found, stats);
    for (const field of FIELDS) assert.equal(stats[field], before[1][field], field);
    assert.ok(stats.pids.includes(process.pid) && stats.pids.includes(worker.child.pid));
    assert.equal(stats.processes, 1);
    assert.deepEqual(await jsonOf('keys', name), before[0]);
    assert.deepEqual(await jsonOf('keys', name, '--prefix', 'user:'), ['user:1', 'user:2']);
    assert.deepEqual(await jsonOf('keys', name, '--prefix', 'o'), [], 'it has expired');
    assert.deepEqual(await jsonOf('keys', name, '--prefix', ''), ['user:1', 'user:2']);
    assert.deepEqual(await jsonOf('get', name, 'user:1'), { name: 'Ada' });
    assert.equal((await run(['get', name, 'user:2'])).stdout, 'text\n');
    assert.equal((await run(['get', name, '7'])).stdout, '[ 1, 2 ]\n');
    assert.match(await refused('get', name, 'old'), /has no entry old/);
    assert.match(await refused('get', name, 'none'), /has no entry none/);
    assert.match((await run(['list', '--pid', pid])).stdout, new RegExp(`^${name} +4 `, 'm'));
    assert.match((await run(['stats'])).stdout, new RegExp(`^${name} +1 +1 +4 +0 `, 'm'));
    assert.match((await run(['stats', name])).stdout, /^hit rate +50.0 %$/m);
    assert.deepEqual(await state(), before);
  });

  it('deletes an entry, and all of them', async () => {
    const { name, cache } = await filled();
    await run(['delete', name, 'user:1']);
    await run(['delete', name, '7']);
    assert.deepEqual(await cache.keys(), ['old', 'user:2']);
    assert.match(await refused('delete', name, 'user:1'), /has no entry/);
    assert.equal(await jsonOf('reset', name), true);
    assert.equal(await cache.length(), 0);
    assert.equal((await run(['keys', name])).stdout, '');
  });

  it('is not counted among the processes', async () => {
    const { name, cache } = await filled();
    for (let round = 0; round < 3; round += 1) await run(['stats', name]);
    assert.equal((await cache.stats()).processes, 1);
    await new Cache({ namespace: name }).get('key');
    assert.equal((await jsonOf('stats', name)).processes, 2);
  });

  it('a value that the primary keeps by reference is one that it cannot read', async () => {
    const { name } = await filled();
    await new Cache({ namespace: name }).set('here', { by: 'reference' });
    assert.match(await refused('get', name, 'here'), /kept by reference in the primary/);
  });

  it('names and keys do no harm to a terminal', async () => {
    const { name, cache } = await filled(`${unique('command')}\u001b[31m`);
    await cache.set('key\u0007', '\u001b]0;title\u0007');
    for (const args of [['list'], ['stats'], ['keys', name], ['stats', name]]) {
      const { stdout } = await run(args);
      assert.ok(!stdout.includes('\u001b[31m') && !stdout.includes('\u0007'), stdout);
    }
  });

  it('watches', async () => {
    const { name, cache } = await filled();
    const child = spawn(process.execPath, [
      ...[COMMAND, 'stats', name, '--watch', '--interval', '0.05', '--json'],
    ]);
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    const counts = () =>
      output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line).sets);
    await until(() => counts().includes(4));
    await cache.set('more', 1);
    await until(() => counts().includes(5));
    child.kill('SIGINT');
    const [code, signal] = await once(child, 'close');
    assert.deepEqual([code, signal], [null, 'SIGINT']);
  });

  it('what is not there it says', async () => {
    const none = unique('no such');
    assert.match(await refused('keys', none), /no running application of this user has a cache/);
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)']);
    assert.match(
      await refused('list', '--pid', String(child.pid)),
      /has no cache in shared memory/,
    );
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.match(await refused('list', '--pid', String(child.pid)), /there is no process/);
  });

  /** Another application, with a cache. */
  async function application(namespace) {
    const primary = await startPrimary();
    const pids = await primary.run(async ({ Cache: Class, state, require: load }, name) => {
      const { startWorker } = load('./agents');
      state.cache = await Class.getInstance({ namespace: name });
      state.worker = await startWorker({ transport: 'shared-memory' });
      await state.worker.run(async (_, given) => {
        const cache = await _.Cache.getInstance({ namespace: given, timeout: 10_000 });
        await cache.set('key', process.pid);
      }, name);
      return [process.pid, state.worker.child.pid];
    }, namespace);
    return { primary, pids };
  }

  it('of two applications with one name it wants to know which', async () => {
    const namespace = unique('twice');
    const [one, two] = await Promise.all([application(namespace), application(namespace)]);
    const message = await refused('get', namespace, 'key');
    for (const { pids } of [one, two]) {
      assert.ok(message.includes(`--pid ${Math.min(...pids)} `), message);
      for (const each of pids) {
        assert.equal(await jsonOf('get', namespace, 'key', '--pid', String(each)), pids[1]);
      }
    }
  });

  it('of a process that is stopped with the lock it says that', async () => {
    const namespace = unique('stopped');
    const { primary, pids } = await application(namespace);
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'command-')), 'has the lock');
    primary
      .run(async ({ state, require: load }, name) => {
        // A function of the application has the lock while it runs.
        state.cache.getCache().hold = () => {
          load('node:fs').writeFileSync(name, '');
          const end = performance.now() + 60_000;
          while (performance.now() < end);
        };
        await state.cache.execute('hold');
      }, file)
      .catch(() => {});
    await until(() => fs.existsSync(file));
    primary.child.kill('SIGSTOP');
    const message = await refused('keys', namespace);
    assert.match(message, new RegExp(`process ${pids[0]} is stopped while it has the lock`));
    const [{ problem, stopped }] = await jsonOf('list', '--pid', String(pids[0]));
    assert.match(problem, /is stopped/);
    assert.deepEqual(stopped, [pids[0]]);
    await primary.kill();
    process.kill(pids[1], 'SIGKILL');
    fs.rmSync(path.dirname(file), { recursive: true });
  });

  it('of memory that is damaged it says that', async () => {
    const namespace = unique('damaged');
    const { primary, pids } = await application(namespace);
    const links = fs.readdirSync(`/proc/${pids[0]}/fd`).map((fd) => `/proc/${pids[0]}/fd/${fd}`);
    const memory = links.find((link) => {
      try {
        return fs.readlinkSync(link).includes('lru-cache-for-clusters:');
      } catch {
        return false;
      }
    });
    const file = fs.openSync(memory, 'r+');
    fs.writeSync(file, Buffer.alloc(8, 1), 0, 8, 0);
    fs.closeSync(file);
    const [{ problem }] = await jsonOf('stats', '--pid', String(pids[0]));
    assert.match(problem, /damaged/);
    await primary.kill();
  });

  it('of another user it says whose it is', async function () {
    if (process.getuid() !== 0) this.skip();
    const { primary, pids } = await application(unique('user'));
    // Only the one who runs the command is another: what it reads must be readable for all.
    const asNobody = { status: 1, uid: 65534, gid: 65534, cwd: '/' };
    const outcome = await run(['list', '--pid', String(pids[0])], asNobody).catch((error) => error);
    if (/EACCES|Cannot find module/.test(outcome.message ?? '')) this.skip();
    assert.match(outcome.stderr, /belongs to the user with the id 0: run the command as that user/);
    await primary.kill();
  });
});
