#!/usr/bin/env node
// Type tests: compiles the *.test-d.* files under each module mode, each in a project of its own that has the package in
// its node_modules, as a user's has. Lines under @ts-expect-error must not compile, all others must.
//   node __test__/types/run.js [--package DIR] [--tsc FILE] [MODE ...]
// --package: the package to test, this checkout when left out; --tsc: another version's bin/tsc; MODE: a tsconfig.MODE.json
// of this directory, all when left out.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { values: args, positionals: modes } = parseArgs({
  allowPositionals: true,
  options: {
    package: { type: 'string', default: path.join(__dirname, '..', '..') },
    tsc: { type: 'string', default: require.resolve('typescript/bin/tsc') },
  },
});
const packageDir = path.resolve(args.package);
const { name } = require(path.join(packageDir, 'package.json'));

const project = fs.mkdtempSync(path.join(os.tmpdir(), 'type-tests-'));
let failed = false;
try {
  fs.cpSync(__dirname, project, { recursive: true });
  fs.mkdirSync(path.join(project, 'node_modules'));
  // 'junction' needs no rights on Windows and is ignored elsewhere
  fs.symlinkSync(packageDir, path.join(project, 'node_modules', name), 'junction');

  const configs = modes.length
    ? modes.map((mode) => `tsconfig.${mode}.json`)
    : fs.readdirSync(project).filter((file) => /^tsconfig\.(?!base).*\.json$/.test(file));
  for (const config of configs) {
    const { status, stdout, stderr, error } = spawnSync(
      process.execPath,
      [args.tsc, '--project', config, '--pretty', 'false'],
      { cwd: project, encoding: 'utf8' },
    );
    if (error) throw error;
    const ok = status === 0;
    failed ||= !ok;
    console.log(`${ok ? 'ok  ' : 'FAIL'} ${config}`);
    if (!ok) console.log(stdout + stderr);
  }
} finally {
  fs.rmSync(project, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
