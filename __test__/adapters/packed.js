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

module.exports = { npm, withPacked };
