'use strict';

/**
 * Writes of an instance with a remote tier: the server has them first, then the first tier removes the entry, which voids a lease of
 * the key. Where the server cannot be asked, a write rejects, or is made in the first tier alone and noted, so that the server forgets
 * the entry before it counts again.
 */

const { commands } = require('../commands');
const { CODES } = require('../errors');
const { isRefusal } = require('./clients/port');
const { keyOf, keyText } = require('./format');
const { DELETE_MANY, RESET, clearServer, scanServer, slices } = require('./machine');
const scripts = require('./scripts');
const { randomBytes } = require('crypto');

/** The most entries of one script. */
const ENTRIES = 100;

class Writer {
  #tier;

  /** @param {any} tier */
  constructor(tier) {
    this.#tier = tier;
  }

  /**
   * A write.
   *
   * @param {any} command
   * @param {any[]} keys the keys that it writes
   * @param {() => Promise<any>} remote on the server
   * @param {() => Promise<any>} local the same in the first tier alone
   */
  async write(command, keys, remote, local) {
    const tier = this.#tier;
    await tier.connected;
    let result;
    try {
      tier.counts.writes += 1;
      result = await remote();
    } catch (error) {
      if ([CODES.INVALID_ARG_TYPE, CODES.INVALID_ARG_VALUE].includes(error?.code)) throw error;
      return this.#writeHere(command, keys, local, error);
    }
    await tier.forget(keys);
    return result;
  }

  async #writeHere({ name: command }, keys, local, error) {
    const tier = this.#tier;
    tier.note(command, error);
    if (tier.rejects) {
      await tier.forget(keys);
      throw tier.asRemote(error);
    }
    const texts = keys.map(keyText);
    await tier.markChanged('e', texts);
    const result = await local();
    // The holder may have worked the mark off before the change was made here, where this process was stopped.
    await tier.markChanged('e', texts);
    return result;
  }

  /** Stores entries that the encoder gave, those of one script at a time. Resolves with `result`. */
  async setAll(command, entries, result, local) {
    const tier = this.#tier;
    const remote = async () => {
      for (const part of slices(entries, ENTRIES)) {
        const keys = tier.keysOf(part.map(({ key }) => key));
        const args = part.flatMap((entry) => entry.args);
        await tier.run(scripts.SET, keys, [randomBytes(16), ...args]);
      }
      return result;
    };
    const keys = entries.map(({ key }) => key);
    return this.write(command, keys, remote, local);
  }

  /** Removes entries. `result` makes the result of whether each was there. */
  async removeAll(command, keys, result) {
    if (keys.length === 0) return result([]);
    const tier = this.#tier;
    const remote = async () => {
      const there = [];
      for (const part of slices(keys, ENTRIES)) {
        there.push(...(await tier.run(scripts.DELETE, tier.keysOf(part), [])));
      }
      return result(there.map((one) => one === 1));
    };
    const local = async () => result(await tier.local.call(DELETE_MANY, keys));
    return this.write(command, keys, remote, local);
  }

  /** Removes the namespace everywhere. @param {any} command */
  async clear({ name: command }) {
    const tier = this.#tier;
    await tier.connected;
    try {
      const { port } = tier.machine;
      if (!port.isReady) throw port.unsent();
      await clearServer(port, tier.names, (script, keys) => tier.run(script, keys, []));
    } catch (error) {
      tier.note(command, error);
      // Where `SCAN` is not allowed it never will be.
      if (tier.rejects || isRefusal(error)) {
        await this.clearHere();
        throw tier.asRemote(error);
      }
      await tier.markChanged('a', ['']);
    }
    return this.clearHere();
  }

  /** Removes what the first tier has of the namespace. */
  clearHere() {
    return this.#tier.local.call(RESET);
  }

  /** Removes the entries whose keys begin with a text. Resolves with how many the server had. */
  async removePrefix(text) {
    const tier = this.#tier;
    const { entries, placeholders } = tier.names;
    await tier.connected;
    let count = 0;
    try {
      const { port } = tier.machine;
      if (!port.isReady) throw port.unsent();
      const remove = async (found) => {
        // A key may have been written by others.
        const texts = found.filter((one) => /^[sw]:/.test(one) && keyOf(one).startsWith(text));
        for (const part of slices(texts, ENTRIES)) {
          const there = await tier.run(scripts.DELETE, tier.names.pairs(part), []);
          count += there.filter((one) => one === 1).length;
          await tier.forget(part.map(keyOf));
        }
      };
      // What is being loaded ends first: what it has stored before that is an entry by then.
      await scanServer(port, placeholders, '', remove);
      // Texts that are not well-formed are named in another way. Half a pair of surrogates may begin a whole one.
      const hex = Buffer.from(text, 'utf16le').toString('hex');
      for (const begin of new Set([keyText(text.replace(/[\ud800-\udbff]$/, '')), `w:${hex}`])) {
        await scanServer(port, entries, begin, remove);
      }
    } catch (error) {
      tier.failed('deletePrefix', error);
      throw tier.asRemote(error);
    }
    // What the server had no longer may still be here.
    await tier.local.call(commands.deletePrefix, text);
    return count;
  }
}

module.exports = { Writer };
