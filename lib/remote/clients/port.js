'use strict';

/**
 * What the remote tier sees of a client library: a port. One file beside this one makes it of each library.
 *
 * | member              | meaning                                                                                        |
 * | ------------------- | ---------------------------------------------------------------------------------------------- |
 * | `address`           | names the server and the database, the same in every process that uses them                    |
 * | `keyPrefix`         | what the application's client puts before each key                                             |
 * | `isReady`           | whether a command would be sent now                                                            |
 * | `send(args)`        | sends a command; resolves with the reply, its strings as buffers. It never sends twice         |
 * | `track(prefixes, on)` | opens a connection that tells which keys with these prefixes change: a `Tracker`             |
 * | `close()`           | ends what the port has opened, not the application's client                                    |
 *
 * @typedef {{ onKeys: (keys: (string | Buffer)[] | null) => void, onLost: () => void }} Listener `onKeys` is given keys that have
 *   changed, or `null` for all; `onLost` is called once, when nothing is told any more
 * @typedef {{ ping: () => Promise<any>, close: () => void }} Tracker every key that was told before the answer to a `ping` has
 *   been given to `onKeys` when that resolves
 */

const { createHash } = require('crypto');

/** A script of the server, with what names it there. */
class Script {
  /** @param {string} text Lua */
  constructor(text) {
    this.text = text;
    this.sha = createHash('sha1').update(text).digest('hex');
  }
}

class Port {
  /**
   * @param {(string | Buffer)[]} args
   * @returns {Promise<any>}
   */
  // eslint-disable-next-line no-unused-vars
  send(args) {
    throw new Error('not implemented');
  }

  /**
   * Runs a script. The server has it by its name; only one that was started anew is sent the text. A script that the server does
   * not know was not run, so it is run once.
   *
   * @param {Script} script
   * @param {string[]} keys
   * @param {(string | Buffer)[]} args
   */
  async run(script, keys, args) {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await this.send(['EVALSHA', script.sha, ...rest]);
    } catch (error) {
      if (!String(error?.message).startsWith('NOSCRIPT')) throw error;
      return this.send(['EVAL', script.text, ...rest]);
    }
  }
}

/** Milliseconds before the next attempt to connect, in a range that grows: so not all come at once. */
function backoff(attempt) {
  const most = Math.min(50 * 2 ** Math.min(attempt, 6), 2000);
  return Math.round(most / 2 + Math.random() * (most / 2));
}

module.exports = { Port, Script, backoff };
