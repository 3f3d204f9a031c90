'use strict';

/**
 * What can be seen of shared memory from outside: through `/proc/<pid>/fd`, as an administrator would. Where a
 * field of the header lies is said in `src/storage/shared/layout.rs`.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const NAME = '/memfd:lru-cache-for-clusters:';

function list(directory) {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

/** The segments that a process has: `{ pid, fd, file, inode }`, in the order they were made or attached. */
function segmentsOf(pid) {
  const found = [];
  for (const fd of list(`/proc/${pid}/fd`)) {
    const file = `/proc/${pid}/fd/${fd}`;
    try {
      if (!fs.readlinkSync(file).startsWith(NAME)) continue;
      found.push({ pid, fd: Number(fd), file, inode: fs.statSync(file).ino });
    } catch {
      // Closed meanwhile.
    }
  }
  return found.sort((a, b) => a.fd - b.fd);
}

/** The processes that have one of these segments, by their file or by their mapping. */
function holders(inodes) {
  return list('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    if (segmentsOf(pid).some(({ inode }) => inodes.includes(inode))) return true;
    try {
      const maps = fs.readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
      return maps.some(
        (line) => line.includes(NAME) && inodes.includes(Number(line.split(/\s+/)[4])),
      );
    } catch {
      return false;
    }
  });
}

function header(segment) {
  const handle = fs.openSync(segment.file, 'r');
  const bytes = Buffer.alloc(320);
  fs.readSync(handle, bytes, 0, bytes.length, 0);
  fs.closeSync(handle);
  return bytes;
}

/** What leads another process to a segment. */
function ticketOf(segment) {
  const nonce = [48, 56].map((at) => header(segment).readBigUInt64LE(at));
  const hex = nonce.map((half) => half.toString(16).padStart(16, '0')).join('');
  const namespaces = [152, 160].map((at) => header(segment).readBigUInt64LE(at));
  return `${segment.pid}:${segment.fd}:${namespaces.join(':')}:${hex}`;
}

/** How often a segment was rebuilt, and how many rows were dropped then. */
function recoveries(segment) {
  const bytes = header(segment);
  return { rebuilt: bytes.readUInt32LE(136), dropped: bytes.readUInt32LE(140) };
}

/** The bytes of memory behind a segment, by the kernel's count. */
function committed(segment) {
  return fs.statSync(segment.file).blocks * 512;
}

/** A figure of a process's memory, in bytes: `Rss`, `Pss`, `Pss_Shmem`, … */
function memoryOf(pid, field) {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? NaN) * 1024;
}

/**
 * Compares every structure of a segment with the others; says what it found, and throws where they do not fit.
 * `VALIDATE` in the environment is the program that does it (`examples/validate.rs`), if it is built already.
 */
function validate(segment) {
  const cargo = ['run', '--quiet', '--release', '--no-default-features', '--example', 'validate'];
  const [program, given] = process.env.VALIDATE ? [process.env.VALIDATE, []] : ['cargo', cargo];
  const { status, stdout, stderr, error } = spawnSync(program, [...given, ticketOf(segment)], {
    cwd: path.resolve(__dirname, '../..'),
    encoding: 'utf8',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`the segment is not valid: ${stderr}`);
  return stdout.trim();
}

module.exports = { segmentsOf, holders, ticketOf, recoveries, committed, memoryOf, validate };
