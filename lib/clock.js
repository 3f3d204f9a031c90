'use strict';

/** The clock of the system. Something else may stand there under a test suite, also before this package is loaded. */
const systemClock = String(Date.now).includes('[native code]') ? Date.now : undefined;

/** Whether `Date.now` is the clock of the system, which Rust reads itself. */
function isSystemClock() {
  return Date.now === systemClock;
}

module.exports = { isSystemClock };
