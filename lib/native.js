'use strict';

const { explain } = require('./platforms');

/** The addon, through the loader that `@napi-rs/cli` generates. */
function load() {
  try {
    return require('../binding.js');
  } catch (error) {
    throw new Error(explain(error), { cause: error });
  }
}

module.exports = load();
