'use strict';

/**
 * `node scripts/command-picture.js [PICTURE.svg]`: a picture of what the command `stats --watch` shows, of a cluster that
 * this script starts and keeps busy. Without a file it goes to the standard output. The SVG needs nothing else and follows
 * the reader's light or dark mode. Needs Linux: the command shows shared memory.
 */

const cluster = require('node:cluster');
const { execFileSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const LRUCache = require('..');
const { name, bin } = require('../package.json');

const WORKERS = 4;
const CALLS = 20_000;
const COLUMN = 7.3; // px of a character
const LINE = 19;
const MARGIN = 18;

const escape = (text) =>
  text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

/** The caches of the cluster: their options, their keys, and how many of all calls they get. */
const CACHES = [
  { options: { namespace: 'pages', max: 2000 }, keys: 12_000, part: 0.6, bytes: 4000 },
  { options: { namespace: 'sessions', maxAge: 1_800_000 }, keys: 3000, part: 0.3, bytes: 300 },
  { options: { namespace: 'flags' }, keys: 12, part: 0.1, bytes: 40 },
];

/** A worker reads, and stores what it does not find. Few keys are asked for often, as it is. */
async function work() {
  for (const { options, keys, part, bytes } of CACHES) {
    const cache = await LRUCache.getInstance({ ...options, failsafe: 'reject', timeout: 10_000 });
    for (let made = 0; made < CALLS * part; made += 1) {
      const key = `${options.namespace}:${Math.floor(keys * Math.random() ** 8)}`;
      if ((await cache.get(key)) === undefined) await cache.set(key, { text: 'x'.repeat(bytes) });
      else if (Math.random() < 0.01) await cache.del(key);
    }
  }
  process.send('done');
}

function draw(output) {
  const lines = [`$ npx ${name} stats --watch`, '', ...output.trimEnd().split('\n')];
  const width = Math.ceil(2 * MARGIN + COLUMN * Math.max(...lines.map(({ length }) => length)));
  const height = 2 * MARGIN + LINE * lines.length - 6;
  const styles = { 0: 'prompt', 2: 'titles' };
  const texts = lines.map((line, at) => {
    const length = (COLUMN * line.length).toFixed(1);
    const y = MARGIN + 9 + LINE * at;
    const style = styles[at] ? ` class="${styles[at]}"` : '';
    return line === ''
      ? ''
      : `<text x="${MARGIN}" y="${y}" textLength="${length}"${style} xml:space="preserve">${escape(line)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>What the command stats --watch shows: a line of statistics for each cache</title>
<style>
  text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace; fill: #1f2328; white-space: pre }
  .paper { fill: #f6f8fa; stroke: #d1d9e0 } .prompt { fill: #59636e } .titles { font-weight: 700 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .paper { fill: #0d1117; stroke: #30363d } .prompt { fill: #9198a1 }
  }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" class="paper"/>
${texts.filter(Boolean).join('\n')}
</svg>
`;
}

async function main(file) {
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  await Promise.all(
    workers.map(async (worker) => {
      for (let message; message !== 'done';) [message] = await once(worker, 'message');
    }),
  );
  const command = path.join(__dirname, '..', bin[name]);
  const output = execFileSync(process.execPath, [command, 'stats', '--pid', String(process.pid)], {
    encoding: 'utf8',
  });
  const svg = draw(output);
  if (file) fs.writeFileSync(file, svg);
  else process.stdout.write(svg);
  for (const worker of workers) worker.kill();
}

if (cluster.isWorker) work();
else main(process.argv[2]);
