'use strict';

/**
 * What the processes of this machine know together of one server: whether it tells them what changes.
 *
 * It lies in a namespace of its own, so it is where the entries are: in shared memory, in the primary, or in this process. One
 * text is the state: `<term> <phase> <at> <server>`.
 *
 * | phase  | meaning                                                                                                      |
 * | ------ | ------------------------------------------------------------------------------------------------------------ |
 * | `on`   | the server tells the holder what changes, and the holder had removed all that it was told before `at`. Until `at` plus `BOUND` what lies here counts |
 * | `lost` | what lies here may be older than what the server has: it is to be removed before anything else is read        |
 * | `off`  | nothing lies here that came from the server, and nothing is stored that comes from it                          |
 *
 * Every change is made by `compareAndSet`. `on` becomes `lost`, `lost` becomes `off` when every namespace was emptied, which ends
 * its leases, too; who finds `lost` does that, whoever left it. `off` becomes `on` by the holder alone, after the server has
 * acknowledged, and after one more emptying. `off` stays `off` under another holder: what was set here alone stays, too. `at` of `lost` and `off` says when somebody was at work last.
 *
 * A reader claims the lease of a key first, then reads the state, then asks the server; it stores only where the state was `on`. So
 * what it stores was read while changes were told: a later `lost` empties the namespace, and a lease that was claimed before
 * does not settle any more.
 *
 * `server` names the process of the server that tells the holder. A name may lead to another one after a failover: what a process
 * reads from another one than that is not stored, as nobody would tell of its changes.
 *
 * The holder has a lease on a key of that namespace. Where its process dies, another has the lease within 100 ms. Where it is
 * stopped, or its connection is half there, `at` grows old: whoever finds that raises the term, empties and
 * voids the lease. A holder that goes on finds a term that is not its own, and begins anew.
 */

const { commands, GET_TO_UPDATE, varied } = require('../commands');
const { CODES, REJECTS } = require('../errors');
const { LONGEST_TIMER, OF_MACHINES } = require('../options');
const { publish } = require('./channel');
const clock = require('./clock');
const { backoff } = require('./clients/port');
const { Names, keyOf, parseName, tagOf, trackedOf } = require('./format');
const { DELETE, REMOVE, UNTAG } = require('./scripts');
const { randomBytes } = require('crypto');

// Kept, because test suites replace the globals by timers that stand still.
const { clearTimeout, setImmediate, setTimeout } = globalThis;

/** The longest that something may count here that was changed on the server, in milliseconds. */
const BOUND = 2000;

/** Milliseconds between two pings, and between two looks at the state. */
const PING = 400;
const LOOK = 200;

/** How many reads go by between two looks at the clock, within one turn of the event loop. */
const READS = 64;

/** How many marks of changes are worked off at a time. */
const FLUSHED = 500;

/** How many keys are removed in one call. */
const SLICE = 200;

const nothing = () => {};

const never = { unanswered: REJECTS };
const GET = varied(commands.peek, never);
const SET = varied(commands.set, never);
const COMPARE_AND_SET = varied(commands.compareAndSet, never);
const KEYS = varied(commands.keys, never);
const DELETE_MANY = varied(commands.deleteMany, never);
const RESET = varied(commands.reset, never);

const pause = (time) =>
  new Promise((resolve) => {
    setTimeout(resolve, time).unref();
  });

/** @param {any} text @returns {{ term: number, phase: string, at: number, server: string } | undefined} */
function parse(text) {
  if (typeof text !== 'string') return undefined;
  const [term, phase, at, server = ''] = text.split(' ');
  return { term: Number(term), phase, at: Number(at), server };
}

const write = ({ term, phase, at, server = '' }) => `${term} ${phase} ${at} ${server}`;

/** Whether two connections may lead to the same process of a server. Some do not say which it is. */
const isSame = (one, other) => !one || !other || one === other;

class Machine {
  /** How many users there are. */
  #users = 0;
  #isBegun = false;
  #isClosed = false;
  /** How many reads may go by without a look at the clock. */
  reads = 0;
  #isArmed = false;
  /** Until when what lies here counts; 0: it does not. */
  #until = 0;
  #phase = '';
  #timer;
  #looking;
  /** By namespace: a client of the machine's own, as instances may be closed. */
  #clients = new Map();
  /** By namespace: the promise that the machine knows of it. */
  #registered = new Map();
  /** Keys that the server has told of, by namespace, and what removes them. */
  #told = [];
  #isToldSoon = false;
  #removing = new Set();
  #endHold = nothing;
  #waiting = new Set();
  isHolder = false;
  pushes = 0;
  /** Why the server does not tell this process what changes. @type {any} */
  reason;
  /** Since when commands of this process have gone to another server than the one that tells; 0: they do not. */
  #differsSince = 0;

  /**
   * @param {object} of
   * @param {any} of.port
   * @param {string} of.prefix
   * @param {(namespace: string) => any} of.open makes a client of a namespace
   * @param {any} of.miss what near reads give that do not know a key
   */
  constructor({ port, prefix, open, miss }) {
    this.port = port;
    this.prefix = prefix;
    this.id = `${port.address} ${prefix}`;
    this.open = open;
    this.miss = miss;
    this.client = open(OF_MACHINES);
    this.stateKey = `state ${this.id}`;
    this.holderKey = `holder ${this.id}`;
  }

  /** An instance is made that uses the machine. */
  add() {
    this.#users += 1;
  }

  /** A namespace is there. Resolves when the machine knows of it. @param {string} namespace */
  begin(namespace) {
    if (!this.#isBegun) {
      this.#isBegun = true;
      const begin = () => {
        this.#tick();
        this.#elect();
      };
      this.look().then(begin, begin);
    }
    return this.#register(namespace);
  }

  /** An instance ends. Returns whether it was the last: the machine is used no more then. */
  remove() {
    this.#users -= 1;
    this.#isClosed = this.#users === 0;
    return this.#isClosed;
  }

  /** Ends the work of this process. */
  end() {
    clearTimeout(this.#timer);
    return this.#endHold();
  }

  /** Says to all processes of the machine that a namespace is in use, before anything of the server is stored in it. */
  #register(namespace) {
    const known = this.#registered.get(namespace);
    if (known !== undefined) return known;
    const registered = this.#insist(() =>
      this.client.call(SET, `namespace ${this.id} ${namespace}`, namespace),
    );
    this.#registered.set(namespace, registered);
    return registered;
  }

  /** Makes a call until it succeeds: what it does must not be left out. */
  async #insist(call) {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (this.#isClosed || error?.code === CODES.CLOSED) throw error;
        await pause(5);
      }
    }
  }

  // ---- the state

  /**
   * Whether what lies here counts. Where there are `reads` left, a caller takes one and need not ask: so the clock is looked at at the
   * first read of a turn, and at every 64th.
   */
  isCurrent() {
    if (!(clock.now() < this.#until) && !this.#readNow()) return false;
    this.reads = READS;
    if (!this.#isArmed) {
      this.#isArmed = true;
      // It runs once at the end of this turn.
      setImmediate(() => {
        this.#isArmed = false;
        this.reads = 0;
      });
    }
    return true;
  }

  /** Reads the state at once, where it can be read here. Returns whether what lies here counts. */
  #readNow() {
    const { near } = this.client;
    const known = near === undefined ? this.miss : near.peek(this.stateKey);
    if (known !== this.miss) {
      this.#note(parse(known));
    } else {
      const local = (cache, key) => {
        const text = cache.peek(key);
        this.#note(parse(text));
        return text;
      };
      this.client.call(varied(GET, { local }), this.stateKey).catch(nothing);
    }
    return clock.now() < this.#until;
  }

  /** Notes what the state is. */
  #note(state) {
    const isOn = state?.phase === 'on';
    this.#until = isOn ? state.at + BOUND : 0;
    if (this.#until === 0) this.reads = 0;
    const phase = state?.phase ?? '';
    if (phase === this.#phase) return;
    this.#phase = phase;
    publish({ server: this.port.address, state: phase });
    if (!isOn) return;
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** The phase that this process has seen last. */
  get phase() {
    return this.#phase;
  }

  /** Resolves when the state is `on`, or after so many milliseconds. */
  async whenOn(time) {
    if (this.#phase === 'on') return;
    await new Promise((resolve) => {
      this.#waiting.add(resolve);
      setTimeout(resolve, time);
    });
  }

  /**
   * Reads the state, and marks beside it, in one call. Where nothing that lies here may be read, it is removed first.
   *
   * @param {string[]} marks keys of the namespace of the machine
   * @returns {Promise<{ isOn: boolean, marked: boolean, server?: string }>} `server`: the one that commands went to by then
   */
  async look(marks = []) {
    for (;;) {
      const { server } = this.port;
      const [text, ...found] = await this.client.call(commands.getMany, [this.stateKey, ...marks]);
      const state = parse(text);
      if (state !== undefined && state.phase !== 'lost' && clock.now() < state.at + BOUND) {
        this.#note(state);
        const isOn = state.phase === 'on' && this.#leadsTo(state.server, server);
        return { isOn, marked: found.some((mark) => mark !== undefined), server };
      }
      await this.#recover();
    }
  }

  /** Whether what was read after a look may be stored: it came from the server that tells what changes. */
  mayStore({ isOn, server }) {
    return isOn && server === this.port.server;
  }

  /** Whether commands of this process go to the server that tells what changes. If not for long, it connects anew. */
  #leadsTo(telling, asked) {
    if (isSame(telling, asked)) {
      this.#differsSince = 0;
      return true;
    }
    const now = clock.now();
    if (this.#differsSince === 0) this.#differsSince = now;
    if (now - this.#differsSince > BOUND) {
      this.#differsSince = 0;
      this.port.reconnect();
    }
    return false;
  }

  /** Changes the state: `next` gives the new one, or nothing. Resolves with whether it was changed. */
  async #change(next) {
    for (;;) {
      const entry = await this.client.call(GET_TO_UPDATE, this.stateKey);
      const state = next(parse(entry?.value));
      if (state === undefined) return false;
      const version = entry?.version ?? 0;
      if (await this.client.call(COMPARE_AND_SET, this.stateKey, version, write(state))) {
        this.#note(state);
        return true;
      }
    }
  }

  /** Nobody was at work for too long, or what lies here is to be removed. All callers of this process share it. */
  #recover() {
    this.#looking ??= this.#empty().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async #empty() {
    const isOld = (state) => state === undefined || !(clock.now() < state.at + BOUND);
    let isOver = false;
    await this.#change((state) => {
      if (!isOld(state)) return undefined;
      isOver = true;
      return { term: (state?.term ?? 0) + 1, phase: withoutHolder(state), at: clock.now() };
    });
    // The holder is stopped, or gone: it holds no longer.
    if (isOver) await this.client.call(DELETE_MANY, [this.holderKey]);
    await this.#finishLoss();
  }

  /** Makes `off` of `lost`. */
  async #finishLoss() {
    const entry = await this.client.call(GET_TO_UPDATE, this.stateKey);
    const state = parse(entry?.value);
    this.#note(state);
    if (state?.phase !== 'lost') return;
    await this.#emptyAll();
    // The version tells this loss from a later one of the same term: this process may have been stopped meanwhile.
    const off = write({ term: state.term, phase: 'off', at: clock.now() });
    await this.client.call(COMPARE_AND_SET, this.stateKey, entry.version, off);
  }

  /** Removes all entries, and ends all leases, of the namespaces that use the server on this machine. */
  async #emptyAll() {
    const prefix = `namespace ${this.id} `;
    const keys = await this.client.call(KEYS, { prefix });
    await Promise.all(
      keys.map((key) => this.#insist(() => this.#clientOf(key.slice(prefix.length)).call(RESET))),
    );
  }

  #clientOf(namespace) {
    let client = this.#clients.get(namespace);
    if (client === undefined) {
      client = this.open(namespace);
      this.#clients.set(namespace, client);
    }
    return client;
  }

  /** Looks at the state now and then: nobody may read, and the holder may be stopped. */
  #tick() {
    this.look()
      .catch(nothing)
      .finally(() => {
        if (!this.#isClosed) this.#timer = setTimeout(() => this.#tick(), LOOK).unref();
      });
  }

  // ---- the holder

  /** Holds the tracking connection as soon as nobody else does, for as long as this process uses the server. */
  async #elect() {
    const { leases } = this.client;
    while (!this.#isClosed) {
      try {
        const how = { fresh: true, leaseTimeout: LONGEST_TIMER };
        const claim = await leases.claim(this.holderKey, how);
        if (claim.state === 'leased') await this.#hold(claim.token);
        else if (claim.state === 'held') await this.#untilVoid(claim.token);
        else await pause(LOOK);
      } catch {
        await pause(LOOK);
      }
    }
  }

  /**
   * Resolves when the holder holds no longer; now and then, too, should that not have been told. A watch tells that the lease is void or its
   * owner dead, a wait that it was given up, by an instance of this process, too.
   */
  #untilVoid(token) {
    const { leases } = this.client;
    return new Promise((resolve) => {
      const end = () => {
        stop();
        resolve(undefined);
      };
      const stop = leases.watch(this.holderKey, token, end);
      leases.wait(this.holderKey, token, 5 * BOUND).then(end, end);
    });
  }

  async #hold(token) {
    const { leases } = this.client;
    let isOver = false;
    /** @type {import('./clients/port').Connection | undefined} */
    let connection;
    /** @type {() => void} */
    let wake = nothing;
    const end = () => {
      isOver = true;
      connection?.close();
      wake();
    };
    const sleep = (time) =>
      new Promise((resolve) => {
        wake = () => resolve(undefined);
        setTimeout(resolve, time).unref();
      });
    const stopped = leases.watch(this.holderKey, token, end);
    const finished = this.#track({
      isOver: () => isOver || this.#isClosed,
      sleep,
      wake: () => wake(),
      use: (made) => (connection = made),
    });
    this.#endHold = () => {
      end();
      return finished.catch(nothing);
    };
    this.isHolder = true;
    try {
      await finished;
    } finally {
      this.isHolder = false;
      this.#endHold = nothing;
      stopped();
      await leases.release(this.holderKey, token).catch(nothing);
    }
  }

  /** The work of a holder: connects, says so, pings, and begins anew where the connection is lost. */
  async #track({ isOver, sleep, wake, use }) {
    let term = 0;
    await this.#change((state) => {
      term = (state?.term ?? 0) + 1;
      return { term, phase: withoutHolder(state), at: clock.now() };
    });
    /** Says that the holder is at work. `false`: another is. */
    const say = (phase, at) =>
      this.#change((state) =>
        state?.term === term && (state.phase === phase || phase === 'lost')
          ? { ...state, phase, at }
          : undefined,
      );
    for (let attempt = 0; !isOver(); attempt += 1) {
      await this.#finishLoss();
      let isLost = false;
      /** @type {any} */
      let connection;
      const onLost = () => {
        isLost = true;
        wake();
      };
      const onKeys = (keys) => this.#tell(keys);
      let connecting = true;
      this.port
        .track([trackedOf(this.prefix)], onKeys, onLost)
        .then(
          (made) => (connection = made),
          (error) => {
            isLost = true;
            this.reason = error;
            publish({ server: this.port.address, error });
          },
        )
        .finally(() => {
          connecting = false;
          wake();
        });
      while (connecting) {
        await sleep(PING);
        if (connecting && !(await say('off', clock.now()))) return;
      }
      if (connection !== undefined) {
        use(connection);
        let mayBeOn = false;
        try {
          const at = isOver() || isLost ? 0 : await this.#prepare(connection, say);
          mayBeOn = at > 0;
          if (mayBeOn && (await this.#turnOn(term, at, connection.server))) {
            attempt = 0;
            this.reason = undefined;
            await this.#ping({ connection, isDone: () => isLost || isOver(), sleep, say });
          }
        } catch {
          // The connection, or the store here, failed.
        }
        connection.close();
        use(undefined);
        if (mayBeOn) {
          if (!(await say('lost', clock.now()))) return;
          await this.#finishLoss();
        }
      }
      // What was set here alone stays while nothing of the server is here.
      for (let left = backoff(attempt + 1); left > 0 && !isOver(); left -= PING) {
        await sleep(Math.min(left, PING));
        if (!(await say('off', clock.now()))) return;
      }
    }
  }

  /** The server has acknowledged: what lies here is removed once more. Resolves with the time from which on what is told is known; 0: what lies here may not count. */
  async #prepare(connection, say) {
    while (!(await this.#flush())) {
      if (!(await say('off', clock.now()))) return 0;
    }
    const at = clock.now();
    await connection.send(['PING']);
    if (!isSame(connection.server, this.port.server)) {
      this.reason = new Error('connections lead to different servers');
      // The connection that tells is the newer one.
      this.port.reconnect();
      return 0;
    }
    await this.#emptyAll();
    await this.#removed();
    return at;
  }

  /** What lies here counts from now on. */
  #turnOn(term, at, server) {
    return this.#change((state) =>
      state?.term === term && state.phase === 'off' ? { term, phase: 'on', at, server } : undefined,
    );
  }

  async #ping({ connection, isDone, sleep, say }) {
    while (!isDone()) {
      await sleep(PING);
      if (isDone()) return;
      const at = clock.now();
      const answer = connection.send(['PING']);
      const isAnswered = await Promise.race([
        answer.then(
          () => true,
          () => false,
        ),
        pause(BOUND),
      ]);
      if (!isAnswered || !isSame(connection.server, this.port.server)) return;
      await this.#removed();
      await this.#flush();
      if (!(await say('on', at))) return;
    }
  }

  // ---- what the server tells

  #tell(keys) {
    this.pushes += keys?.length ?? 1;
    if (keys === null) this.#told.push(null);
    else for (const key of keys) this.#told.push(String(key));
    if (this.#isToldSoon) return;
    this.#isToldSoon = true;
    process.nextTick(() => this.#apply());
  }

  /** Removes what the server has told of. */
  #apply() {
    this.#isToldSoon = false;
    const entries = new Map();
    const tags = new Map();
    const waited = [];
    const add = (map, namespace, value) => {
      const list = map.get(namespace);
      if (list === undefined) map.set(namespace, [value]);
      else list.push(value);
    };
    for (const name of this.#told.splice(0)) {
      if (name === null) {
        this.#remove(() => this.#emptyAll());
        continue;
      }
      const parsed = parseName(this.prefix, name);
      if (parsed === undefined) continue;
      const { namespace, what, text } = parsed;
      if (what === 'e') add(entries, namespace, keyOf(text));
      else if (what === 't') add(tags, namespace, tagOf(text));
      else if (what === 'p') waited.push(placeholderKey(this.id, namespace, text));
    }
    if (waited.length > 0) {
      for (const part of slices(waited)) this.client.call(DELETE_MANY, part).catch(nothing);
    }
    for (const [namespace, keys] of entries) {
      for (const part of slices(keys)) {
        this.#removeOf(namespace, (client) => client.call(DELETE_MANY, part));
      }
    }
    for (const [namespace, names] of tags) {
      for (const part of slices([...new Set(names)], 100)) {
        this.#removeOf(namespace, (client) => client.call(commands.invalidateTags, part));
      }
    }
  }

  #removeOf(namespace, call) {
    if (this.#clients.has(namespace) || this.#registered.has(namespace)) {
      this.#remove(() => call(this.#clientOf(namespace)));
      return;
    }
    this.#remove(async () => {
      const key = `namespace ${this.id} ${namespace}`;
      // A namespace that no process of this machine uses is left alone.
      if ((await this.client.call(GET, key)) !== undefined) await call(this.#clientOf(namespace));
    });
  }

  /** Removes what could not be removed at once. Until it is, the state is not renewed where this process holds. */
  forgetLater(namespace, keys) {
    this.#remove(() => this.#clientOf(namespace).call(DELETE_MANY, keys));
  }

  #remove(call) {
    const removal = this.#insist(call).catch(nothing);
    this.#removing.add(removal);
    removal.finally(() => this.#removing.delete(removal));
  }

  /** Resolves when all that was told by now has been removed. */
  async #removed() {
    this.#apply();
    await Promise.all(this.#removing);
  }

  // ---- what was changed here while the server was away

  /** The mark of a key, of a tag (`t`), or of all entries (`a`), of a namespace. */
  mark(what, namespace, text) {
    return `changed ${this.id} ${what} ${JSON.stringify(namespace)} ${text}`;
  }

  /** Notes what was changed here alone: the server is to forget it before it counts again. */
  async markChanged(marks) {
    await Promise.all(marks.map((mark) => this.client.call(SET, mark, 1)));
  }

  /**
   * Removes from the server, and from here, what was changed here alone; a part of it, where there is much. Resolves with whether all
   * was removed.
   */
  async #flush() {
    const prefix = `changed ${this.id} `;
    const marks = await this.client.call(KEYS, { prefix });
    await Promise.all(marks.slice(0, FLUSHED).map((mark) => this.#forgetThere(mark, prefix)));
    return marks.length <= FLUSHED;
  }

  async #forgetThere(mark, prefix) {
    const entry = await this.client.call(GET_TO_UPDATE, mark);
    const parts = /^(\w) ("(?:[^"\\]|\\.)*") ([^]*)$/.exec(mark.slice(prefix.length));
    if (entry === undefined || parts === null) return;
    const [, what, json, text] = parts;
    const namespace = JSON.parse(json);
    const names = new Names(this.prefix, namespace);
    const client = this.#clientOf(namespace);
    const run = (script, keys, ...args) =>
      this.port.run(script, keys, ['9e15', names.tags, ...args]);
    if (what === 'e') {
      await run(DELETE, names.pairs([text]));
      await client.call(DELETE_MANY, [keyOf(text)]);
    } else if (what === 't') {
      await run(UNTAG, [names.tags + text], randomBytes(16));
      await client.call(commands.invalidateTags, [tagOf(text)]);
    } else {
      await clearServer(this.port, names, run);
      await client.call(RESET);
    }
    // A mark that was set again meanwhile stays.
    await this.client.call(commands.compareAndDelete, mark, entry.version);
  }
}

/** The phase when a holder ends whose removals nobody knows. While it was `off`, nothing of the server lies here. */
const withoutHolder = (state) => (state?.phase === 'off' ? 'off' : 'lost');

/** Parts of a list. */
function slices(list, size = SLICE) {
  if (list.length <= size) return [list];
  return Array.from({ length: Math.ceil(list.length / size) }, (_, part) =>
    list.slice(part * size, (part + 1) * size),
  );
}

/** The key of what waits for a placeholder on the server, in the namespace of the machine. */
const placeholderKey = (id, namespace, text) =>
  `placeholder ${id} ${JSON.stringify(namespace)} ${text}`;

/**
 * Calls `each` with the names of the server that begin with a prefix, without it, in slices.
 *
 * @param {any} port
 * @param {string} prefix
 * @param {string} begin what comes after the prefix
 * @param {(texts: string[]) => Promise<any>} each
 */
async function scanServer(port, prefix, begin, each) {
  const pattern = `${(prefix + begin).replace(/[\\*?[\]]/g, '\\$&')}*`;
  let cursor = '0';
  do {
    const [next, keys] = await port.send(['SCAN', cursor, 'MATCH', pattern, 'COUNT', '1000']);
    cursor = String(next);
    if (keys.length > 0) await each(keys.map((key) => String(key).slice(prefix.length)));
  } while (cursor !== '0');
}

/**
 * Removes what the server has of a namespace. What is being loaded ends first: what it has stored before that is an entry by then.
 *
 * @param {any} port
 * @param {Names} names
 * @param {(script: any, keys: string[]) => Promise<any>} run runs a script
 */
async function clearServer(port, names, run) {
  await scanServer(port, names.placeholders, '', (texts) => run(DELETE, names.pairs(texts)));
  await scanServer(port, names.all, '', (texts) =>
    run(
      REMOVE,
      texts.map((text) => names.all + text),
    ),
  );
}

module.exports = {
  DELETE_MANY,
  Machine,
  RESET,
  clearServer,
  placeholderKey,
  scanServer,
  slices,
};
