'use strict';

/**
 * Freezes a decoded JSON value and all that is in it, however deep, and returns the value.
 *
 * @template T
 * @param {T} value
 * @returns {T}
 */
function freeze(value) {
  /** @type {any[]} */
  const open = [value];
  while (open.length > 0) {
    const one = open.pop();
    if (typeof one !== 'object' || one === null) continue;
    Object.freeze(one);
    for (const key of Object.keys(one)) open.push(one[key]);
  }
  return value;
}

module.exports = { freeze };
