'use strict';

/** Sets an own property of a plain object; `__proto__` is a key like any other. */
function define(target, key, value) {
  if (key === '__proto__') {
    Object.defineProperty(target, key, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  } else {
    target[key] = value;
  }
}

module.exports = { define };
