'use strict';

/**
 * A worker's doors: straight to the store where it lies in shared memory, by messages to the primary else.
 * Calls of one turn of the event loop travel in one message, in order; so do their answers.
 */

const { randomUUID } = require('crypto');
const { failSafe, makeError } = require('./errors');
const { KIND } = require('./codec');
const { LONGEST_TIMER, timeoutOf } = require('./options');
const { sharedKey } = require('./lru-cache');
const { hasPrimary } = require('./peers');
const { MESSAGE_LENGTH, SOURCE, isOurs } = require('./protocol');
const { whyNot } = require('./sharing');
const { Space } = require('./space');
const { BUSY, passes } = require('./waiting');

// Kept, because test suites replace the globals by timers that stand still.
const { performance, setImmediate, setTimeout } = globalThis;

const nothing = () => {};

/** A call that waits for its answer. */
class Call {
  constructor(door, command, request, args, resolve, reject) {
    /** Given when it is sent: so ids rise in the order of requests, and of answers. */
    this.id = undefined;
    this.door = door;
    this.command = command;
    /** The request, from behind its id; until it is sent. */
    this.request = request;
    this.args = args;
    this.resolve = resolve;
    this.reject = reject;
    /** The keys it concerns, as `UnderWay` has them. */
    this.keys = undefined;
    /** Its place among the calls that are under way as messages, while it is one. */
    this.place = undefined;
    /** The calls whose time it shares. */
    this.turn = undefined;
  }

  /** Whether somebody waits for it. */
  get isOpen() {
    return this.resolve !== undefined;
  }

  /** Whether it makes a cache: then it is made even where nobody waits any more. */
  get creates() {
    return this.command === CREATE;
  }
}

/** The calls of one turn that have the same timeout. */
class Turn {
  calls = [];
  /** How many of them wait. */
  open = 0;

  constructor(due) {
    /** When their time is over, in milliseconds of `performance.now()`. */
    this.due = due;
  }

  add(call) {
    call.turn = this;
    this.calls.push(call);
    this.open += 1;
  }

  settle() {
    this.open -= 1;
    // Nothing of an answered call is kept until its time is over.
    if (this.open === 0) this.calls = [];
  }
}

/** Watches over all calls that have the same timeout, with one timer. */
class Deadline {
  /** Turns from `#first` on, the oldest first; answered ones may lie between them. */
  #turns = [];
  #first = 0;
  #timer;

  /** `expire` ends calls; `idle` is called when none is left to watch over. */
  constructor(timeout, expire, idle) {
    this.timeout = timeout;
    this.expire = expire;
    this.idle = idle;
  }

  /** Starts the clock of a turn. */
  begin() {
    const turn = new Turn(performance.now() + this.timeout);
    this.#skip((oldest) => oldest.open === 0);
    this.#turns.push(turn);
    if (!this.#timer) this.#wait(this.timeout);
    return turn;
  }

  /** Passes over the oldest turns for as long as `done` says so. */
  #skip(done) {
    while (this.#first < this.#turns.length && done(this.#turns[this.#first])) this.#first += 1;
    if (this.#first * 2 > this.#turns.length) {
      this.#turns.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #wait(time) {
    this.#timer = setTimeout(
      () => setImmediate(() => this.#check()),
      Math.min(time, LONGEST_TIMER),
    );
    // The channel keeps a worker alive for as long as an answer can come.
    this.#timer.unref();
  }

  /**
   * Ends what is due. Runs in the turn after the timer's: where this worker was busy, its answers lie unread
   * in the channel and are read first.
   */
  #check() {
    this.#timer = undefined;
    const now = performance.now();
    const due = [];
    this.#skip((oldest) => {
      if (oldest.open > 0 && oldest.due > now) return false;
      for (const call of oldest.calls) due.push(call);
      return true;
    });
    if (due.length > 0) this.expire(due);
    if (this.#first < this.#turns.length) {
      this.#wait(Math.max(1, this.#turns[this.#first].due - now));
    } else {
      this.idle();
    }
  }
}

/** Whether this process's channel carries structured clones; `undefined` while nobody knows. */
let advanced;

/** Finds that out when it is sent: JSON asks for `toJSON`, structured clone for the properties. */
const probe = Object.defineProperty(
  Object.create({
    toJSON() {
      advanced = false;
      return true;
    },
  }),
  'value',
  {
    enumerable: true,
    get() {
      advanced = true;
      return true;
    },
  },
);

/** The way to the primary that all instances of this process share. */
class Channel {
  /** Tells the answers to this copy of the package from those to another in the same process. */
  #name = randomUUID();
  #nextId = 1;
  /** Calls sent and not answered, by id. */
  #pending = new Map();
  /** Calls not sent yet, in order. */
  #outbox = [];
  /** How many of these have their clock running. */
  #clocked = 0;
  /** How many of these have ended already. */
  #ended = 0;
  /** By timeout. */
  #deadlines = new Map();
  #flushing = false;
  /** The primary's hello, once there was one. */
  #primary;
  /** The options of every namespace, as given so far. */
  #created = new Map();
  #spaces = new Map();
  /** Those asked for, by the id of the request. */
  #asked = new Map();
  /** The highest id of an answer. They come in order. */
  #answered = 0;
  /** Whether there seems to be no primary of ours. */
  #alone = whyNot() === undefined && !hasPrimary();

  constructor() {
    process.on('message', (message) => this.#receive(message));
    process.on('disconnect', () => this.#close());
    this.#post({ source: SOURCE, hello: probe }, nothing);
  }

  /** A namespace as this worker has it. */
  space(name) {
    let space = this.#spaces.get(name);
    if (!space) {
      space = new Space(name, this, this.#alone);
      space.why = whyNot() ?? space.why;
      this.#spaces.set(name, space);
    }
    return space;
  }

  /** Makes a cache, or changes the options of one. Resolves when it exists. */
  create(door) {
    const given = JSON.parse(door.store);
    this.#created.set(door.namespace, { ...this.#created.get(door.namespace), ...given });
    const { space } = door;
    if (space.json !== undefined && given.prune !== undefined && this.#primary) {
      // The store is at hand; the schedule is the primary's.
      const { prune } = given;
      this.#outbox.push(this.#creation(space, { prune }));
      this.#flushSoon();
    }
    return this.call(door, CREATE, door.store, space);
  }

  /** Makes a call that cannot go straight to the store: here as soon as it can, or in the primary. */
  call(door, command, a, b, c) {
    return new Promise((resolve, reject) => {
      const mode = door.copiesClones;
      if (command.snapshot) a = command.snapshot(a);
      const encoded = command.encode(mode, a, b, c);
      const head = `,${mode ? 1 : 0},${door.namespaceJson},"${command.name}"`;
      const request = encoded === '' ? `${head}]` : `${head},${encoded}]`;
      const call = new Call(door, command, request, a, resolve, reject);
      call.keys = command.keysOf?.(a);
      const { space } = door;
      if (space.isHere && (space.isWaiting || !space.underWay.blocks(call.keys))) {
        this.#deadline(door.timeout).begin().add(call);
        space.make(call);
      } else {
        this.post(call);
      }
    });
  }

  /** Sends a call to the primary at the end of this turn. */
  post(call) {
    const { space } = call.door;
    // Options concern every call that is made after them.
    call.place = space.underWay.begin(call.creates ? undefined : call.keys);
    space.open = false;
    this.#outbox.push(call);
    this.#flushSoon();
  }

  #flushSoon() {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => this.#flush());
  }

  /** Ends the turn: starts the clocks of its calls, and sends them if the primary listens. */
  #flush() {
    this.#flushing = false;
    let turn;
    let timeout;
    for (let index = this.#clocked; index < this.#outbox.length; index += 1) {
      const call = this.#outbox[index];
      if (!call.isOpen || call.turn) continue;
      if (!turn || call.door.timeout !== timeout) {
        timeout = call.door.timeout;
        turn = this.#deadline(timeout).begin();
      }
      turn.add(call);
    }
    this.#clocked = this.#outbox.length;
    if (!process.connected) this.#close();
    else if (this.#primary) this.#send();
  }

  #deadline(timeout) {
    let deadline = this.#deadlines.get(timeout);
    if (!deadline) {
      const expire = (calls) => this.#expire(calls);
      deadline = new Deadline(timeout, expire, () => this.#deadlines.delete(timeout));
      this.#deadlines.set(timeout, deadline);
    }
    return deadline;
  }

  #send() {
    const calls = this.#outbox.filter((call) => call.isOpen || call.creates);
    this.#outbox = [];
    this.#clocked = 0;
    this.#ended = 0;
    let from = 0;
    let length = 0;
    for (let index = 0; index <= calls.length; index += 1) {
      const next = calls[index]?.request.length ?? Infinity;
      if (index > from && length + next > MESSAGE_LENGTH) {
        this.#sendCalls(calls.slice(from, index));
        from = index;
        length = 0;
      }
      length += next;
    }
  }

  #sendCalls(calls) {
    for (const call of calls) {
      call.id = this.#nextId;
      this.#nextId += 1;
      if (call.place) call.door.space.underWay.sent(call.place, call.id);
      if (call.isOpen) this.#pending.set(call.id, call);
      if (call.creates) this.#asked.set(call.id, call.door.space);
    }
    try {
      let batch = '';
      let timeout = LONGEST_TIMER;
      for (const call of calls) {
        batch += `[${call.id}${call.request}\n`;
        call.request = undefined;
        timeout = Math.min(timeout, call.door.timeout ?? timeout);
      }
      this.#post({ source: SOURCE, from: this.#name, batch, timeout }, (error) => {
        if (error) for (const call of calls) this.#giveUp(call);
      });
    } catch (error) {
      // A call that is longer than a string can be is alone in its message, and hears of it.
      const end = (call) =>
        error instanceof RangeError ? call.reject(error) : call.door.fail(call);
      for (const call of calls) {
        this.#drop(call);
        this.#settle(call, () => end(call));
      }
    }
  }

  #post(message, callback) {
    process.send(message, undefined, undefined, callback);
  }

  #receive(message) {
    if (!isOurs(message)) return;
    if (typeof message.hello === 'string') this.#greet(message.hello);
    if (typeof message.reply !== 'string' || message.to !== this.#name) return;
    const answers = JSON.parse(message.reply);
    for (let at = 0; at < answers.length; at += 3) {
      this.#hear(answers[at], answers[at + 1], answers[at + 2]);
    }
    for (const space of this.#spaces.values()) space.heard(this.#answered);
  }

  #hear(id, kind, payload) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    const call = this.#pending.get(id);
    this.#answered = Math.max(this.#answered, id);
    if (asked && kind === KIND.ERROR && passes(payload[2])) {
      this.#pending.delete(id);
      this.askLater(asked, call);
      return;
    }
    if (asked) asked.asking = false;
    if (asked && kind === KIND.JSON && typeof payload === 'object') asked.learn(payload);
    // A late answer, or the second one where the primary has two copies of this package.
    if (call) this.answer(call, kind, payload);
  }

  #greet(primary) {
    if (primary === this.#primary) return;
    this.#primary = primary;
    this.#alone = false;
    // A store that is still to be found or made is the primary's.
    for (const space of this.#spaces.values()) if (space.ticket === undefined) space.alone = false;
    this.#createAll();
    for (const space of this.#spaces.values()) space.heard(this.#answered);
    this.#flush();
  }

  /** A primary that is new to us, or has loaded the package anew, may know no namespace yet. */
  #createAll() {
    // One whose options were all wrong is none.
    const spaces = Array.from(this.#spaces.values()).filter(({ name }) => this.#created.has(name));
    const calls = spaces.map((space) => {
      const options = this.optionsOf(space);
      // The store has them, and what was changed since; the schedule is the primary's.
      const news = space.ticket === undefined ? options : { prune: options.prune };
      return this.#creation(space, news);
    });
    this.#outbox.unshift(...calls);
    this.#clocked += calls.length;
  }

  /** Asks the primary once more for a store; for the sake of a call, if there is one that waits. */
  askAgain(space, call, options = this.optionsOf(space)) {
    const creation = this.#creation(space, options);
    if (call?.isOpen) {
      call.request = creation.request;
      this.post(call);
      return;
    }
    this.#outbox.push(creation);
    this.#flushSoon();
  }

  /** The same after a pause. */
  askLater(space, call, options) {
    setTimeout(() => this.askAgain(space, call, options), space.pauses.take()).unref();
  }

  /** The options of a namespace, as given so far. */
  optionsOf(space) {
    return this.#created.get(space.name);
  }

  /** A request that makes a cache, or changes it, and that nobody waits for. */
  #creation(space, options) {
    const name = JSON.stringify(space.name);
    const request = `,0,${name},"()",${CREATE.encode(false, JSON.stringify(options), space)}]`;
    return new Call({ space }, CREATE, request);
  }

  /** Ends a call with its answer. */
  answer(call, kind, payload) {
    this.#settle(call, () => {
      if (kind === KIND.ERROR) {
        const error = makeError(payload);
        if (error.code === BUSY) {
          call.door.fail(call);
          return;
        }
        // There is no cache for this instance: every later call says so.
        if (call.creates) call.door.error = error;
        call.reject(error);
        return;
      }
      try {
        call.resolve(call.command.decode(kind, payload, call.args));
      } catch (error) {
        call.reject(error);
      }
    });
  }

  /** Lets no call wait behind this one any more. */
  #drop(call) {
    if (call.place) call.door.space.underWay.drop(call.place);
  }

  /** Ends a call, once. */
  #settle(call, end) {
    if (!call.isOpen) return;
    // A call that was sent is under way until it is answered, whether somebody waits for it or not.
    if (call.request !== undefined || call.command.reads) this.#drop(call);
    this.#pending.delete(call.id);
    call.turn?.settle();
    end();
    call.resolve = undefined;
  }

  /** The time of some calls is over. Those not sent yet are never sent. */
  #expire(calls) {
    for (const call of calls) {
      if (call.isOpen && call.request !== undefined) this.#ended += 1;
      this.#giveUp(call);
    }
    if (this.#ended * 2 <= this.#outbox.length) return;
    const waits = (call) => call.isOpen;
    const clocked = this.#outbox.slice(0, this.#clocked).filter(waits);
    this.#outbox = clocked.concat(this.#outbox.slice(this.#clocked));
    this.#clocked = clocked.length;
    this.#ended = 0;
  }

  #giveUp(call) {
    this.#settle(call, () => call.door.fail(call));
  }

  /** The primary is gone: nothing will be answered any more. */
  #close() {
    const calls = [...this.#pending.values(), ...this.#outbox];
    this.#outbox = [];
    this.#clocked = 0;
    this.#ended = 0;
    this.#answered = Infinity;
    for (const call of calls) this.#giveUp(call);
    for (const space of this.#spaces.values()) {
      space.asking = false;
      space.heard(Infinity);
    }
  }
}

/** The command that makes a cache, or changes the options of one. */
const CREATE = {
  name: '()',
  // It is made before calls on keys that are under way where it can be, lest it shut the way for all others.
  keysOf: () => [],
  encode: (mode, store, space) => `${store}${CREATE.wish(space)}`,
  decode: () => undefined,
  /** What asks for the ticket to the store, or offers the one there is. */
  wish(space) {
    if (whyNot() !== undefined) return '';
    return space.ticket === undefined ? ',true' : `,${JSON.stringify(space.ticket)}`;
  },
};

/** One for all instances; made with the first. */
let channel;

/** The door of an instance in a worker: straight to the store, or by messages. */
class WorkerDoor {
  constructor({ namespace, serialization, store, error }, instance) {
    this.namespace = namespace;
    this.namespaceJson = JSON.stringify(namespace);
    /** Whose `timeout` and `failsafe` hold: they may be changed between calls. */
    this.instance = instance;
    this.store = store;
    /** Whether this instance wants structured clones; `undefined`: as the channel does. */
    this.clones = serialization ? serialization === 'advanced' : undefined;
    /** Why there is no cache for this instance. */
    this.error = error;
    channel ??= new Channel();
    this.space = channel.space(namespace);
    /** Resolves when the cache exists. */
    this.ready = error ? Promise.reject(error) : channel.create(this);
    // Whoever waits for it hears of a failure; so does whoever makes a call.
    this.ready.catch(nothing);
  }

  /** Milliseconds that a call waits. */
  get timeout() {
    return timeoutOf(this.instance);
  }

  /** Whether objects are copied as structured clones. */
  get copiesClones() {
    return this.clones ?? advanced ?? false;
  }

  call(command, a, b, c) {
    if (this.error) return Promise.reject(this.error);
    const { space } = this;
    if ((space.open || space.lets(command, a)) && command.direct !== false) {
      const first = command.keyed ? sharedKey(a) : a;
      try {
        const store = this.copiesClones ? space.advanced : space.json;
        return Promise.resolve(command.local(store, first, b, c));
      } catch (error) {
        if (!space.canGoOn(error)) return Promise.reject(error);
      }
    }
    return channel.call(this, command, a, b, c);
  }

  /** Which door is in use, and why not the other. */
  transport() {
    const { json, why } = this.space;
    return json === undefined ? { door: 'messages', reason: why } : { door: 'direct' };
  }

  /** Ends a call that got no answer. */
  fail(call) {
    const { failsafe } = this.instance;
    failSafe({ failsafe, namespace: this.namespace }, call.command, call);
  }
}

module.exports = { WorkerDoor };
