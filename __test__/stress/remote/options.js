'use strict';

/** The options of the load on the remote tier, and what follows from them. */

const { parseArgs } = require('node:util');

const { values: given } = parseArgs({
  options: {
    ops: { type: 'string', default: '100000' },
    server: { type: 'string', default: 'valkey-server' },
    durable: { type: 'boolean', default: false },
    'on-error': { type: 'string', default: 'reject' },
    loads: { type: 'string', default: 'values,fetch,tags' },
    faults: { type: 'string', default: '' },
    rounds: { type: 'string', default: '10' },
    delay: { type: 'string', default: '0' },
    transport: { type: 'string', default: 'shared-memory' },
    workers: { type: 'string', default: '3' },
    timeout: { type: 'string', default: '1000' },
    verbose: { type: 'boolean', default: false },
    // Given to the processes of the load.
    role: { type: 'string', default: 'main' },
    url: { type: 'string', default: '' },
    machine: { type: 'string', default: '' },
    database: { type: 'string', default: '' },
  },
});

const listOf = (text) => text.split(',').filter(Boolean);

const FAULTS = listOf(given.faults);
const ON_ERROR = given['on-error'];
const WORKERS = Number(given.workers);
const MACHINES = ['a', 'b'];

/** Whether the server loses what it has acknowledged. */
const isLossy = FAULTS.includes('flush') || (FAULTS.includes('kill') && !given.durable);
/** Whether machines go on without the server, each for itself. */
const diverges = ON_ERROR === 'local' && FAULTS.length > 0;

module.exports = {
  DATABASE: Number(given.database),
  DELAY: Number(given.delay),
  FAULTS,
  LOADS: listOf(given.loads),
  MACHINE: given.machine,
  MACHINES,
  ON_ERROR,
  OPS: Number(given.ops),
  ROLE: given.role,
  ROUNDS: Number(given.rounds),
  SERVER: given.server,
  TIMEOUT: Number(given.timeout),
  TRANSPORT: given.transport,
  URL: given.url,
  WORKERS,
  /** The names of all workers. */
  NAMES: MACHINES.flatMap((machine) =>
    Array.from({ length: WORKERS }, (_, index) => `${machine}${index}`),
  ),
  /** The longest that a machine may count what was changed on the server by another one, as documented, in milliseconds. */
  BOUND: 2000,
  diverges,
  isDurable: given.durable,
  isVerbose: given.verbose,
  /** Whether the server has each entry and each count from its first write to the end. */
  isExact: !isLossy && !diverges,
};
