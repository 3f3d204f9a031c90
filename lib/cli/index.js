#!/usr/bin/env node
'use strict';

/**
 * The command `lru-cache-for-clusters-as-promised`: looks at, and into, the caches in shared memory of the applications that
 * this user runs on this machine. What reads leaves recency and statistics alone.
 */

const { parseArgs, inspect } = require('util');
const { setTimeout: sleep } = require('timers/promises');
const { name, version } = require('../../package.json');
const { Refused, cacheOf, isStopped, runningCaches } = require('./stores');
const { bytes, count, cut, percent, printable, styled, table } = require('./text');

const HELP = `Usage: ${name} COMMAND [OPTIONS]

  list                     the caches of the applications that run
  stats [NAMESPACE]        their statistics
  keys NAMESPACE           the keys, most recent first
  get NAMESPACE KEY        the value of a key
  delete NAMESPACE KEY     removes an entry
  reset NAMESPACE          removes all entries

  --pid PID                the caches of this process alone
  --prefix TEXT            keys: those that begin with it
  --watch                  stats, list: again and again
  --interval SECONDS       with --watch: how often (1)
  --json                   JSON instead of tables
  --help, --version

Caches that lie in shared memory are there: those of clusters on Linux that have workers, and of workers without a primary.`;

const OPTIONS = /** @type {const} */ ({
  pid: { type: 'string' },
  prefix: { type: 'string' },
  watch: { type: 'boolean' },
  interval: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
  version: { type: 'boolean' },
});

/** How many words each command takes after its name. */
const COMMANDS = {
  list: { run: list, least: 0, most: 0 },
  stats: { run: stats, least: 0, most: 1 },
  keys: { run: keys, least: 1, most: 1 },
  get: { run: get, least: 2, most: 2 },
  delete: { run: remove, least: 2, most: 2 },
  reset: { run: reset, least: 1, most: 1 },
};

const write = (text) => process.stdout.write(`${text}\n`);
const writeJson = (value) => write(JSON.stringify(value));

/** A value, or a part of one, as JSON can have it. */
const jsonOf = (value) => (typeof value === 'bigint' ? String(value) : (value ?? null));

/** A key as a table shows it. Those that are no strings are written as in code. */
const keyText = (key) => (typeof key === 'string' ? printable(key) : inspect(key));

const NOTHING =
  'no application of this user has a cache in shared memory.\n' +
  'Caches of other users, of other containers, and of processes that use IPC or are alone are not shown.';

/**
 * The statistics of a cache, or why there are none.
 *
 * @returns {Promise<{ cache: any, stats?: any, problem?: string }>}
 */
async function looked(cache) {
  try {
    return { cache, stats: await cache.use((opened) => opened.stats()) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { cache, problem: error.message };
  }
}

/** What JSON has of a cache. @param {{ cache: any, stats?: any, problem?: string }} looked */
const summary = ({ cache, stats: found, problem }) => ({
  namespace: cache.namespace,
  pids: cache.pids,
  stopped: cache.pids.filter(isStopped),
  command: cache.command,
  ...found,
  ...(problem !== undefined && { problem }),
});

/** The processes of a cache, with those that are stopped. */
function processText({ pids }) {
  const stopped = pids.filter(isStopped).length;
  return `${pids.length}${stopped > 0 ? ` (${stopped} stopped)` : ''}`;
}

/** Below a table: what could not be read. */
function problems(all) {
  return all
    .filter(({ problem }) => problem !== undefined)
    .map(({ problem }) => `\n${styled('yellow', printable(problem))}`)
    .join('');
}

async function list({ pid, json }) {
  const all = await Promise.all(runningCaches({ pid }).map(looked));
  if (json) return void writeJson(all.map(summary));
  if (all.length === 0) return void process.stderr.write(`${NOTHING}\n`);
  const rows = all.map(({ cache, stats: found }) => [
    printable(cut(cache.namespace || '?', 40)),
    { right: found ? count(found.entries) : '-' },
    { right: found ? bytes(found.size) : '-' },
    { right: found ? percent(found.hits, found.hits + found.misses) : '-' },
    { right: processText(cache) },
    { right: String(cache.pids[0]) },
    printable(cut(cache.command, 60)),
  ]);
  const titles = ['NAMESPACE', 'ENTRIES', 'SIZE', 'HITS', 'PROCESSES', 'PID', 'COMMAND'];
  write(table(titles, rows) + problems(all));
}

async function stats({ pid, json }, namespace) {
  if (namespace !== undefined) return one(cacheOf(namespace, pid), json);
  const all = await Promise.all(runningCaches({ pid }).map(looked));
  if (json) return void writeJson(all.map(summary));
  if (all.length === 0) return void process.stderr.write(`${NOTHING}\n`);
  const fields = ['hits', 'misses', 'sets', 'deletes', 'evictions', 'expirations', 'entries'];
  const rows = all.map(({ cache, stats: found }) => [
    printable(cut(cache.namespace || '?', 40)),
    ...fields.map((field) => ({ right: found ? count(found[field]) : '-' })),
    { right: found ? bytes(found.size) : '-' },
    { right: found ? bytes(found.bytes) : '-' },
    { right: found ? percent(found.hits, found.hits + found.misses) : '-' },
  ]);
  const titles = fields.map((field) => field.toUpperCase());
  write(table(['NAMESPACE', ...titles, 'SIZE', 'MEMORY', 'HIT RATE'], rows) + problems(all));
}

/** The statistics of one cache, a line each. */
async function one(cache, json) {
  const found = await cache.use((opened) => opened.stats());
  if (json) return void writeJson(summary({ cache, stats: found }));
  const inBytes = ['size', 'bytes', 'maxSize'];
  const rows = Object.entries(found).map(([field, value]) => [
    field,
    { right: inBytes.includes(field) ? bytes(value) : count(value) },
  ]);
  rows.push(['hit rate', { right: percent(found.hits, found.hits + found.misses) }]);
  write(table([printable(cut(cache.namespace, 40)), ''], rows));
}

async function keys({ pid, json, prefix }, namespace) {
  const options = prefix === undefined ? undefined : { prefix };
  const found = await cacheOf(namespace, pid).use((opened) => opened.keys(options));
  if (json) return void writeJson(found.map(jsonOf));
  if (found.length > 0) write(found.map(keyText).join('\n'));
}

/** The keys that a word may mean, most likely first: a string, or else a number, a boolean, `null`. */
function keysOf(word) {
  const found = [word];
  if (/^-?\d+n$/.test(word)) found.push(BigInt(word.slice(0, -1)));
  try {
    const parsed = JSON.parse(word);
    if (parsed === null || ['number', 'boolean'].includes(typeof parsed)) found.push(parsed);
  } catch {
    // Then it is text alone.
  }
  return found;
}

/** The key of a cache that a word means. An entry that has expired is none. */
async function find(cache, word) {
  for (const key of keysOf(word)) {
    // `has` changes nothing, where `peek` would remove an entry that has expired.
    if (await cache.use((opened) => opened.has(key))) return key;
  }
  throw new Refused(`the cache ${cache.namespace} has no entry ${word}`);
}

async function get({ pid, json }, namespace, word) {
  const cache = cacheOf(namespace, pid);
  const key = await find(cache, word);
  const value = await cache.use((opened) => opened.peek(key));
  if (json) return void write(JSON.stringify(jsonOf(value), (_, part) => jsonOf(part)));
  const colors = Boolean(process.stdout.isTTY) && !process.env.NO_COLOR;
  const isText = typeof value === 'string';
  write(
    isText
      ? process.stdout.isTTY
        ? printable(value)
        : value
      : inspect(value, { depth: null, colors }),
  );
}

async function remove({ pid, json }, namespace, word) {
  const cache = cacheOf(namespace, pid);
  const key = await find(cache, word);
  await cache.use((opened) => opened.del(key));
  if (json) writeJson(true);
}

async function reset({ pid, json }, namespace) {
  await cacheOf(namespace, pid).use((opened) => opened.reset());
  if (json) writeJson(true);
}

/** A number that an option gives. */
function numberOf(option, text, isRight) {
  const number = Number(text);
  if (!isRight(number)) throw new Refused(`--${option} ${text}: no such number`);
  return number;
}

async function main() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS });
  const [command, ...words] = positionals;
  if (values.version) return void write(version);
  if (values.help || command === undefined) return void write(HELP);
  if (!Object.hasOwn(COMMANDS, command)) {
    throw new Refused(`no such command: ${command}\n\n${HELP}`);
  }
  const { run, least, most } = COMMANDS[command];
  if (words.length < least || words.length > most) {
    throw new Refused(
      `${command} takes ${least === most ? least : `${least} to ${most}`} words after it\n\n${HELP}`,
    );
  }
  const pid =
    values.pid === undefined
      ? undefined
      : numberOf('pid', values.pid, (id) => Number.isInteger(id) && id > 0);
  const seconds = numberOf(
    'interval',
    values.interval ?? 1,
    (number) => number > 0 && number < 1e6,
  );
  const options = { ...values, pid };
  if (!values.watch || !['list', 'stats'].includes(command)) {
    await run(options, ...words);
    return;
  }
  for (;;) {
    // From the top, and what was below goes.
    if (process.stdout.isTTY && !values.json) process.stdout.write('\u001b[H\u001b[2J');
    await run(options, ...words);
    await sleep(1000 * seconds);
  }
}

// A reader that has seen enough, such as `head`.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));

main().catch((error) => {
  const isUsers = error instanceof Refused || String(error.code).includes('PARSE_ARGS');
  process.stderr.write(`${isUsers ? printableLines(error.message) : error.stack}\n`);
  process.exitCode = 1;
});

const printableLines = (text) => text.split('\n').map(printable).join('\n');
