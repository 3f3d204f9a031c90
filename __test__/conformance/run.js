'use strict';

/**
 * Runs the mocha suites that the original's published packages carry, unmodified, against this package.
 *
 *   node __test__/conformance/run.js [--package DIR] [--original] [--transport KIND] [VERSION...]
 *
 * `--package` names an installed copy to measure instead of this checkout; with `--original` the originals run their
 * own tests, which tells what they can be expected to give on this machine. `--transport`, `shared-memory` or `ipc`, is what
 * the workers' calls go through; each in turn, without it.
 */

const { spawn } = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { parseArgs } = require('util');
const { TRANSPORTS, ENV_OF } = require('../helpers/agents');

const hook = path.join(__dirname, 'hook.js');
const checkout = path.resolve(__dirname, '../..');
const mocha = require.resolve('mocha/bin/_mocha');

/** The suites by the name of the version; what `spec` is relative to is the original. */
const SUITES = {
  '1.7.4': { version: '1.7.4', spec: 'test', workers: true },
  '1.7.4 awaited': { version: '1.7.4', spec: path.join(__dirname, 'awaited.js') },
  '1.5.24': { version: '1.5.24', spec: 'test', workers: true },
};

/** What this package's workers log of the shared memory. */
const LOG = 'lru-cache-for-clusters-as-promised-worker';

/** A port that nobody listens on. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Where the original of a version is installed. */
function originalOf(version) {
  const manifest = require.resolve(`lru-cache-for-clusters-${version}/package.json`);
  const installed = JSON.parse(fs.readFileSync(manifest, 'utf8')).version;
  if (installed !== version) {
    throw new Error(`lru-cache-for-clusters-${version} is installed as version ${installed}`);
  }
  return fs.realpathSync(path.dirname(manifest));
}

/**
 * Runs one suite in a process of its own.
 *
 * @param {keyof SUITES} name
 * @param {string} [directory] the package that answers; none: the original itself
 * @param {'shared-memory' | 'ipc'} [transport] what its workers' calls go through
 * @returns {Promise<{ passed: string[], failed: { title: string, message: string }[], attached: number }>} `attached`:
 * how many times a worker got hold of a store, and had the shared memory from then on
 */
async function run(name, directory, transport) {
  const { version, spec } = SUITES[name];
  const original = originalOf(version);
  const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'conformance-'));
  const report = path.join(temporary, 'report.json');
  try {
    const args = [mocha, '--no-config', '--no-package', '--timeout', '20000', '--exit', spec];
    args.push('--reporter', 'json', '--reporter-option', `output=${report}`);
    // Node hands its own options on to the workers it forks.
    if (directory) args.unshift('--require', hook);
    const { code, output } = await execute(args, {
      cwd: original,
      env: {
        ...process.env,
        ...(directory && { ...ENV_OF[transport], DEBUG: LOG }),
        PORT: String(await freePort()),
        CONFORMANCE_ORIGINAL: original,
        CONFORMANCE_PACKAGE: directory ? path.resolve(directory) : original,
      },
    });
    if (!fs.existsSync(report)) {
      throw new Error(`${name}: mocha ended with ${code} and no report\n${output}`);
    }
    const { passes, failures } = JSON.parse(fs.readFileSync(report, 'utf8'));
    return {
      passed: passes.map((test) => test.fullTitle),
      failed: failures.map(({ fullTitle, err }) => ({ title: fullTitle, message: err.message })),
      attached: output.match(new RegExp(`^${LOG} \\d+ attached `, 'gm'))?.length ?? 0,
    };
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

/** Runs Node to its end. */
function execute(args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, options);
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.stderr.on('data', (data) => (output += data));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      package: { type: 'string', default: checkout },
      original: { type: 'boolean' },
      transport: { type: 'string' },
    },
  });
  for (const name of positionals.length > 0 ? positionals : Object.keys(SUITES)) {
    const transports = values.transport ? [values.transport] : TRANSPORTS;
    for (const transport of values.original || !SUITES[name].workers ? [undefined] : transports) {
      const directory = values.original ? undefined : values.package;
      const { passed, failed, attached } = await run(name, directory, transport);
      const count = `${passed.length} of ${passed.length + failed.length} passed`;
      const how = transport
        ? `, transport: ${transport} (a store was attached ${attached} times)`
        : '';
      console.log(`${name}${how}: ${count}`);
      for (const { title, message } of failed) console.log(`  failed: ${title}\n    ${message}`);
      if (failed.length > 0) process.exitCode = 1;
    }
  }
}

if (require.main === module) main();

module.exports = { run, checkout };
