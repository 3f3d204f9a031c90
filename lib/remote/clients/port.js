'use strict';

/**
 * What the remote tier sees of a client library: a port. It makes connections with the options of the application's client, which
 * itself is left alone. One file beside this one says how a library does that.
 *
 * A connection that is lost is never used again. All that has no reply is rejected, and nothing is sent twice: whether the server
 * has run a command is unknown then, and a counter would count twice. (The libraries connect again by themselves, but `ioredis` sends
 * again what had no reply, and node-redis 5 and 6 may never send anything after it.)
 */

const { createHash } = require('crypto');
const { CODES, makeError } = require('../../errors');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, performance, setTimeout } = globalThis;

/** Milliseconds in which a connection must be made. */
const CONNECT_TIMEOUT = 5000;

/** Milliseconds in which a sentinel must answer, where the client says no other time. */
const SENTINEL_TIMEOUT = 1000;

/** Milliseconds in which a reply is read that has come while this process was blocked. */
const GRACE = 50;

/** Milliseconds without a reply, while one is awaited, after which a connection counts as lost. */
const SILENCE = 2000;

const nothing = () => {};

/** The error of a call that the server could not be asked for. */
const away = (text, cause) =>
  Object.assign(makeError(['Error', `the remote server: ${text}`, CODES.REMOTE]), { cause });

/** A script of the server, with what names it there. */
class Script {
  /** @param {string} text Lua */
  constructor(text) {
    this.text = text;
    this.sha = createHash('sha1').update(text).digest('hex');
  }
}

/** Milliseconds before the next attempt to connect, in a range that grows: so not all come at once. */
function backoff(attempt) {
  const most = Math.min(50 * 2 ** Math.min(attempt, 6), 2000);
  return most / 2 + Math.random() * (most / 2);
}

/**
 * Waits for a promise, at most so many milliseconds.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} time
 * @param {string} text of the error
 * @returns {Promise<T>}
 */
function inTime(promise, time, text) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(text)), time);
    // The call that needs the connection has a time of its own.
    timer.unref();
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/**
 * Makes a connection, in time. `connect` is given what takes the function that ends it before it is made: an attempt that is given up leaves
 * nothing open.
 *
 * @param {(abandon: (close: () => void) => void) => Promise<Connection>} connect
 * @returns {Promise<Connection>}
 */
async function attempt(connect) {
  let isOver = false;
  /** @type {() => void} */
  let end = nothing;
  const abandon = (close) => {
    end = close;
    if (isOver) close();
  };
  try {
    return await inTime(connect(abandon), CONNECT_TIMEOUT, 'no connection was made in time');
  } catch (error) {
    isOver = true;
    end();
    throw error;
  }
}

/** Whether a server has no such command, or does not allow it: it will not do so later either. */
const isRefusal = (error) => /^(?:NOPERM|ERR unknown)/i.test(String(error?.message));

/**
 * Asks the server at the other end of a connection what it is. Throws where that is a replica, or does not answer yet. Resolves with what names
 * its process; `undefined` where a user is not allowed to ask.
 *
 * @param {(args: string[]) => Promise<any>} send
 * @returns {Promise<string | undefined>}
 */
async function checkServer(send) {
  let text;
  try {
    text = String(await send(['INFO', 'server', 'replication', 'persistence']));
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
  const valueOf = (name) => new RegExp(`^${name}:(\\w+)`, 'm').exec(text)?.[1];
  if (valueOf('role') === 'slave') throw new Error('the server is a replica');
  if (valueOf('loading') === '1') throw new Error('the server is loading its data');
  return valueOf('run_id');
}

/** The address of a primary that sentinels name. Others may have one of the same name. */
function sentinelAddress(name, sentinels, database = 0) {
  const hosts = sentinels.map(({ host, port }) => `${host}:${port}`).sort();
  return `sentinel:${name}@${hosts.join(',')}/${database}`;
}

/**
 * A connection for commands, or one that tells which keys change: then `send` sends nothing but `PING`, and what was told before the
 * answer has been given to `onKeys` when that is there.
 *
 * @typedef {object} Connection
 * @property {(args: (string | Buffer)[]) => Promise<any>} send resolves with the reply, its strings as buffers
 * @property {() => void} close
 * @property {string} [server] names the process of the server, where that says so
 */

class Port {
  /** @type {Connection | undefined} */
  #connection;
  #isClosed = false;
  /** @type {((value?: any) => void)[]} */
  #waiting = [];
  #attempts = 0;
  #timer;
  /** How many replies are awaited, and since when there was none. */
  #awaited = 0;
  #since = 0;
  #watch;
  /** What the clock of this process lacks to that of the server. @type {Promise<number> | undefined} */
  #offset;
  /** Why there is no connection. @type {any} */
  #reason;
  /** Names the server and the database, the same in every process that uses them. */
  address = '';
  /** What the application's client puts before each key. */
  keyPrefix = '';
  /** How often a connection was made. */
  connects = 0;

  /** Whether a command would be sent now. */
  get isReady() {
    return this.#connection !== undefined;
  }

  /** Names the process of the server that commands go to, where that says so. */
  get server() {
    return this.#connection?.server;
  }

  /** Why there is no connection; `undefined` while there is one, or before the first attempt has ended. @returns {any} */
  get reason() {
    return this.#connection === undefined ? this.#reason : undefined;
  }

  /** The error of a call that there is no connection for. It was not sent. */
  unsent() {
    const { reason } = this;
    const why = reason === undefined ? '' : `: ${reason.message}`;
    return Object.assign(away(`there is no connection${why}`, reason), { isUnsent: true });
  }

  /** Resolves when a command would be sent, or after so many milliseconds. */
  async whenReady(time) {
    if (this.isReady) return;
    await new Promise((resolve) => {
      this.#waiting.push(resolve);
      setTimeout(resolve, time);
    });
  }

  /** Makes the connection for commands, and makes it again when it is lost. */
  open() {
    let isLost = false;
    /** @type {Connection | undefined} */
    let made;
    const lost = () => {
      if (isLost) return;
      isLost = true;
      if (made !== undefined && this.#connection === made) this.#lose();
    };
    attempt((abandon) => this.connect(lost, abandon)).then(
      (connection) => {
        if (this.#isClosed || isLost) {
          connection.close();
          if (!this.#isClosed) this.#again();
          return;
        }
        made = connection;
        this.#connection = connection;
        this.#offset = undefined;
        this.#attempts = 0;
        this.connects += 1;
        for (const resolve of this.#waiting.splice(0)) resolve();
      },
      (error) => {
        this.#reason = error;
        this.#again();
      },
    );
    return this;
  }

  #again() {
    if (this.#isClosed) return;
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.open(), backoff(this.#attempts)).unref();
  }

  /** Gives the connection up, and makes another one. */
  reconnect() {
    if (this.isReady) this.#lose();
  }

  #lose() {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#awaited = 0;
    clearTimeout(this.#watch);
    this.#watch = undefined;
    connection?.close();
    this.#again();
  }

  /**
   * Sends a command. It rejects where there is no connection, and where that is lost.
   *
   * @param {(string | Buffer)[]} args
   * @returns {Promise<any>}
   */
  send(args) {
    const connection = this.#connection;
    if (connection === undefined) return Promise.reject(this.unsent());
    const reply = connection.send(args);
    if (this.#awaited === 0) {
      this.#since = performance.now();
      this.#watch ??= setTimeout(() => this.#look(), SILENCE).unref();
    }
    this.#awaited += 1;
    const ended = () => {
      if (this.#connection !== connection) return;
      this.#awaited -= 1;
      this.#since = performance.now();
    };
    reply.then(ended, (error) => {
      ended();
      // The server has become a replica: the name of the primary leads elsewhere by now.
      const isReplica = String(error?.message).startsWith('READONLY');
      if (isReplica && this.#connection === connection) this.#lose();
    });
    return reply;
  }

  /** Whether the server has become silent. */
  #look(isSure = false) {
    this.#watch = undefined;
    if (this.#awaited === 0) return;
    const left = SILENCE - (performance.now() - this.#since);
    if (left <= 0 && isSure) {
      this.#lose();
      return;
    }
    // Where this process was blocked, a reply that has come meanwhile is read first.
    const isLast = left <= 0;
    this.#watch = setTimeout(() => this.#look(isLast), isLast ? GRACE : Math.max(left, 10)).unref();
  }

  /**
   * The time of the server, in milliseconds, so many milliseconds from now: never later. It is known of each connection from one
   * question. `anew`: the clock of the server was set.
   *
   * @param {number} left
   * @param {boolean} anew
   */
  async timeAfter(left, anew) {
    const at = performance.now() + left;
    if (anew) this.#offset = undefined;
    this.#offset ??= this.#askTime().catch((error) => {
      this.#offset = undefined;
      throw error;
    });
    const offset = await this.#offset;
    return (at + offset).toFixed(3);
  }

  async #askTime() {
    const [seconds, microseconds] = await this.send(['TIME']);
    return Number(String(seconds)) * 1000 + Number(String(microseconds)) / 1000 - performance.now();
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

  /**
   * Makes a connection that tells which keys with these prefixes change.
   *
   * @param {string[]} prefixes
   * @param {(keys: (string | Buffer)[] | null) => void} onKeys is given keys, or `null` for all
   * @param {() => void} onLost
   */
  track(prefixes, onKeys, onLost) {
    return attempt((abandon) => this.connectTracking(prefixes, onKeys, onLost, abandon));
  }

  /** Ends the connection. */
  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#connection?.close();
    this.#connection = undefined;
  }

  /**
   * @param {() => void} onLost may be called more than once
   * @param {(close: () => void) => void} abandon is given what ends the attempt
   * @returns {Promise<Connection>}
   */
  // eslint-disable-next-line no-unused-vars
  connect(onLost, abandon) {
    throw new Error('not implemented');
  }

  /**
   * @param {string[]} prefixes
   * @param {(keys: (string | Buffer)[] | null) => void} onKeys
   * @param {() => void} onLost
   * @param {(close: () => void) => void} abandon
   * @returns {Promise<Connection>}
   */
  // eslint-disable-next-line no-unused-vars
  connectTracking(prefixes, onKeys, onLost, abandon) {
    throw new Error('not implemented');
  }
}

module.exports = {
  Port,
  SENTINEL_TIMEOUT,
  Script,
  away,
  backoff,
  checkServer,
  inTime,
  isRefusal,
  nothing,
  sentinelAddress,
};
