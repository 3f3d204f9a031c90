'use strict';

/**
 * A worker's side of the message door. Calls of one turn of the event loop travel in one message, in order;
 * so do their answers.
 */

const { randomUUID } = require('crypto');
const { makeError } = require('./errors');
const { KIND } = require('./codec');
const { DEFAULT_TIMEOUT } = require('./options');
const { MESSAGE_LENGTH, SOURCE, isOurs } = require('./protocol');

// Kept, because test suites replace the globals by timers that stand still.
const { performance, setImmediate, setTimeout } = globalThis;

const nothing = () => {};

/** The longest that a timer can wait, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** A call that waits for its answer. */
class Call {
  constructor(id, door, command, line, args, resolve, reject) {
    this.id = id;
    this.door = door;
    this.command = command;
    /** The request, until it is sent. */
    this.line = line;
    this.args = args;
    this.resolve = resolve;
    this.reject = reject;
    /** The calls whose time it shares. */
    this.turn = undefined;
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

  constructor() {
    process.on('message', (message) => this.#receive(message));
    process.on('disconnect', () => this.#close());
    this.#post({ source: SOURCE, hello: probe }, nothing);
  }

  /** Makes a cache in the primary. Resolves when it exists. */
  create(door) {
    const options = { ...this.#created.get(door.namespace), ...JSON.parse(door.store) };
    this.#created.set(door.namespace, options);
    return this.call(door, CREATE, door.store);
  }

  /** Sends a command. */
  call(door, command, a, b, c) {
    return new Promise((resolve, reject) => {
      const mode = door.advanced ?? advanced ?? false;
      if (command.snapshot) a = command.snapshot(a);
      const encoded = command.encode(mode, a, b, c);
      const id = this.#nextId;
      this.#nextId += 1;
      const head = `[${id},${mode ? 1 : 0},${door.namespaceJson},"${command.name}"`;
      const line = encoded === '' ? `${head}]` : `${head},${encoded}]`;
      this.#outbox.push(new Call(id, door, command, line, a, resolve, reject));
      if (!this.#flushing) {
        this.#flushing = true;
        setImmediate(() => this.#flush());
      }
    });
  }

  /** Ends the turn: starts the clocks of its calls, and sends them if the primary listens. */
  #flush() {
    this.#flushing = false;
    let turn;
    let timeout;
    for (let index = this.#clocked; index < this.#outbox.length; index += 1) {
      const call = this.#outbox[index];
      if (!call.resolve) continue;
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
    const calls = this.#outbox.filter((call) => call.resolve || call.command === CREATE);
    this.#outbox = [];
    this.#clocked = 0;
    this.#ended = 0;
    let from = 0;
    let length = 0;
    for (let index = 0; index <= calls.length; index += 1) {
      const next = calls[index]?.line.length ?? Infinity;
      if (index > from && length + next > MESSAGE_LENGTH) {
        this.#sendCalls(calls.slice(from, index));
        from = index;
        length = 0;
      }
      length += next;
    }
  }

  #sendCalls(calls) {
    for (const call of calls) if (call.resolve) this.#pending.set(call.id, call);
    try {
      let batch = '';
      for (const call of calls) {
        batch += `${call.line}\n`;
        call.line = undefined;
      }
      this.#post({ source: SOURCE, from: this.#name, batch }, (error) => {
        if (error) for (const call of calls) this.#giveUp(call);
      });
    } catch (error) {
      // A call that is longer than a string can be is alone in its message, and hears of it.
      const end = (call) =>
        error instanceof RangeError ? call.reject(error) : call.door.fail(call);
      for (const call of calls) this.#settle(call, () => end(call));
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
      const call = this.#pending.get(answers[at]);
      // A late answer, or the second one where the primary has two copies of this package.
      if (call) this.#answer(call, answers[at + 1], answers[at + 2]);
    }
  }

  #greet(primary) {
    if (primary === this.#primary) return;
    this.#primary = primary;
    this.#createAll();
    this.#flush();
  }

  /** A primary that is new to us, or has loaded the package anew, may know no namespace yet. */
  #createAll() {
    const calls = Array.from(this.#created, ([namespace, options]) => {
      const id = this.#nextId;
      this.#nextId += 1;
      const line = `[${id},0,${JSON.stringify(namespace)},"()",${JSON.stringify(options)}]`;
      return new Call(id, undefined, CREATE, line);
    });
    this.#outbox.unshift(...calls);
    this.#clocked += calls.length;
  }

  #answer(call, kind, payload) {
    this.#settle(call, () => {
      if (kind === KIND.ERROR) {
        const error = makeError(payload);
        // There is no cache for this instance: every later call says so.
        if (call.command === CREATE) call.door.error = error;
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

  /** Ends a call, once. */
  #settle(call, end) {
    if (!call.resolve) return;
    this.#pending.delete(call.id);
    call.turn?.settle();
    end();
    call.resolve = undefined;
  }

  /** The time of some calls is over. Those not sent yet are never sent. */
  #expire(calls) {
    for (const call of calls) {
      if (call.resolve && call.line !== undefined) this.#ended += 1;
      this.#giveUp(call);
    }
    if (this.#ended * 2 <= this.#outbox.length) return;
    const waits = (call) => call.resolve;
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
    for (const call of calls) this.#giveUp(call);
  }
}

/** The command that makes a cache, or changes the options of one. */
const CREATE = { name: '()', encode: (mode, store) => store, decode: () => undefined };

/** One for all instances; made with the first. */
let channel;

/** The door of an instance in a worker: calls travel as messages. */
class MessageDoor {
  constructor({ namespace, serialization, store, error }, instance) {
    this.namespace = namespace;
    this.namespaceJson = JSON.stringify(namespace);
    /** Whose `timeout` and `failsafe` hold: they may be changed between calls. */
    this.instance = instance;
    this.store = store;
    /** Whether this instance wants structured clones; `undefined`: as the channel does. */
    this.advanced = serialization ? serialization === 'advanced' : undefined;
    /** Why there is no cache for this instance. */
    this.error = error;
    channel ??= new Channel();
    /** Resolves when the cache exists. */
    this.ready = error ? Promise.reject(error) : channel.create(this);
    // Whoever waits for it hears of a failure; so does whoever makes a call.
    this.ready.catch(nothing);
  }

  /** Milliseconds that a call waits. */
  get timeout() {
    const timeout = Number(this.instance.timeout);
    return timeout > 0 ? timeout : DEFAULT_TIMEOUT;
  }

  call(command, a, b, c) {
    if (this.error) return Promise.reject(this.error);
    return channel.call(this, command, a, b, c);
  }

  /** Ends a call that got no answer, as `failsafe` says. */
  fail(call) {
    if (this.instance.failsafe !== 'reject') {
      call.resolve(undefined);
      return;
    }
    const error = makeError(['Error', 'Timed out in isFailed()', 'ETIMEDOUT']);
    error.namespace = this.namespace;
    error.command = call.command.name;
    call.reject(error);
  }
}

module.exports = { MessageDoor };
