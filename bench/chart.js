'use strict';

/**
 * `node bench/chart.js FIGURES.json [CHART.svg]`: how many times faster or smaller this package is than 1.7.4, and how
 * fast its near reads are beside `lru-cache` 11 in the same process, from what `npm run bench -- --json FIGURES.json`
 * wrote. The SVG needs nothing else and follows the reader's light or dark mode.
 */

const fs = require('node:fs');

const BASELINE = '1.7.4';
/** What the other sections compare with: their ratios are times of this package ÷ times of these. */
const PEERS = { 'lru-cache': '', 'lru-json': ' ÷ JSON' };
const WIDTH = 760;
const LABELS = 290; // px for the row titles
const RIGHT = 80; // px for the figure after the longest bar
const LINE = 24;

const escape = (text) =>
  text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

/** 1, 2, 5, 10, 20, … up to the first that covers `limit`. */
function ticksTo(limit) {
  const ticks = [1];
  for (let n = 1; ticks.at(-1) < limit; n++) ticks.push([1, 2, 5][n % 3] * 10 ** Math.floor(n / 3));
  return ticks;
}

/** The bars of a row: how many times as fast, or as small. */
function barsOf({ title, ratios }) {
  if (ratios[BASELINE]) return [{ title, times: ratios[BASELINE].median }];
  return Object.entries(PEERS)
    .filter(([peer]) => ratios[peer])
    .map(([peer, what]) => ({ title: `${title}${what}`, times: 1 / ratios[peer].median }));
}

function draw({ node, cpu, cores, version, sections }) {
  const drawn = sections
    .map(({ title, rows }) => ({ title, rows: rows.flatMap(barsOf) }))
    .filter(({ rows }) => rows.length > 0);
  const all = drawn.flatMap(({ rows }) => rows.map(({ times }) => times));
  if (all.length === 0) throw new Error('no ratios in these figures');

  // A ratio is drawn on a logarithmic scale: twice as fast is as far from 1 as half as fast.
  const above = ticksTo(Math.max(2, ...all));
  const below = ticksTo(Math.max(1, 1 / Math.min(...all)))
    .slice(1)
    .map((tick) => 1 / tick);
  const [low, high] = [Math.min(1, ...below), above.at(-1)];
  const x = (ratio) =>
    LABELS + (Math.log(ratio / low) / Math.log(high / low)) * (WIDTH - LABELS - RIGHT);

  const out = [];
  const text = (at, y, name, content) =>
    out.push(`<text x="${at.toFixed(1)}" y="${y}" class="${name}">${escape(content)}</text>`);
  let y = 34;
  text(
    20,
    y,
    'title',
    `${version} beside ${BASELINE} (beside lru-cache 11 where a section says so): times as fast, or as small`,
  );
  y += 12;
  const top = y;
  for (const { title, rows } of drawn) {
    y += LINE + 4;
    text(20, y, 'section', title);
    y += 8;
    for (const row of rows) {
      const { times } = row;
      text(LABELS - 10, y + 15, 'row', row.title);
      const [from, to] = [x(Math.min(1, times)), x(Math.max(1, times))];
      const name = times < 1 ? 'bar slower' : 'bar';
      out.push(
        `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${Math.max(1, to - from).toFixed(1)}" ` +
          `height="${LINE - 7}" rx="2" class="${name}"/>`,
      );
      text(to + 6, y + 15, 'figure', `${times.toFixed(times < 10 ? 2 : times < 100 ? 1 : 0)}×`);
      y += LINE;
    }
  }
  const bottom = y + 6;
  const grid = [...below, ...above].map((tick) => {
    const at = x(tick).toFixed(1);
    const label = tick < 1 ? `1/${Math.round(1 / tick)}` : `${tick}×`;
    return (
      `<line x1="${at}" y1="${top + LINE + 10}" x2="${at}" y2="${bottom}" class="${tick === 1 ? 'one' : 'grid'}"/>` +
      `<text x="${at}" y="${bottom + 16}" class="tick">${label}</text>`
    );
  });
  text(
    20,
    bottom + 40,
    'note',
    `Medians; logarithmic scale. Node ${node}, ${cpu}, ${cores} cores.`,
  );
  const height = bottom + 56;

  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escape(version)} beside ${BASELINE}</title>
<style>
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
  .paper { fill: #ffffff; stroke: #d1d9e0 } .grid { stroke: #d8dee4 } .one { stroke: #59636e }
  .bar { fill: #1a7f64 } .slower { fill: #bc4c00 }
  .title { font-size: 16px; font-weight: 600 } .section { font-weight: 600 }
  .row { text-anchor: end } .tick { text-anchor: middle } .tick, .note { font-size: 12px; fill: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .paper { fill: #0d1117; stroke: #30363d } .grid { stroke: #262c36 } .one { stroke: #9198a1 }
    .bar { fill: #3fb596 } .slower { fill: #e2803a } .tick, .note { fill: #9198a1 }
  }
</style>
<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8" class="paper"/>
${[...grid, ...out].join('\n')}
</svg>
`;
}

function main([figures, chart]) {
  if (!figures) throw new Error('usage: node bench/chart.js FIGURES.json [CHART.svg]');
  const svg = draw(JSON.parse(fs.readFileSync(figures, 'utf8')));
  if (chart) fs.writeFileSync(chart, svg);
  else process.stdout.write(svg);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
