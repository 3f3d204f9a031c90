'use strict';

/** Statistics for OpenTelemetry: observable instruments. */

const LRUCache = require('../../index');
const { INSTRUMENTS } = require('./instruments');
const { name, version } = require('../../package.json');

/**
 * Makes the instruments, which read the statistics when they are collected.
 *
 * @param {{ meterProvider?: any, prefix?: string, shared?: boolean }} [options]
 * @returns {() => void} ends it
 */
function instrument({ meterProvider, prefix = 'lru_cache.', shared = true } = {}) {
  // Only who has no provider of its own needs the global one.
  const provider = meterProvider ?? require('@opentelemetry/api').metrics;
  const meter = provider.getMeter(name, version);
  const made = INSTRUMENTS.filter((each) => shared || !each.shared).map((each) => {
    const options = { description: each.help, ...(each.unit && { unit: each.unit }) };
    const full = prefix + each.name.replace(/^(near|remote)_/, '$1.');
    return {
      of: each.of,
      observable:
        each.type === 'counter'
          ? meter.createObservableCounter(full, options)
          : meter.createObservableGauge(full, options),
    };
  });
  const observables = made.map(({ observable }) => observable);
  const observe = async (result) => {
    for (const stats of Object.values(await LRUCache.stats())) {
      for (const { of, observable } of made) {
        const value = of(stats);
        // A bound that there is not is no number to OpenTelemetry.
        if (value !== undefined && value !== Infinity)
          result.observe(observable, value, { namespace: stats.namespace });
      }
    }
  };
  meter.addBatchObservableCallback(observe, observables);
  return () => meter.removeBatchObservableCallback(observe, observables);
}

module.exports = { instrument };
