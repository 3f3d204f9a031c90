'use strict';

// Checks the package as publishing would send it, with publint and attw: `npm run check:package`. Needs a built addon.

const { execFileSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { name, version } = require('../package.json');

const root = path.join(__dirname, '..');
const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'check-package-'));

/** Runs a program of this machine; its output is ours, its failure too. */
const run = (file, ...args) => execFileSync(file, args, { cwd: root, stdio: 'inherit' });

/** Runs a program of the development packages. */
function runTool(tool, program, ...args) {
  const manifest = path.join(root, 'node_modules', tool, 'package.json');
  const { bin } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  const script = typeof bin === 'string' ? bin : bin[program];
  run(process.execPath, path.join(path.dirname(manifest), script), ...args);
}

try {
  run(process.execPath, path.join(__dirname, 'pack-local.js'), stage);
  const tarball = path.join(stage, `${name}-${version}.tgz`);
  runTool('publint', 'publint', 'run', tarball, '--strict');
  runTool('@arethetypeswrong/cli', 'attw', tarball);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  fs.rmSync(stage, { recursive: true, force: true });
}
