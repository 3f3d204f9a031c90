'use strict';

// Packs into dist/ (or the directory given) what publishing would send for this platform: the
// package, and its binary package as the optional dependency of the same version.
// `npm install dist/*.tgz` needs neither Rust nor a registry.

const { execFileSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { thisPlatform } = require('../lib/native/platforms.js');

const root = path.join(__dirname, '..');
const dist = path.resolve(process.argv[2] || path.join(root, 'dist'));

/** Packs a directory into another one; returns the tarball's path. */
function pack(dir, destination) {
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', destination], {
    cwd: dir,
    shell: process.platform === 'win32',
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const { name, version } = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));
  return path.join(destination, `${name}-${version}.tgz`);
}

async function main() {
  const platform = thisPlatform();
  const { name, version, napi } = require('../package.json');
  const binary = `${napi.binaryName}.${platform}.node`;
  for (const file of ['binding.js', 'binding.d.ts', binary]) {
    if (!fs.existsSync(path.join(root, file))) {
      throw new Error(`${file} is missing: run \`npm run build\` first`);
    }
  }

  const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'pack-local-'));
  try {
    // The packed files, unpacked again: only the manifest is to differ from the checkout's.
    execFileSync('tar', ['-xzf', path.basename(pack(root, stage))], { cwd: stage });
    const main = path.join(stage, 'package');

    const { NapiCli } = await import('@napi-rs/cli');
    await new NapiCli().createNpmDirs({ cwd: main, npmDir: 'npm' });
    fs.renameSync(path.join(main, 'npm'), path.join(stage, 'npm'));
    const platformPackage = path.join(stage, 'npm', platform);
    if (!fs.existsSync(platformPackage)) throw new Error(`no binary package for ${platform}`);
    fs.copyFileSync(path.join(root, binary), path.join(platformPackage, binary));

    const manifest = JSON.parse(fs.readFileSync(path.join(main, 'package.json'), 'utf8'));
    manifest.optionalDependencies = { [`${name}-${platform}`]: version };
    fs.writeFileSync(path.join(main, 'package.json'), JSON.stringify(manifest, null, 2) + '\n');

    fs.rmSync(dist, { recursive: true, force: true });
    fs.mkdirSync(dist, { recursive: true });
    for (const dir of [main, platformPackage]) {
      console.log(path.relative(process.cwd(), pack(dir, dist)));
    }
  } finally {
    fs.rmSync(stage, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
