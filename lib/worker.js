'use strict';

/**
 * A worker's clients: straight to the store where it lies in shared memory, by messages to the primary else.
 * A batch of calls leaves at the end of the tick that they were made in, while fewer than `UNDER_WAY` batches have no
 * answer. Calls made meanwhile gather for the next batch. Calls and answers keep their order.
 */

const { randomUUID } = require('crypto');
const { commands, executeCommand } = require('./commands');
const { CODES, failSafe, makeError, passes, unknownCommand } = require('./errors');
const { KIND } = require('./codec');
const { LONGEST_TIMER, timeoutOf } = require('./options');
const { bulk, sharedKey } = require('./lru-cache');
const { hasPrimary } = require('./peers');
const { MESSAGE_LENGTH, SOURCE, isHello, isOurs } = require('./protocol');
const { whyNot } = require('./sharing');
const { Space } = require('./space');

// Kept, because test suites replace the globals by timers that stand still.
const { performance, setImmediate, setTimeout } = globalThis;
const { nextTick } = process;

const { BUSY, ELSEWHERE } = CODES;

const nothing = () => {};

/** Batches that may be under way at once: the primary answers one while this worker writes or reads the other. */
const UNDER_WAY = 2;

/** Milliseconds after which calls are sent whatever is under way: a primary that is busy for long makes them all. */
const LONGEST_GATHER = 5;

/** A call that waits for its answer. */
class Call {
  constructor(client, command, request, args, resolve, reject) {
    /** Given when it is sent: so ids rise in the order of requests, and of answers. */
    this.id = undefined;
    this.client = client;
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
    /** Those it was sent with. */
    this.batch = undefined;
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

/** Calls that are kept together for as long as one of them waits. */
class Group {
  calls = [];
  /** How many of them wait. */
  open = 0;

  /** One of them has ended. */
  settle() {
    this.open -= 1;
    // Nothing of an ended call is kept longer than the others wait.
    if (this.open === 0) this.calls = [];
  }
}

/** The calls of one tick that have the same timeout. */
class Turn extends Group {
  constructor(due) {
    super();
    /** When their time is over, in milliseconds of `performance.now()`. */
    this.due = due;
  }

  add(call) {
    call.turn = this;
    this.calls.push(call);
    this.open += 1;
  }
}

/** The calls of one message. Their ids follow one another. */
class Batch extends Group {
  constructor(calls, first) {
    super();
    this.calls = calls;
    this.first = first;
    this.last = first + calls.length - 1;
  }

  /** The call with this id, if it waits: each is answered once. */
  take(id) {
    const call = this.calls[id - this.first];
    if (call) this.calls[id - this.first] = undefined;
    return call;
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
  #name = randomUUID().slice(0, 8);
  #nextId = 1;
  /** Batches that are under way, the oldest first. */
  #batches = [];
  /** Calls not sent yet, in order. */
  #outbox = [];
  /** How many of these have their clock running. */
  #clocked = 0;
  /** How many of these have ended already. */
  #ended = 0;
  /** By timeout. */
  #deadlines = new Map();
  #flushing = false;
  /** Runs while calls gather. */
  #gathering;
  /** The primary's hello, once there was one. */
  #primary;
  /** The options of every namespace, as given so far. */
  #created = new Map();
  #spaces = new Map();
  /** Those asked for, by the id of the request. */
  #asked = new Map();
  /** Calls of functions of the application, by id: their answers may come later than those of calls after them. */
  #executing = new Map();
  /** The highest id of an answer. All but those of functions of the application come in order. */
  #answered = 0;
  /** Whether stores can be in shared memory at all. Else every call is a message, and messages keep their order. */
  #shares = whyNot() === undefined;
  /** Whether there seems to be no primary of ours. */
  #alone = this.#shares && !hasPrimary();

  constructor() {
    process.on('message', (message) => this.#receive(message));
    process.on('disconnect', () => this.#close());
    this.#post([SOURCE, probe], nothing);
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
  create(client) {
    const given = JSON.parse(client.store);
    this.#created.set(client.namespace, { ...this.#created.get(client.namespace), ...given });
    const { space } = client;
    if (space.json !== undefined && given.prune !== undefined && this.#primary) {
      // The store is at hand; the schedule is the primary's.
      const { prune } = given;
      this.#gather(this.#creation(space, { prune }));
    }
    return this.call(client, CREATE, client.store, space);
  }

  /** Makes a call that cannot go straight to the store: here as soon as it can, or in the primary. */
  call(client, command, a, b, c) {
    return new Promise((resolve, reject) => {
      const mode = client.copiesClones;
      if (command.snapshot) a = command.snapshot(a);
      const encoded = command.encode(mode, a, b, c);
      const head = client.head(command, mode);
      const request = encoded === '' ? `${head}]` : `${head},${encoded}]`;
      const call = new Call(client, command, request, a, resolve, reject);
      if (!this.#shares) {
        this.#gather(call);
        return;
      }
      call.keys = command.keysOf?.(a);
      const { space } = client;
      if (space.isHere && (space.isWaiting || !space.underWay.blocks(call.keys))) {
        this.#deadline(client.timeout).begin().add(call);
        space.make(call);
      } else {
        this.post(call);
      }
    });
  }

  /** Sends a call to the primary at the end of this tick, or with those that gather. */
  post(call) {
    const { space } = call.client;
    // Options concern every call that is made after them.
    call.place = space.underWay.begin(call.creates ? undefined : call.keys);
    space.open = false;
    this.#gather(call);
  }

  #gather(call) {
    this.#outbox.push(call);
    this.#flushSoon();
  }

  #flushSoon() {
    if (this.#flushing) return;
    this.#flushing = true;
    nextTick(() => this.#flush());
  }

  /** Ends the tick: sends its calls if the primary listens and is free for them, and starts their clocks. */
  #flush(overdue = false) {
    this.#flushing = false;
    if (!process.connected) {
      this.#close();
      return;
    }
    // The clocks start while the primary is at work already.
    const calls = this.#outbox;
    const from = this.#clocked;
    this.#clocked = calls.length;
    if (this.#primary && calls.length > 0) {
      if (overdue || this.#batches.length < UNDER_WAY) this.#send();
      else this.#gathering ??= setTimeout(() => this.#gathered(), LONGEST_GATHER).unref();
    }
    let turn;
    let timeout;
    for (let index = from; index < calls.length; index += 1) {
      const call = calls[index];
      if (!call.isOpen || call.turn) continue;
      if (!turn || call.client.timeout !== timeout) {
        timeout = call.client.timeout;
        turn = this.#deadline(timeout).begin();
      }
      turn.add(call);
    }
  }

  /** Nothing was answered for long, or calls have gathered again meanwhile. */
  #gathered() {
    this.#gathering = undefined;
    this.#flush(true);
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
    const outbox = this.#outbox;
    const lapsed = this.#ended > 0;
    const calls = lapsed ? outbox.filter((call) => call.isOpen || call.creates) : outbox;
    this.#outbox = [];
    this.#clocked = 0;
    this.#ended = 0;
    let from = 0;
    let length = 0;
    for (let index = 0; index < calls.length; index += 1) {
      const next = calls[index].request.length;
      if (index > from && length + next > MESSAGE_LENGTH) {
        this.#sendCalls(calls.slice(from, index));
        from = index;
        length = 0;
      }
      length += next;
    }
    if (from < calls.length) this.#sendCalls(from === 0 ? calls : calls.slice(from));
  }

  #sendCalls(calls) {
    const batch = new Batch(calls, this.#nextId);
    this.#nextId += calls.length;
    this.#batches.push(batch);
    try {
      let text = '';
      let timeout = LONGEST_TIMER;
      for (let index = 0; index < calls.length; index += 1) {
        const call = calls[index];
        const { client, request } = call;
        call.id = batch.first + index;
        call.batch = batch;
        call.request = undefined;
        if (call.isOpen) batch.open += 1;
        if (call.creates) this.#asked.set(call.id, client.space);
        if (call.place) client.space.underWay.sent(call.place, call.id);
        if (call.command.inPrimary) this.#executing.set(call.id, call);
        timeout = Math.min(timeout, client.timeout ?? timeout);
        text += `[${call.id}${request}\n`;
      }
      this.#post([SOURCE, this.#name, text, timeout], (error) => {
        if (error) this.#dropBatch(batch, (call) => call.client.fail(call));
      });
    } catch (error) {
      // A call that is longer than a string can be is alone in its message, and hears of it.
      const tooLong = error instanceof RangeError;
      this.#dropBatch(batch, (call) => (tooLong ? call.reject(error) : call.client.fail(call)));
    }
  }

  /** Ends the calls of a batch that could not be sent. */
  #dropBatch(batch, end) {
    this.#batches = this.#batches.filter((other) => other !== batch);
    for (const call of batch.calls) {
      this.#drop(call);
      this.#settle(call, () => end(call));
    }
  }

  #post(message, callback) {
    // @ts-expect-error A worker has a channel, and so this function.
    process.send(message, undefined, undefined, callback);
  }

  #receive(message) {
    if (!isOurs(message)) return;
    const [, to, reply] = message;
    if (isHello(message) && typeof to === 'string') this.#greet(to);
    if (typeof reply !== 'string' || to !== this.#name) return;
    const answers = JSON.parse(reply);
    for (let at = 0; at < answers.length; at += 3) {
      this.#hear(answers[at], answers[at + 1], answers[at + 2]);
    }
    // The answers of a batch may come in parts.
    while (this.#batches.length > 0 && this.#answered >= this.#batches[0].last) {
      this.#batches.shift();
    }
    if (this.#shares) for (const space of this.#spaces.values()) space.heard(this.#answered);
    // After what follows from these answers: its calls travel along.
    if (this.#outbox.length > 0) this.#flushSoon();
  }

  #hear(id, kind, payload) {
    const call = this.#take(id);
    const asked = this.#asked.get(id);
    if (asked) this.#asked.delete(id);
    this.#answered = Math.max(this.#answered, id);
    if (asked && kind === KIND.ERROR && passes(payload[2])) {
      call?.batch.settle();
      if (call) call.batch = undefined;
      this.askLater(asked, call);
      return;
    }
    if (asked) asked.asking = false;
    if (asked && kind === KIND.JSON && typeof payload === 'object') asked.learn(payload);
    // A late answer, or the second one where the primary has two copies of this package.
    if (call) this.answer(call, kind, payload);
  }

  /** The call that is under way with this id, if one waits. */
  #take(id) {
    const executing = this.#executing.get(id);
    if (executing) return executing;
    for (const batch of this.#batches) if (id <= batch.last) return batch.take(id);
    return undefined;
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
    this.#gather(creation);
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
    const request = `,0,${name},"open",${CREATE.encode(false, JSON.stringify(options), space)}]`;
    return new Call({ space }, CREATE, request);
  }

  /** Ends a call with its answer. */
  answer(call, kind, payload) {
    if (!call.isOpen) return;
    if (kind === KIND.ERROR) {
      this.#settle(call, () => this.#refuse(call, makeError(payload)));
      return;
    }
    let value;
    try {
      value = call.command.decode(kind, payload, call.args);
    } catch (error) {
      this.#settle(call, () => call.reject(error));
      return;
    }
    call.resolve(value);
    this.#end(call);
  }

  #refuse(call, error) {
    if (error.code === BUSY) {
      call.client.fail(call);
      return;
    }
    // There is no cache for this instance: every later call says so.
    if (call.creates) call.client.error = error;
    call.reject(error);
  }

  /** Lets no call wait behind this one any more. */
  #drop(call) {
    if (call.place) call.client.space.underWay.drop(call.place);
  }

  /** Ends a call, once. */
  #settle(call, end) {
    if (!call.isOpen) return;
    // A call that was sent is under way until it is answered, whether somebody waits for it or not.
    if (call.request !== undefined || call.command.reads) this.#drop(call);
    end();
    this.#end(call);
  }

  /** Nobody waits for a call any more. */
  #end(call) {
    call.turn?.settle();
    call.batch?.settle();
    if (call.command.inPrimary) this.#executing.delete(call.id);
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
    this.#settle(call, () => call.client.fail(call));
  }

  /** The primary is gone: nothing will be answered any more. */
  #close() {
    const sent = this.#batches.flatMap((batch) => batch.calls);
    const calls = [...sent, ...this.#executing.values(), ...this.#outbox];
    this.#batches = [];
    this.#outbox = [];
    this.#clocked = 0;
    this.#ended = 0;
    this.#answered = Infinity;
    for (const call of calls) if (call) this.#giveUp(call);
    for (const space of this.#spaces.values()) {
      space.asking = false;
      space.heard(Infinity);
    }
  }
}

/** The command that makes a cache, or changes the options of one. */
const CREATE = {
  name: 'open',
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

/** `get` of an entry that the store has made the most recent already. */
const GET_TOUCHED = { ...commands.get, wire: 'peek' };

/** What is sent for a call on keys of which the primary has a value that only it can read. */
function commandElsewhere(command, store, key) {
  try {
    if (command === commands.get && store.has(key)) return GET_TOUCHED;
  } catch {
    // Another process has the store: nobody knows whether the entry has expired.
  }
  // The primary changes the order, or removes an entry that has expired: later calls on any key wait for that.
  return command.reads ? { ...command, keysOf: undefined } : command;
}

/** One for all instances; made with the first. */
let channel;

/** The client of an instance in a worker: straight to the store, or by messages. */
class WorkerClient {
  /** The heads of requests, by command; first for values as JSON, then for structured clones. */
  #heads = [new Map(), new Map()];

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

  /** What a request begins with, from behind its id. */
  head(command, mode) {
    const name = command.wire ?? command.name;
    const heads = this.#heads[mode ? 1 : 0];
    let head = heads.get(name);
    if (head === undefined) {
      head = `,${mode ? 1 : 0},${this.namespaceJson},"${name}"`;
      heads.set(name, head);
    }
    return head;
  }

  call(command, a, b, c) {
    if (this.error) return Promise.reject(this.error);
    const { space } = this;
    if ((space.open || space.lets(command, a)) && command.direct !== false) {
      const first = command.keyed ? sharedKey(a) : a;
      const store = this.copiesClones ? space.advanced : space.json;
      try {
        return Promise.resolve(command.local(store, first, b, c));
      } catch (error) {
        if (!space.canGoOn(error)) return Promise.reject(error);
        if (error.code === ELSEWHERE) command = commandElsewhere(command, store, first);
      }
    }
    return channel.call(this, command, a, b, c);
  }

  /** Calls by name: a function that the application put on the cache in the primary, or else a command. */
  execute(name, args) {
    if (this.error) return Promise.reject(this.error);
    const { space } = this;
    const hasOwn = space.open ? bulk.isExposed(space.json) : !space.alone;
    if (hasOwn) return channel.call(this, executeCommand(name), args);
    const command = commands[name];
    return command ? this.call(command, ...args) : Promise.reject(unknownCommand(name));
  }

  /** Which transport is in use, and why no better one. */
  transport() {
    const { json, why } = this.space;
    return json === undefined ? { kind: 'ipc', reason: why } : { kind: 'shared-memory' };
  }

  /** Ends a call that got no answer. */
  fail(call) {
    const { failsafe } = this.instance;
    failSafe({ failsafe, namespace: this.namespace }, call.command, call);
  }
}

module.exports = { WorkerClient };
