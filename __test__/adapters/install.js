'use strict';

// Installs the peers, and the package of this checkout as its users get it: packed.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const run = (file, args, cwd) =>
  execFileSync(file, args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' });

const dist = fs.mkdtempSync(path.join(os.tmpdir(), 'adapters-'));
try {
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], __dirname);
  run(process.execPath, [path.join(root, 'scripts', 'pack-local.js'), dist], root);
  const tarballs = fs.readdirSync(dist).map((file) => path.join(dist, file));
  // Unpacked by hand: npm would write them into the lock file, or remove them.
  for (const tarball of tarballs) {
    const { name } = JSON.parse(
      execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }),
    );
    const directory = path.join(__dirname, 'node_modules', name);
    fs.rmSync(directory, { recursive: true, force: true });
    fs.mkdirSync(directory, { recursive: true });
    execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', directory]);
  }
} finally {
  fs.rmSync(dist, { recursive: true, force: true });
}
