'use strict';

/** The addon, through the loader that `@napi-rs/cli` generates. */
function load() {
  try {
    return require('../../binding.js');
  } catch (error) {
    // Read only here: nobody else needs it.
    const { explain } = require('./platforms');
    throw new Error(explain(error), { cause: error });
  }
}

module.exports = load();
