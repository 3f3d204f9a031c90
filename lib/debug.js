'use strict';

const { format } = require('util');

const NAME = 'lru-cache-for-clusters-as-promised';

/** Whether `DEBUG` asks for a log: names separated by commas or spaces, `*` for anything, `-name` for not. */
function isWanted(name, patterns = process.env.DEBUG ?? '') {
  const matches = (pattern) => {
    const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`).test(name);
  };
  const all = patterns.split(/[\s,]+/).filter(Boolean);
  const not = all.filter((pattern) => pattern.startsWith('-')).map((pattern) => pattern.slice(1));
  return all.some(matches) && !not.some(matches);
}

/** A log as the package `debug` writes it, on stderr; does nothing unless `DEBUG` names it. */
function debug(part) {
  const name = `${NAME}-${part}`;
  if (!isWanted(name)) return () => {};
  return (...what) => process.stderr.write(`${name} ${process.pid} ${format(...what)}\n`);
}

module.exports = { debug };
