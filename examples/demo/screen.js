'use strict';

/** What the demo shows: on a terminal one block that is drawn over, elsewhere a line a second. */

const number = (n) => Math.round(n).toLocaleString('en-US');
const percent = (part, whole) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '-');
const ms = (micros) => `${(micros / 1000).toFixed(micros < 10_000 ? 1 : 0)} ms`;
const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const hitRate = (requests, misses) => percent(requests - misses, requests);

/** Rows of cells as lines: the first column left-aligned, the others right-aligned. */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const align = (cell, n) => (n === 0 ? cell.padEnd(widths[n]) : cell.padStart(widths[n]));
  return rows.map((row) => row.map(align).join('   '));
}

/** The shared cache beside the two ways to have a cache in each worker. */
function cacheTable({ requests, shared, share, copy, workers, cacheMax, entryBytes }) {
  const row = (label, of) => [label, of(shared), of(share), of(copy)];
  return table([
    ['Caches', 'one shared', 'per worker', 'per worker'],
    [
      'entries at most',
      number(cacheMax),
      `${workers} x ${number(Math.floor(cacheMax / workers))}`,
      `${workers} x ${number(cacheMax)}`,
    ],
    row('calls to the slow source', ({ misses }) => number(misses)),
    row('hit rate', ({ misses }) => hitRate(requests, misses)),
    row('entries held', ({ entries }) => number(entries)),
    row('JSON held', ({ entries }) => mb(entries * entryBytes)),
  ]);
}

function latencyTable({ latencies }) {
  const row = (label, { count, p50, p95, p99 }) => {
    const times = count > 0 ? [p50, p95, p99].map(ms) : ['-', '-', '-'];
    return [label, number(count), ...times];
  };
  return table([
    ['Latency', 'answers', 'p50', 'p95', 'p99'],
    row('all', latencies.all),
    row('from the cache', latencies.hit),
    row('from the source', latencies.miss),
  ]);
}

/** What the package counts: `stats()`, and the near reads of all workers. */
function statsTable({ stats }) {
  const { hits, nearHits, misses, sets, evictions, entries, bytes } = stats;
  return table([
    ['Statistics', 'hits', 'near hits', 'misses', 'sets', 'evictions', 'entries', 'memory'],
    ['products', ...[hits, nearHits, misses, sets, evictions, entries].map(number), mb(bytes)],
  ]);
}

/** The lines that the display and the end have in common. */
function figures(state) {
  const { workers, primaryRss, workerRss } = state;
  return [
    '',
    ...cacheTable(state),
    '',
    ...latencyTable(state),
    '',
    ...statsTable(state),
    '',
    `Memory of the processes (RSS): primary ${mb(primaryRss)}, ${workers} workers ${mb(workerRss)} in all`,
  ];
}

/** Shows what `measure` in demo.js gives. */
class Screen {
  constructor(stream) {
    this.stream = stream;
    this.drawn = 0; // lines of the block that is on the terminal now
    this.since = { seconds: 0, requests: 0, misses: 0 }; // where the rates are counted from
    this.rates = undefined;
  }

  /** How long to wait before the next `show`, in ms. */
  get interval() {
    return this.stream.isTTY ? 250 : 1000;
  }

  show(state) {
    this.updateRates(state);
    const { duration, requests, shared, share, copy, entryBytes } = state;
    const { p50, p95, p99 } = state.latencies.all;
    const seconds = Math.min(duration, Math.round(state.seconds));
    const begin =
      `${String(seconds).padStart(2)} s  ${number(requests)} requests, ` +
      `${number(this.rates.requests)}/s, hit rate ${this.rates.hits}`;
    if (this.stream.isTTY) {
      this.draw([`${begin} (of ${duration} s)`, ...figures(state)]);
    } else {
      this.stream.write(
        `${begin}, source calls ${number(shared.misses)} (per-worker caches ` +
          `${number(share.misses)} or ${number(copy.misses)}), p50 ${ms(p50)}, p95 ${ms(p95)}, ` +
          `p99 ${ms(p99)}, cache ${mb(shared.entries * entryBytes)}\n`,
      );
    }
  }

  /** Clears the block; returns the last words. */
  end(state) {
    if (this.stream.isTTY) this.draw([]);
    const { requests, answered, seconds, shared, share, copy, workers, herd } = state;
    return [
      '',
      `${number(requests)} requests in ${seconds.toFixed(1)} s, ${number(requests / seconds)}/s ` +
        `(${requests - answered} of them still under way when the time was up)`,
      ...figures(state),
      '',
      `In plain words: with the one shared cache the slow source was called ${number(shared.misses)} times;`,
      `a cache in each of the ${workers} workers would have called it ${number(share.misses)} times with as many`,
      `entries in all, and ${number(copy.misses)} times with ${(copy.entries / shared.entries).toFixed(1)} times the entries.`,
      '',
      `The herd: ${number(herd.callers)} callers in ${workers} workers want a product whose entry has run out.`,
      `By get() and set() the slow source is called ${number(herd.get)} times, by fetch() ${number(herd.fetch)}.`,
      '',
    ].join('\n');
  }

  /** The rates are those of about the last second, however often the screen is drawn. */
  updateRates({ seconds, requests, shared }) {
    const elapsed = seconds - this.since.seconds;
    if (this.rates && elapsed < 0.75) return;
    const added = requests - this.since.requests;
    this.rates = {
      requests: added / elapsed,
      hits: hitRate(added, shared.misses - this.since.misses),
    };
    this.since = { seconds, requests, misses: shared.misses };
  }

  draw(lines) {
    // Up to the block's first line and clear from there. A line too long would wrap: it is cut.
    const back = this.drawn > 0 ? `\x1b[${this.drawn}A\x1b[J` : '';
    const width = (this.stream.columns || 80) - 1;
    this.stream.write(back + lines.map((line) => `${line.slice(0, width)}\n`).join(''));
    this.drawn = lines.length;
  }
}

module.exports = { Screen };
