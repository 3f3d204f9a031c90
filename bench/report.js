'use strict';

const os = require('node:os');

/** Figures are compared with these, pair by pair: how many times faster ours is. */
const BASELINES = ['1.7.4', '1.5.24'];
/** In sections without these, with these: how many times longer ours takes. */
const PEERS = ['lru-cache', 'lru-json'];

/** What a section is compared with, and how the ratio of a pair is made. */
function comparison(implementations) {
  const names = implementations.map(({ name }) => name);
  if (names.includes(BASELINES[0])) {
    return {
      names: BASELINES,
      ratio: (other, ours) => other / ours,
      head: (label) => `${label} ÷ this`,
    };
  }
  const present = PEERS.filter((name) => names.includes(name));
  return {
    names: present,
    ratio: (other, ours) => ours / other,
    head: (label) => `this ÷ ${label}`,
  };
}
/**
 * Rows without a ratio: a store outside the V8 heap has next to none there, and resident memory covers both; a speed is a
 * ratio itself.
 */
const isUncompared = (name) =>
  ['heap', 'shared', 'worker'].includes(name) || name.includes(' speed of ');

function quantile(figures, q) {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at));
}

/** Where the figures come from. */
function environment() {
  const cpus = os.cpus();
  return {
    date: new Date().toISOString(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus.length > 0 ? cpus[0].model.trim() : 'unknown',
    cores: cpus.length,
  };
}

/**
 * The medians of a race, and the ratios: baseline's figure ÷ ours, above 1 when ours is the faster or smaller one; or,
 * where only an in-process cache takes part, ours ÷ its figure.
 * A ratio is the median of the ratios of pairs, `low` and `high` are their quartiles.
 */
function summarize({ rows, failures, implementations }) {
  const titles = [...rows.values()].map(({ title }) => title);
  const compared = comparison(implementations);
  return {
    failures,
    rows: [...rows.values()].map(({ name, title, samples }) => {
      const medians = {};
      for (const one of implementations) {
        // A failure leaves no figure: what went right before it must not stand for the whole.
        // One that is not of a certain row (a start, a fill) is of all rows.
        const failed = failures.some(
          ({ implementation, where }) =>
            implementation === one.name && (where === title || !titles.includes(where)),
        );
        const figures = Object.values(samples[one.name] || {});
        if (!failed && figures.length > 0) medians[one.name] = quantile(figures, 0.5);
      }
      const ratios = {};
      for (const baseline of compared.names) {
        if (isUncompared(name) || !(medians.ours > 0 && medians[baseline] > 0)) continue;
        const pairs = Object.keys(samples.ours).filter((pair) => pair in samples[baseline]);
        const ratio = pairs.map((pair) =>
          compared.ratio(samples[baseline][pair], samples.ours[pair]),
        );
        ratios[baseline] = {
          median: quantile(ratio, 0.5),
          low: quantile(ratio, 0.25),
          high: quantile(ratio, 0.75),
          pairs: ratio.length,
        };
      }
      return { name, title, medians, ratios, samples };
    }),
  };
}

const figure = (value) =>
  value === undefined ? 'failed' : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);

const ratioText = (ratio) =>
  ratio ? `${ratio.median.toFixed(2)} (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)})` : '–';

/** Prints a section as an aligned table, and its failures. */
function printSection({ title, unit, rows, failures }, implementations) {
  const { names, head } = comparison(implementations);
  const labels = names.map((one) => implementations.find(({ name }) => name === one)?.label ?? one);
  const header = [`  ${unit}`, ...implementations.map(({ label }) => label), ...labels.map(head)];
  const table = [
    header,
    ...rows.map((row) => [
      `  ${row.title}`,
      ...implementations.map(({ name }) => figure(row.medians[name])),
      ...names.map((one) => ratioText(row.ratios[one])),
    ]),
  ];
  const widths = header.map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const lines = table.map((line) =>
    line
      .map((cell, n) => (n === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[n] + 2)))
      .join(''),
  );
  const seen = new Map();
  for (const failure of failures) {
    const where = `${failure.implementation}, ${failure.where}`;
    if (!seen.has(where)) seen.set(where, { error: failure.error, times: 0 });
    seen.get(where).times += 1;
  }
  for (const [where, { error, times }] of seen) {
    lines.push(`  FAILED: ${where} (${times} times): ${error}`);
  }
  process.stdout.write(`${title}\n${lines.join('\n')}\n\n`);
}

module.exports = { environment, printSection, summarize };
