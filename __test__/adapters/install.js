'use strict';

// Installs the peers, and the package of this checkout as its users get it: packed.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { npm, withPacked } = require('./packed');

npm(['ci', '--ignore-scripts'], __dirname);
withPacked((tarballs) => {
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
});
