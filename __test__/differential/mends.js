'use strict';

/**
 * Where this package means to differ from 1.7.4, with the reason, and how the original is brought to give what is
 * right. A mend is for the calls of `names` for which `when` is true (all, without it); of several, the first that
 * fits. Its `reference` gives what the call must give, and gets
 * `{ original, name, args, perform, open, parse, stringify }`: the original's instance, the call and its arguments, a
 * way to make it on the original as it is, one to open the namespace with other options, and the instance's functions.
 *
 * `alone`: the reference makes its calls one after another, or later than asked, so no other may be under way.
 */

/** A result: rejected, whatever with. */
const refused = Symbol('refused');

const isKey = (key) =>
  key === null || (typeof key !== 'object' && typeof key !== 'function' && typeof key !== 'symbol');

/** Sets an own property, `__proto__` too. */
function define(target, key, value) {
  Object.defineProperty(target, key, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

/**
 * What `mGet` must give. Of a key that is asked for twice the original gives what the second look found, which is
 * nothing when the first removed a stale value; it has no property for `__proto__`, and one for each miss.
 */
async function getMany({ original, args: [keys], perform }) {
  if (!Array.isArray(keys)) return perform();
  const names = keys.map(String);
  const plain = new Set(names).size === names.length && !names.includes('__proto__');
  const found = plain
    ? Object.entries(await perform())
    : await Promise.all(keys.map(async (key) => [String(key), await original.get(key)]));
  const hits = {};
  for (const [name, value] of found) if (value !== undefined) define(hits, name, value);
  return hits;
}

const mends = [
  {
    why: 'a time without end is Infinity from a worker too',
    names: ['dump'],
    reference: async ({ perform }) =>
      (await perform()).map(({ k, v, e }) => ({ k, v, e: e ?? Infinity })),
  },
  {
    why: 'a time without end is Infinity from a worker too',
    names: ['pop'],
    async reference({ perform }) {
      const entry = await perform();
      return entry && { ...entry, maxAge: entry.maxAge ?? Infinity };
    },
  },
  {
    why: 'what is no key is refused',
    names: ['get', 'set', 'peek', 'has', 'del', 'incr'],
    when: ({ args: [key] }) => !isKey(key),
    reference: () => refused,
  },
  {
    why: 'what is no key is refused',
    names: ['mGet', 'mDel'],
    when: ({ args: [keys] }) => Array.isArray(keys) && !keys.every(isKey),
    reference: () => refused,
  },
  {
    why: 'execute reaches no property and no method of a prototype',
    names: ['toString', 'constructor', '__proto__', 'hasOwnProperty'],
    reference: ({ original }) => original.execute('borked'),
  },
  {
    why: 'they resolve with true, as those of 1.5.24',
    names: ['mSet', 'mDel'],
    reference: async ({ perform }) => (await perform(), true),
  },
  {
    why: 'it resolves with true and takes what mSet takes; __proto__ is a key like any other',
    names: ['mSetObjects'],
    // The original rejects on null and takes a string for a list.
    async reference({ original, args: [pairs, maxAge], stringify }) {
      const texts = {};
      if (typeof pairs !== 'object' || pairs === null) return true;
      for (const key of Object.keys(pairs)) define(texts, key, stringify(pairs[key]));
      await original.mSet(texts, maxAge);
      return true;
    },
  },
  {
    why: 'a miss has no property and takes none away; __proto__ is a key like any other',
    names: ['mGet'],
    reference: getMany,
  },
  {
    why: 'a miss does not make it reject',
    names: ['mGetObjects'],
    async reference({ original, args, parse }) {
      const pairs = await getMany({ original, args, perform: () => original.mGet(...args) });
      const objects = {};
      for (const [key, text] of Object.entries(pairs)) define(objects, key, parse(text));
      return objects;
    },
  },
  {
    why: 'an amount of 0 adds 0',
    names: ['incr', 'decr'],
    when: ({ args: [, amount] }) => amount === 0,
    alone: true,
    async reference({ original, name, args: [key] }) {
      const found = await original.get(key);
      const number = typeof found === 'number' ? found : 0;
      // They differ for -0.
      const value = name === 'incr' ? number + 0 : number - 0;
      await original.set(key, value);
      return value;
    },
  },
  {
    why: 'a max of 0 is set; no bound is Infinity from a worker too',
    names: ['max'],
    alone: true,
    async reference({ original, args: [max], open }) {
      if (max === 0) open({ max });
      return (await original.max(max)) ?? Infinity;
    },
  },
  {
    why: 'a maxAge of 0 is set; Infinity is Infinity from a worker too',
    names: ['maxAge'],
    alone: true,
    async reference({ original, args: [maxAge], open }) {
      if (maxAge === 0) open({ maxAge });
      return (await original.maxAge(maxAge)) ?? Infinity;
    },
  },
  {
    why: 'false is set',
    names: ['allowStale', 'stale'],
    alone: true,
    async reference({ original, args: [stale], open }) {
      if (stale === false) open({ stale });
      return original.allowStale(stale);
    },
  },
];

/** The mend that a call needs, if it needs one, with the name and the arguments it is for. */
function mendOf(call) {
  const [name, ...args] = call.name === 'execute' ? call.args : [call.name, ...call.args];
  const mend = mends.find(({ names, when }) => names.includes(name) && (when?.({ args }) ?? true));
  return mend && { ...mend, name, args };
}

/** Whether a call must not be joined by another; `free`: it is compared as it is, without mends. */
function isAlone(call, free) {
  if (call.name === 'open' || call.name === 'reload') return true;
  return !free && (mendOf(call)?.alone ?? false);
}

module.exports = { mendOf, isAlone, refused };
