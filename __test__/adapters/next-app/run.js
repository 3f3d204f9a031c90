'use strict';

// `npm run test:next`: builds the applications with the package of this checkout, and runs their tests. Next.js needs Node 20.9.

const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { installPacked, npm } = require('../packed');

const root = path.join(__dirname, '..', '..', '..');
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };

function run(file, args, cwd = __dirname) {
  execFileSync(file, args, { cwd, env, stdio: 'inherit', shell: process.platform === 'win32' });
}

npm(['ci'], __dirname);
installPacked(__dirname);

const installed = (...names) => path.join(__dirname, 'node_modules', ...names);
for (const app of ['isr', 'components']) {
  run(
    process.execPath,
    [installed('next', 'dist', 'bin', 'next'), 'build'],
    path.join(__dirname, app),
  );
}
const mocha = path.join(root, 'node_modules', 'mocha', 'bin', 'mocha.js');
const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
run(process.execPath, [tsc, '--project', 'types']);
run(process.execPath, [mocha, '--no-config', '--timeout', '120000', 'next.test.js']);
