'use strict';

// The documentation is true as far as a program can tell: every code block runs, every link leads somewhere, every file
// that is named exists, and every error code is listed.
//
// A block runs as it stands, in a process of its own, in a project that has the package in its `node_modules`: an ES module
// where it has an `import`, CommonJS else; TypeScript is compiled. A comment in the line above changes that:
//
//   <!-- run: NAME -->       the block is a fragment, and runs after the prelude of that name
//   <!-- no-run: REASON -->  the block does not run
//
// What `console.log` writes must be what the comment at the end of its line says, in any order, with each line as often as there are
// processes that write it.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');

/**
 * The pages of the adapters need the peers: `npm run test:adapters` runs their programs, and no others. It says where peers and package
 * are installed, and can name one page.
 */
const ADAPTERS = 'docs/adapters/';
const { DOCS_MODULES, DOCS_PAGE = '' } = process.env;

const { name: packageName } = require('../package.json');

const preludes = {
  'with cache': (code) => `
    const LRUCache = require('${packageName}');
    (async () => {
      const cache = await LRUCache.getInstance({ namespace: 'docs', failsafe: 'reject', timeout: 10_000 });
      ${code}
    })().catch((error) => { console.error(error); process.exit(1); });
  `,
  'in a worker': (code) => `
    const cluster = require('node:cluster');
    const LRUCache = require('${packageName}');
    if (cluster.isPrimary) {
      cluster.fork().on('exit', (status) => { process.exitCode = status; });
    } else {
      (async () => {
        const cache = await LRUCache.getInstance({ namespace: 'docs', failsafe: 'reject', timeout: 10_000 });
        ${code}
        cluster.worker.disconnect();
      })().catch((error) => { console.error(error); process.exit(1); });
    }
  `,
};

/** Languages of blocks that are no programs of ours. */
const NOT_CODE = ['', 'sh', 'text', 'json', 'toml', 'rust', 'diff'];

const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');

/** The files below a directory with this ending, relative to the root of the project. */
function filesOf(directory, ending, deep = true) {
  const found = fs.readdirSync(path.join(root, directory), { withFileTypes: true });
  return found.flatMap((entry) => {
    const file = path.posix.join(directory, entry.name);
    if (entry.isDirectory()) return deep ? filesOf(file, ending) : [];
    return entry.name.endsWith(ending) ? [file] : [];
  });
}

const documents = [
  ...filesOf('.', '.md', false),
  ...['docs', 'bench', 'fuzz', '.github'].flatMap((directory) => filesOf(directory, '.md')),
].filter((file) => !/(^|\/)(target|corpus|artifacts|node_modules)\//.test(file));

/** The fenced blocks of a document, each with its language, its marker and the number of its first line. */
function blocksOf(text) {
  const blocks = [];
  let block;
  let marker;
  text.split('\n').forEach((line, index) => {
    const fence = /^ *(```+|~~~+)(\w*)/.exec(line);
    if (block) {
      if (fence && fence[1].startsWith(block.fence) && fence[2] === '') block = undefined;
      else block.lines.push(line);
    } else if (fence) {
      block = { fence: fence[1], language: fence[2], marker, line: index + 1, lines: [] };
      blocks.push(block);
      marker = undefined;
    } else if (line.trim() !== '') {
      const comment = /^<!-- (run|no-run):(.*)-->$/.exec(line.trim());
      marker = comment ? { kind: comment[1], text: comment[2].trim() } : undefined;
    }
  });
  return blocks;
}

/** A document without its fenced blocks and its comments. */
function proseOf(text) {
  let fence;
  const lines = text.split('\n').filter((line) => {
    const found = /^ *(```+|~~~+)/.exec(line)?.[1];
    if (fence) {
      if (found?.startsWith(fence)) fence = undefined;
      return false;
    }
    fence = found;
    return fence === undefined;
  });
  return lines.join('\n').replace(/<!--[^]*?-->/g, '');
}

/** What the comments behind `console.log` say that it writes. */
function expectedOf(code) {
  return code
    .split('\n')
    .flatMap((line) => /console\.log\(.*\)[;)]* \/\/ (.*)$/.exec(line)?.[1] ?? []);
}

/** Runs a program of Node. */
function run(args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => (stdout += data));
    child.stderr.on('data', (data) => (stderr += data));
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status: status ?? signal, stdout, stderr }));
  });
}

/** As GitHub makes anchors of headings. */
function anchorsOf(text) {
  const anchors = new Set();
  for (const [, title] of proseOf(text).matchAll(/^#{1,6} +(.*)$/gm)) {
    const plain = title
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .trim()
      .toLowerCase();
    const slug = plain.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-');
    let anchor = slug;
    for (let count = 1; anchors.has(anchor); count += 1) anchor = `${slug}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

describe('the documentation', () => {
  let project;

  before(() => {
    project = fs.mkdtempSync(path.join(os.tmpdir(), 'docs-test-'));
    if (DOCS_MODULES) {
      fs.symlinkSync(DOCS_MODULES, path.join(project, 'node_modules'), 'junction');
      return;
    }
    fs.mkdirSync(path.join(project, 'node_modules'));
    // 'junction' needs no rights on Windows and is ignored elsewhere
    fs.symlinkSync(root, path.join(project, 'node_modules', packageName), 'junction');
    for (const name of ['prom-client', '@opentelemetry']) {
      const from = path.join(root, 'node_modules', name);
      fs.symlinkSync(from, path.join(project, 'node_modules', name), 'junction');
    }
  });

  after(() => fs.rmSync(project, { recursive: true, force: true }));

  describe('has code that runs', () => {
    const sources = documents.filter(
      (file) =>
        !file.startsWith('.github/') &&
        file.startsWith(ADAPTERS) === Boolean(DOCS_MODULES) &&
        file.endsWith(DOCS_PAGE),
    );
    for (const source of sources) {
      for (const { language, marker, line, lines } of blocksOf(read(source))) {
        const title = `${source}:${line}`;
        const code = lines.join('\n');
        if (marker?.kind === 'no-run') {
          it.skip(`${title} does not run: ${marker.text}`, () => {});
          it(`${title} says why it does not run`, () => assert.notStrictEqual(marker.text, ''));
        } else if (['js', 'mjs', 'cjs'].includes(language)) {
          it(title, async () => {
            const isModule = language === 'mjs' || /^import /m.test(code);
            const file = path.join(
              project,
              `${source.replace(/\W/g, '-')}-${line}.${isModule ? 'mjs' : 'cjs'}`,
            );
            const prelude = marker ? preludes[marker.text] : (text) => text;
            assert.ok(prelude, `no prelude is named ${marker?.text}`);
            fs.writeFileSync(file, prelude(code));
            const { status, stdout, stderr } = await run([file], project);
            assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: '' }, stdout);
            const expected = expectedOf(code);
            // Each process of a cluster writes the same.
            const written = stdout.split('\n').filter(Boolean);
            assert.deepStrictEqual([...new Set(written)].sort(), [...new Set(expected)].sort());
            assert.strictEqual(written.length % Math.max(1, expected.length), 0, stdout);
          });
        } else if (language === 'ts') {
          it(title, async () => {
            const file = path.join(project, `${source.replace(/\W/g, '-')}-${line}.mts`);
            fs.writeFileSync(file, code);
            const types = path.join(root, 'node_modules', '@types');
            const { status, stdout } = await run(
              [
                require.resolve('typescript/bin/tsc'),
                ...['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022'],
                ...['--skipLibCheck', '--typeRoots', types, '--types', 'node', file],
              ],
              project,
            );
            assert.strictEqual(status, 0, stdout);
          });
        } else {
          it(`${title} is no program`, () => assert.ok(NOT_CODE.includes(language), language));
        }
      }
    }
  });

  if (DOCS_MODULES) return;

  describe('has links that lead somewhere', () => {
    for (const source of documents) {
      it(source, () => {
        const text = read(source);
        const broken = [];
        for (const [, target] of proseOf(text).matchAll(/\]\(([^)\s]+)[^)]*\)/g)) {
          if (/^[a-z]+:/i.test(target)) continue;
          const [file, anchor] = target.split('#');
          const there = file ? path.posix.join(path.posix.dirname(source), file) : source;
          const exists = fs.existsSync(path.join(root, there));
          if (!exists || (anchor && !anchorsOf(read(there)).has(anchor))) broken.push(target);
        }
        assert.deepStrictEqual(broken, []);
      });
    }
  });

  describe('names files that exist', () => {
    for (const source of ['ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md']) {
      it(source, () => {
        const named = [...proseOf(read(source)).matchAll(/`([^`\s]+)`/g)].map(([, name]) => name);
        const isFile = (name) =>
          /^(src|lib|docs|bench|fuzz|tests|tools|scripts|examples|adapters|__test__|\.ci|\.github)\//.test(
            name,
          ) || /^[\w.-]+\.(js|md|rs|json|toml|d\.ts)$/.test(name);
        const missing = named
          .filter(isFile)
          .filter((name) => !fs.existsSync(path.join(root, name)));
        assert.deepStrictEqual(missing, []);
      });
    }
  });

  it('lists every error code', () => {
    const sources = [...filesOf('src', '.rs'), ...filesOf('lib', '.js')];
    // `ERR_STORE` is what some of them begin with.
    const used = sources.flatMap((file) =>
      [
        ...read(file).matchAll(
          /['"](ERR_(?!STORE['"])[A-Z_]+|ETIMEDOUT|LRU_CACHE_UNKNOWN_OPTION)['"]/g,
        ),
      ].map(([, code]) => code),
    );
    const listed = new Set(read('docs/limits.md').match(/\b[A-Z]+_[A-Z_]+\b|\bETIMEDOUT\b/g));
    assert.ok(used.length > 10);
    assert.deepStrictEqual([...new Set(used)].filter((code) => !listed.has(code)).sort(), []);
    const isCode = (word) => word.startsWith('ERR_');
    assert.deepStrictEqual(
      [...listed].filter(isCode).filter((code) => !used.includes(code)),
      [],
    );
  });
});
