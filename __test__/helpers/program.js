'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');

/** Runs a program of Node, which writes JSON and no errors. Gives what the JSON says. */
async function resultOf(program, ...args) {
  const child = spawn(process.execPath, [program, ...args]);
  let text = '';
  let errors = '';
  child.stdout.on('data', (chunk) => (text += chunk));
  child.stderr.on('data', (chunk) => (errors += chunk));
  await once(child, 'close');
  assert.equal(errors, '');
  return JSON.parse(text);
}

module.exports = { resultOf };
