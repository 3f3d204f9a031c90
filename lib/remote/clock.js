'use strict';

/** A clock that all processes of a machine share, in milliseconds, which nobody sets. */

const { bootTime } = require('../native/loader');

// Kept, because test suites replace the globals by timers that stand still.
const { performance } = globalThis;

/** What `performance.now()` lacks to what all processes of the machine have. */
const OFFSET = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** On Linux the clock goes on while the machine is suspended. */
const now = process.platform === 'linux' ? bootTime : () => performance.now() + OFFSET;

module.exports = { now };
