'use strict';

// `npm run test:next`: builds the applications with the package of this checkout, and runs their tests. Next.js needs Node 20.9.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..', '..');
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };

function run(file, args, cwd = __dirname) {
  execFileSync(file, args, { cwd, env, stdio: 'inherit', shell: process.platform === 'win32' });
}

const dist = fs.mkdtempSync(path.join(os.tmpdir(), 'next-app-'));
try {
  run('npm', ['ci', '--no-audit', '--no-fund']);
  run(process.execPath, [path.join(root, 'scripts', 'pack-local.js'), dist], root);
  // Unpacked by hand: npm would write them into the lock file, or remove them.
  for (const file of fs.readdirSync(dist)) {
    const tarball = path.join(dist, file);
    const manifest = execFileSync('tar', ['-xzOf', tarball, 'package/package.json']);
    const directory = path.join(__dirname, 'node_modules', JSON.parse(manifest).name);
    fs.rmSync(directory, { recursive: true, force: true });
    fs.mkdirSync(directory, { recursive: true });
    run('tar', ['-xzf', tarball, '--strip-components=1', '-C', directory]);
  }
} finally {
  fs.rmSync(dist, { recursive: true, force: true });
}

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
