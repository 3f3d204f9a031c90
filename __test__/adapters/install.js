'use strict';

// Installs the peers, and the package of this checkout as its users get it: packed.

const { installPacked, npm } = require('./packed');

npm(['ci', '--ignore-scripts'], __dirname);
installPacked(__dirname);
