'use strict';

// Follows each page of the adapters as a stranger does: in an empty project, with the packed package and what the page says to
// install, in the newest versions that fit, the program of the page runs. Needs the registry, so it is no part of CI.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { name } = require('../../package.json');
const { npm, withPacked } = require('./packed');

const root = path.join(__dirname, '..', '..');
const pages = path.join(root, 'docs', 'adapters');

/** Whether the page holds. */
function follow(page, tarballs) {
  const text = fs.readFileSync(path.join(pages, page), 'utf8');
  const [, line] = /^npm install (.*)$/m.exec(text) ?? [];
  if (!line?.split(' ').includes(name)) throw new Error(`${page} does not say what to install`);
  const peers = line.split(' ').filter((word) => word !== name);
  const project = fs.mkdtempSync(path.join(os.tmpdir(), 'stranger-'));
  try {
    fs.writeFileSync(path.join(project, 'package.json'), '{ "private": true }');
    npm(['install', ...tarballs, ...peers], project);
    const mocha = path.join(root, 'node_modules', 'mocha', 'bin', 'mocha.js');
    const args = [mocha, '--no-config', '--timeout', '60000', '__test__/docs.test.js'];
    const env = { DOCS_MODULES: path.join(project, 'node_modules'), DOCS_PAGE: page };
    const options = { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } };
    return spawnSync(process.execPath, args, options).status === 0;
  } finally {
    fs.rmSync(project, { recursive: true, force: true });
  }
}

withPacked((tarballs) => {
  const failed = fs.readdirSync(pages).filter((page) => {
    console.log(`-- ${page}`);
    return !follow(page, tarballs);
  });
  if (failed.length > 0) {
    console.error(`failed: ${failed.join(', ')}`);
    process.exitCode = 1;
  }
});
