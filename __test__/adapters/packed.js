'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');

const run = (file, args, cwd) =>
  execFileSync(file, args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' });

/** Runs npm in a directory. */
function npm(args, cwd) {
  run('npm', [...args, '--no-audit', '--no-fund'], cwd);
}

/** Packs this checkout, and calls with the tarballs, which are there until the call returns. */
function withPacked(use) {
  const dist = fs.mkdtempSync(path.join(os.tmpdir(), 'adapters-'));
  try {
    run(process.execPath, [path.join(root, 'scripts', 'pack-local.js'), dist], root);
    return use(fs.readdirSync(dist).map((file) => path.join(dist, file)));
  } finally {
    fs.rmSync(dist, { recursive: true, force: true });
  }
}

/** Puts the package of this checkout into the `node_modules` of a directory, as its users get it: packed. */
function installPacked(directory) {
  withPacked((tarballs) => {
    // Unpacked by hand: npm would write them into the lock file, or remove them.
    for (const tarball of tarballs) {
      const manifest = execFileSync('tar', ['-xzOf', tarball, 'package/package.json']);
      const place = path.join(directory, 'node_modules', JSON.parse(manifest).name);
      fs.rmSync(place, { recursive: true, force: true });
      fs.mkdirSync(place, { recursive: true });
      execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', place]);
    }
  });
}

module.exports = { installPacked, npm, withPacked };
