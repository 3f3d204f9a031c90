// Runs the suites of japa: `node japa.mjs`.

import { assert } from '@japa/assert';
import { configure, processCLIArgs, run } from '@japa/runner';

processCLIArgs(process.argv.slice(2));
configure({ files: ['./*.japa.mjs'], plugins: [assert()], forceExit: true });
await run();
