'use strict';

/** The numbers of a cache that all processes share, in the order of `Stats::numbers` in `src/stats.rs`. */
const FIELDS = Object.freeze([
  'hits',
  'misses',
  'staleHits',
  'sets',
  'deletes',
  'evictions',
  'expirations',
  'entries',
  'size',
  'bytes',
  'maxSize',
  'recoveries',
  'droppedEntries',
  'processes',
]);

/** Behind them: those of `fetch`. */
const FETCH_FIELDS = Object.freeze(['loads', 'followers', 'errors', 'loadTime']);

/**
 * The numbers by name.
 *
 * @param {ArrayLike<number | null>} numbers
 */
function statsOf(numbers) {
  // JSON has no form for a size without bound.
  const named = FIELDS.map((field, index) => [field, numbers[index] ?? Infinity]);
  const ofFetch = FETCH_FIELDS.map((field, index) => [field, numbers[FIELDS.length + index] ?? 0]);
  const fetches = Object.fromEntries(ofFetch);
  // Rust counts microseconds.
  fetches.loadTime /= 1000;
  return { ...Object.fromEntries(named), fetches };
}

module.exports = { FIELDS, statsOf };
