'use strict';

// Runs when the package is installed: where no prebuilt binary fits, builds one with cargo from the
// sources in the package. Plain Node: nothing else is installed yet.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const { napi } = require('../package.json');
const { explain, isCheckout, isMusl, thisPlatform } = require('../lib/native/platforms.js');

const root = path.join(__dirname, '..');

/** @returns {Error | undefined} why no binary of this very version loads */
function tryBinding() {
  process.env.NAPI_RS_ENFORCE_VERSION_CHECK = '1';
  try {
    require('../binding.js');
  } catch (error) {
    return error;
  }
}

/** @returns {string | undefined} the library that cargo built; cargo itself says what went wrong */
function build(targetDir) {
  const env = { CARGO_TARGET_DIR: targetDir, ...process.env };
  // A musl target links statically unless told otherwise, and then makes no shared library.
  if (isMusl()) env.RUSTFLAGS = `${env.RUSTFLAGS || ''} -C target-feature=-crt-static`.trim();
  const args = ['build', '--release', '--locked', '--message-format', 'json-render-diagnostics'];
  const cargo = spawnSync('cargo', args, {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: Infinity,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (cargo.error && cargo.error.code !== 'ENOENT') throw cargo.error;
  if (cargo.status !== 0) return undefined;
  // Only cargo knows where the library went: a configuration of the user's may name a target.
  return cargo.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter((m) => m.reason === 'compiler-artifact' && m.target.kind.includes('cdylib'))
    .flatMap((m) => m.filenames)
    .find((file) => /\.(so|dylib|dll)$/.test(file));
}

function main() {
  // In a checkout `npm run build` builds, and writes binding.js as well.
  if (isCheckout) return;
  let error = tryBinding();
  if (!error) return;

  const targetDir = path.join(root, 'target');
  try {
    const library = build(targetDir);
    if (library) {
      fs.copyFileSync(library, path.join(root, `${napi.binaryName}.${thisPlatform()}.node`));
      error = tryBinding();
    }
  } finally {
    fs.rmSync(targetDir, { recursive: true, force: true });
  }
  if (error) {
    console.error(explain(error));
    process.exitCode = 1;
  }
}

main();
