'use strict';

// The packed package as an application gets it: installed in an empty project, with an empty npm
// cache and no network, by processes that see no more than this file puts on their PATH.

const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const { name, version, napi } = require('../../package.json');
const windows = process.platform === 'win32';

/** The file that a command on this process's PATH names, if there is one. */
function which(command) {
  const names = windows ? [`${command}.exe`, `${command}.cmd`] : [command];
  const files = process.env.PATH.split(path.delimiter).flatMap((dir) =>
    names.map((file) => path.join(dir, file)),
  );
  return files.find((file) => fs.existsSync(file));
}

/** npm's own script: what runs this test says, or what lies beside the npm command. */
function npmCli() {
  if (/npm-cli\.js$/.test(process.env.npm_execpath || '')) return process.env.npm_execpath;
  const npm = which('npm');
  return windows
    ? path.join(path.dirname(npm), 'node_modules', 'npm', 'bin', 'npm-cli.js')
    : fs.realpathSync(npm);
}

describe('the packed package', () => {
  let temp, tarballs, mainTarball, platformTarball, bin;

  /** Runs Node with the given PATH and nothing of this process's npm settings. */
  function node(args, cwd, { PATH = bin, ...env } = {}) {
    const result = spawnSync(process.execPath, args, {
      cwd,
      encoding: 'utf8',
      env: { PATH, HOME: temp, TMPDIR: temp, SystemRoot: process.env.SystemRoot, ...env },
    });
    if (result.error) throw result.error;
    return { status: result.status, output: result.stdout + result.stderr, stdout: result.stdout };
  }

  function npm(args, cwd, env) {
    const cache = path.join(temp, 'cache');
    const offline = ['--offline', '--cache', cache, '--no-audit', '--no-fund', '--loglevel=error'];
    return node([npmCli(), ...args, ...offline], cwd, env);
  }

  /** An empty project: a directory with a manifest. */
  function project() {
    const dir = fs.mkdtempSync(path.join(temp, 'project-'));
    fs.writeFileSync(path.join(dir, 'package.json'), '{ "private": true }\n');
    return dir;
  }

  const installed = (dir) => path.join(dir, 'node_modules', name);
  const binaries = (dir) => fs.readdirSync(dir).filter((file) => file.endsWith('.node'));

  const useIt = `
    const LRUCache = require('${name}');
    const cache = new LRUCache({ namespace: 'packed', max: 2 });
    cache.set('a', 1).then(() => cache.get('a')).then((value) => console.log('got', value));
  `;

  before(function () {
    const [major, minor] = process.versions.node.split('.').map(Number);
    // @napi-rs/cli writes the platform packages, and needs this Node
    if (major < 20 || (major === 20 && minor < 17)) this.skip();

    temp = fs.mkdtempSync(path.join(os.tmpdir(), 'packed-'));
    // A PATH of what npm needs: itself, Node, and the shell that starts an install script.
    bin = path.join(temp, 'bin');
    if (windows) {
      bin = [path.dirname(process.execPath), path.dirname(process.env.ComSpec)].join(';');
    } else {
      fs.mkdirSync(bin);
      fs.symlinkSync(process.execPath, path.join(bin, 'node'));
      fs.symlinkSync(which('sh'), path.join(bin, 'sh'));
    }

    const dist = path.join(temp, 'dist');
    const packed = spawnSync(process.execPath, ['scripts/pack-local.js', dist], {
      cwd: root,
      encoding: 'utf8',
    });
    assert.strictEqual(packed.status, 0, packed.stderr);
    tarballs = fs.readdirSync(dist).map((file) => path.join(dist, file));
    mainTarball = tarballs.find((file) => file.endsWith(`${name}-${version}.tgz`));
    platformTarball = tarballs.find((file) => file !== mainTarball);
  });

  after(() => {
    if (temp) fs.rmSync(temp, { recursive: true, force: true });
  });

  it('is two tarballs: the package and the binary of this platform', () => {
    assert.strictEqual(tarballs.length, 2);
    assert.ok(mainTarball);
    assert.ok(path.basename(platformTarball).startsWith(`${name}-${process.platform}-`));
  });

  it('installs with no Rust and no registry, and works', () => {
    const dir = project();
    const result = npm(['install', mainTarball, platformTarball], dir);
    assert.strictEqual(result.status, 0, result.output);

    assert.strictEqual(node(['-e', useIt], dir).output, 'got 1\n');
    const esm = `
      import LRUCache, { LRUCacheForClustersAsPromised, LRUCache as Sync } from '${name}';
      console.log(LRUCache === LRUCacheForClustersAsPromised, LRUCache.name, Sync.name);
    `;
    assert.strictEqual(
      node(['--input-type=module', '-e', esm], dir).output,
      'true LRUCacheForClustersAsPromised LRUCache\n',
    );

    const main = installed(dir);
    assert.deepStrictEqual(binaries(main), [], 'the binary is the platform package’s');
    assert.ok(!fs.existsSync(path.join(main, 'target')), 'nothing was built');
    assert.strictEqual(fs.readdirSync(path.join(dir, 'node_modules')).filter(visible).length, 2);
  });

  it('carries its types, its texts and the Rust sources, and no file of development', () => {
    const dir = project();
    npm(['install', '--ignore-scripts', mainTarball, platformTarball], dir);
    const main = installed(dir);
    const manifest = JSON.parse(fs.readFileSync(path.join(main, 'package.json'), 'utf8'));
    const files = [
      'README.md',
      'CHANGELOG.md',
      'LICENSE',
      'Cargo.toml',
      'Cargo.lock',
      'src/lib.rs',
    ];
    for (const file of [...files, manifest.types, manifest.main, manifest.exports['.'].types]) {
      assert.ok(fs.existsSync(path.join(main, file)), file);
    }
    assert.deepStrictEqual(
      ['__test__', 'bench', 'examples', 'fuzz', 'package-lock.json', '.github'].filter((file) =>
        fs.existsSync(path.join(main, file)),
      ),
      [],
    );
    assert.strictEqual(manifest.dependencies, undefined);
  });

  it('says which platforms have binaries and what to install, where it has none and no cargo', () => {
    const dir = project();
    const result = npm(['install', '--omit=optional', mainTarball], dir);
    assert.notStrictEqual(result.status, 0);
    assertHelp(result.output);
  });

  it('says the same from require(), when install scripts are off', () => {
    const dir = project();
    const result = npm(['install', '--ignore-scripts', '--omit=optional', mainTarball], dir);
    assert.strictEqual(result.status, 0, result.output);
    const used = node(['-e', useIt], dir);
    assert.notStrictEqual(used.status, 0);
    assertHelp(used.output);
  });

  it('takes no binary of another version', () => {
    const dir = project();
    npm(['install', '--ignore-scripts', mainTarball, platformTarball], dir);
    const platform = path.basename(platformTarball, `-${version}.tgz`);
    const file = path.join(dir, 'node_modules', platform, 'package.json');
    const manifest = JSON.parse(fs.readFileSync(file, 'utf8'));
    fs.writeFileSync(file, JSON.stringify({ ...manifest, version: '1.0.0' }));
    const result = node(['scripts/install.js'], installed(dir));
    assert.strictEqual(result.status, 1);
    assert.match(result.output, /expected \d+\.\d+\.\d+ but got 1\.0\.0/);
  });

  it('builds from its sources with cargo, where it has no binary, and tidies up', function () {
    const cargo = which('cargo');
    if (!cargo) this.skip();
    this.timeout(600_000);
    const home = os.homedir();
    const dir = project();
    const result = npm(['install', '--omit=optional', '--foreground-scripts', mainTarball], dir, {
      PATH: process.env.PATH,
      CARGO_HOME: process.env.CARGO_HOME || path.join(home, '.cargo'),
      RUSTUP_HOME: process.env.RUSTUP_HOME || path.join(home, '.rustup'),
      // The crates it depends on were built there when the checkout was.
      CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR || path.join(root, 'target'),
    });
    assert.strictEqual(result.status, 0, result.output);
    assert.match(result.output, new RegExp(`Compiling ${name}`));
    assert.strictEqual(binaries(installed(dir)).length, 1);
    assert.ok(binaries(installed(dir))[0].startsWith(`${napi.binaryName}.${process.platform}-`));
    assert.ok(!fs.existsSync(path.join(installed(dir), 'target')));
    assert.strictEqual(node(['-e', useIt], dir).output, 'got 1\n');

    // Installed again, the binary is there: nothing is built.
    const again = node(['scripts/install.js'], installed(dir));
    assert.deepStrictEqual([again.status, again.output], [0, '']);
  });
});

const visible = (file) => !file.startsWith('.');

function assertHelp(output) {
  for (const text of ['linux-x64-gnu', 'linux-arm64-musl', 'darwin-arm64', 'win32-x64-msvc']) {
    assert.ok(output.includes(text), `${text} is missing in: ${output}`);
  }
  assert.match(output, /no native binary/);
  assert.match(output, /rustup/);
  assert.match(output, /C linker/);
  assert.ok(output.includes(`npm rebuild ${name}`));
}
