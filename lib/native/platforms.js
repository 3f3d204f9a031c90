'use strict';

const fs = require('fs');
const path = require('path');

const { name, napi } = require('../../package.json');
const root = path.join(__dirname, '..', '..');

/** Whether this is a source checkout: npm never packs a lock file. */
const isCheckout = fs.existsSync(path.join(root, 'package-lock.json'));

/** The platforms that have a binary package, such as `linux-x64-musl`. */
const prebuilt = napi.targets.map((triple) => {
  const [cpu, , os, abi] = triple.split('-');
  const arch = { x86_64: 'x64', aarch64: 'arm64' }[cpu];
  return [os === 'windows' ? 'win32' : os, arch, abi].filter(Boolean).join('-');
});

/** This machine, named as `binding.js` names the binary that it looks for. */
function thisPlatform() {
  const { platform, arch } = process;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  const arm = arch === 'arm' ? 'eabihf' : '';
  return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}${arm}`;
}

/** Whether Node runs on musl: only glibc reports its version. */
function isMusl() {
  if (process.platform !== 'linux') return false;
  /** @type {any} */
  const { report } = process;
  // Without this the report looks up the peer of every open socket.
  report.excludeNetwork = true;
  return !report.getReport().header.glibcVersionRuntime;
}

/** Why a binary that exists was not taken: the causes but for the files that are not there. */
function reasons(error) {
  const found = [];
  for (let e = error && error.cause; e; e = e.cause) {
    if (!e.message.startsWith('Cannot find module')) found.push(e.message.split('\n')[0]);
  }
  return found;
}

/**
 * What a user is told when no binary could be loaded.
 * @param {Error} [error] what `require('./binding.js')` threw
 * @returns {string} which platforms have binaries, what this machine is, what to install
 */
function explain(error) {
  const platform = thisPlatform();
  const lines = [
    `${name} has no native binary that loads here: ${platform}, Node.js ${process.version}.`,
    ...reasons(error).map((reason) => `  (${reason})`),
  ];
  if (isCheckout) {
    lines.push('This is a source checkout: `npm run build` makes the binary (Rust is needed).');
    return lines.join('\n');
  }
  lines.push(`Prebuilt binaries: ${prebuilt.join(', ')}.`);
  if (prebuilt.includes(platform)) {
    lines.push(
      `This platform's comes with the optional dependency ${name}-${platform}: install again with`,
      'optional dependencies on, and without a lock file that was written on another platform.',
    );
  }
  lines.push(
    `To build it from the Rust sources in this package, install Rust ${rustVersion()} or newer (https://rustup.rs)`,
    'and a C linker (Debian: build-essential, Alpine: build-base, macOS: xcode-select --install,',
    'Windows: Visual Studio Build Tools with C++), then run:',
    `  npm rebuild ${name}`,
  );
  return lines.join('\n');
}

/** The oldest Rust that builds the crate, from the one place that says so. */
function rustVersion() {
  const manifest = fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8');
  return manifest.match(/^rust-version\s*=\s*"(.+)"/m)?.[1];
}

module.exports = { explain, isCheckout, isMusl, thisPlatform };
