'use strict';

// The manifest that the workflow publishes: its addresses are those of the repository that the workflow runs in.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const PLACEHOLDER = 'repository.invalid';

/** The command of a step of the workflow, on one line. */
function commandOf(step) {
  const workflow = fs.readFileSync(path.join(root, '.github', 'workflows', 'ci.yml'), 'utf8');
  const [, lines] = new RegExp(`- name: ${step}\\n +run: >-\\n((?: {10}.*\\n)+)`).exec(workflow);
  return lines
    .trim()
    .split(/\s*\n\s*/)
    .join(' ');
}

describe('the workflow', () => {
  it('publishes no placeholder address', function () {
    if (process.platform === 'win32') this.skip(); // the step runs in bash
    const manifest = fs.readFileSync(path.join(root, 'package.json'), 'utf8');
    assert.ok(manifest.includes(PLACEHOLDER));
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'publish-'));
    try {
      const file = path.join(directory, 'package.json');
      fs.writeFileSync(file, manifest);
      const env = { ...process.env, GITHUB_REPOSITORY: 'owner/name' };
      execFileSync('sh', ['-c', commandOf('Name the repository')], { cwd: directory, env });
      const published = fs.readFileSync(file, 'utf8');
      assert.ok(!published.includes(PLACEHOLDER), published);
      const { repository, bugs, homepage } = JSON.parse(published);
      assert.deepEqual(repository, { type: 'git', url: 'git+https://github.com/owner/name.git' });
      assert.deepEqual(bugs, { url: 'https://github.com/owner/name/issues' });
      assert.equal(homepage, 'https://github.com/owner/name#readme');
    } finally {
      fs.rmSync(directory, { recursive: true, force: true });
    }
  });
});
