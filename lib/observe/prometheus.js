'use strict';

/** Statistics for Prometheus: as text, or by `prom-client`. */

const LRUCache = require('../../index');
const { INSTRUMENTS, prometheusName } = require('./instruments');

const PREFIX = 'lru_cache_';

/** A value of a label, as the text format has it. */
const quoted = (text) =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')}"`;

const numberText = (number) => (number === Infinity ? '+Inf' : String(number));

/**
 * The statistics of all namespaces of this process, in the text format of Prometheus. What is of this process alone has its
 * id as a label: each scrape of a cluster may reach another worker.
 */
async function metrics({ prefix = PREFIX } = {}) {
  const all = Object.values(await LRUCache.stats());
  const lines = [];
  for (const instrument of INSTRUMENTS) {
    const name = prometheusName(prefix, instrument);
    const pid = instrument.shared ? '' : `,pid="${process.pid}"`;
    const samples = all.flatMap((stats) => {
      const number = instrument.of(stats);
      if (number === undefined) return [];
      return [`${name}{namespace=${quoted(stats.namespace)}${pid}} ${numberText(number)}`];
    });
    if (samples.length === 0) continue;
    lines.push(`# HELP ${name} ${instrument.help}`, `# TYPE ${name} ${instrument.type}`);
    lines.push(...samples);
  }
  return `${lines.join('\n')}\n`;
}

/**
 * Registers the statistics with `prom-client`, as metrics that read them when they are collected.
 *
 * @param {any} client the module
 * @param {{ prefix?: string, registers?: any[] }} [options]
 */
function register(client, { prefix = PREFIX, registers = [client.register] } = {}) {
  /** One look for all metrics of a collection. */
  let pending;
  const look = () => {
    pending ??= LRUCache.stats().finally(() => {
      pending = undefined;
    });
    return pending;
  };
  return INSTRUMENTS.map((instrument) => {
    const Metric = instrument.type === 'counter' ? client.Counter : client.Gauge;
    return new Metric({
      name: prometheusName(prefix, instrument),
      help: instrument.help,
      labelNames: ['namespace'],
      registers,
      // Of the workers of a cluster, each has all of a shared number.
      aggregator: instrument.shared ? 'max' : 'sum',
      async collect() {
        const all = Object.values(await look());
        this.reset();
        for (const stats of all) {
          const labels = { namespace: stats.namespace };
          const number = instrument.of(stats);
          if (number === undefined) continue;
          if (instrument.type === 'counter') this.inc(labels, number);
          else this.set(labels, number);
        }
      },
    });
  });
}

module.exports = { metrics, register };
