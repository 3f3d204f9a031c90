'use strict';

// `npm run test:adapters`: every suite of the adapters, with the package of this checkout packed and installed. With names of
// steps, those alone: `npm run test:adapters -- install mocha`. `strangers` is run only where it is named.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const bin = (name) => path.join(root, 'node_modules', ...name);
const own = (...name) => path.join(__dirname, 'node_modules', ...name);

const MOCHA = [bin(['mocha', 'bin', 'mocha.js']), '--no-config', '--timeout', '60000'];
const tests = fs.readdirSync(__dirname).filter((file) => file.endsWith('.test.js'));

/** Each step: arguments of Node, where it runs, and what else is in its environment. */
const STEPS = {
  install: [[path.join(__dirname, 'install.js')], __dirname],
  keyv: [[own('vitest', 'vitest.mjs'), 'run'], __dirname],
  bentocache: [['japa.mjs'], __dirname],
  mocha: [[...MOCHA, ...tests], __dirname],
  types: [[bin(['typescript', 'bin', 'tsc']), '--project', 'types'], __dirname],
  docs: [[...MOCHA, '__test__/docs.test.js'], root, { DOCS_MODULES: own() }],
  strangers: [['strangers.js'], __dirname],
};

/** Not run unless it is named. */
const LEFT_OUT = ['strangers'];

const named = process.argv.slice(2);
const names =
  named.length > 0 ? named : Object.keys(STEPS).filter((name) => !LEFT_OUT.includes(name));
for (const name of names)
  if (!(name in STEPS)) throw new Error(`no step ${name}: ${Object.keys(STEPS)}`);

const failed = [];
for (const [name, [args, cwd, env]] of Object.entries(STEPS)) {
  if (!names.includes(name)) continue;
  console.log(`== adapters: ${name}`);
  const options = { cwd, stdio: 'inherit', env: { ...process.env, ...env } };
  const { status } = spawnSync(process.execPath, args, options);
  if (status !== 0) failed.push(name);
  // Nothing of what follows could be right.
  if (status !== 0 && name === 'install') break;
}
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`);
  process.exitCode = 1;
}
