'use strict';

/**
 * A namespace as a worker has it: the store in shared memory, once it is attached, and the calls that wait for
 * it. `lib/worker.js` has the messages.
 */

const { NativeRegistry, handle } = require('../native/loader');
const { debug } = require('../debug');
const { CODES, concernsStore, makeError, passes } = require('../errors');
const { KIND } = require('./envelope');
const { LRUCache, Opened, Table } = require('../store/lru-cache');
const { identity, parent } = require('./siblings');
const { UnderWay } = require('./under-way');
const { Pauses, Waiting } = require('../store/retry-queue');

const { BUSY, ELSEWHERE, MOVED } = CODES;

const log = debug('worker');

const table = new Table();

/** The stores that this worker has attached. */
const registry = new NativeRegistry(table.state, prune, identity(), parent);

/** Called when a schedule says so that this worker runs, because there is no primary of ours to run it. */
function prune(namespace) {
  const done = registry.scheduled(namespace, Date.now());
  if (done === true) log('pruned', namespace);
}

/** What tells a store from any other; the rest of a ticket says who has it. */
const nonce = (ticket) => ticket?.slice(ticket.lastIndexOf(':'));

class Space {
  /** Whether any call may go straight to the store now; where not, `lets` says whether a certain one may. */
  open = false;
  /** Why no store is attached. @type {string | undefined} */
  why = 'the primary has not answered yet';
  /** The store, by how values are copied; `undefined` without one. */
  json;
  advanced;
  /** Where it is. */
  ticket;
  /** Whether there is no primary to ask for the store: the workers find it by themselves. */
  alone;
  /** Whether the primary has been asked for another store, and calls wait for that. */
  asking = false;
  /** Between two tries to get a store, where the one before failed for a reason that passes. */
  pauses = new Pauses();
  /** The calls that are under way as messages. */
  underWay = new UnderWay();
  /** Calls that found the store busy, and all that came after them. */
  #waiting = new Waiting(() => this.update());

  constructor(name, channel, alone) {
    this.name = name;
    this.channel = channel;
    this.alone = alone;
    if (alone) this.why = 'the shared store has not been found yet';
  }

  /** Whether calls are made here: in the store, or in the one that is being looked for or asked for. */
  get isHere() {
    return this.json !== undefined || this.alone || this.asking;
  }

  /** Whether calls wait for the store, and others must wait behind them. */
  get isWaiting() {
    return this.#waiting.length > 0;
  }

  /** Every message up to this id was answered, or there is news of the primary: goes on with what waited for that. */
  heard(answered) {
    this.underWay.answered(answered);
    if (this.isWaiting) this.#waiting.run();
    else if (!this.open) this.update();
  }

  /** Decides whether calls may go straight to the store: when none is under way by any other road. */
  update() {
    this.open = this.json !== undefined && this.underWay.size === 0 && !this.isWaiting;
  }

  /** Whether a call may go straight to the store now: no call that it must not overtake is under way. */
  lets(command, a) {
    if (this.json === undefined || this.isWaiting) return false;
    if (this.underWay.size === 0) {
      this.update();
      return this.open;
    }
    try {
      return !this.underWay.blocks(command.keysOf?.(a));
    } catch {
      // Code of the user, such as that of a Proxy: the call itself will say what is wrong.
      return false;
    }
  }

  /** What the primary said of the store: where it is, or why it cannot be shared. */
  learn({ ticket, why }) {
    const { alone, ticket: old } = this;
    this.alone = false;
    if (typeof ticket !== 'string') {
      this.leave(`the primary says: ${why}`);
    } else if (nonce(ticket) !== nonce(old)) {
      const wrong = registry.attach(this.name, ticket);
      if (wrong) {
        this.leave(makeError(wrong).message);
        // The primary has the options; it is asked for the ticket alone.
        if (passes(wrong[2])) this.channel.askLater(this, undefined, {});
      } else {
        this.#attached();
      }
    } else if (alone) {
      // The primary runs the schedule from now on.
      registry.open(this.name, '{"prune":false}');
    }
    // Of a store that there was, the primary was not told the options.
    if (old !== undefined && nonce(this.ticket) !== nonce(old)) this.channel.askAgain(this);
  }

  #attached() {
    const views = /** @type {const} */ (['json', 'advanced']).map(
      (how) => new LRUCache(new Opened(registry.cache(this.name), table, how)),
    );
    [this.json, this.advanced] = views;
    this.ticket = registry.ticket(this.name);
    this.why = undefined;
    this.pauses.reset();
    log('attached', this.name, this.ticket);
    this.update();
  }

  /** Goes on with messages. */
  leave(why) {
    registry.forget(this.name);
    this.json = undefined;
    this.advanced = undefined;
    this.ticket = undefined;
    this.alone = false;
    this.open = false;
    this.why = why;
    log('left', this.name, why);
  }

  /** Leaves a store that a primary has taken over, and asks it for the other. */
  #follow({ message }) {
    this.leave(message);
    this.asking = process.connected;
    if (this.asking) this.channel.askAgain(this);
  }

  /** Whether a call that failed with this error can still be made, by another road than straight. */
  canGoOn(error) {
    if (error?.code === MOVED) this.#follow(error);
    return [MOVED, BUSY, ELSEWHERE].includes(error?.code);
  }

  /** Makes an encoded call here, now or as soon as the store is free. Calls keep their order. */
  make(call) {
    this.open = false;
    this.#waiting.add(() => this.#try(call));
    // The others have their turn when this one has.
    if (this.#waiting.length === 1) this.#waiting.run();
  }

  /** Returns false where it has to be tried again; or the milliseconds after which. */
  #try(call) {
    // One whose time is over is not made any more; the store itself is wanted while this worker is one.
    if (!call.isOpen && !(call.creates && process.connected)) return true;
    // What is under way as a message goes first.
    if (!this.isHere || call.command.inPrimary) return this.#send(call);
    if (this.asking) return false;
    if (this.underWay.blocks(call.keys)) return this.#send(call);
    const [kind, payload] = this.#run(call);
    const code = kind === KIND.ERROR ? String(payload[2]) : '';
    const opens = call.creates || this.json === undefined;
    if (code === BUSY || (opens && passes(code))) {
      if (this.json === undefined) this.why = makeError(payload).message;
      return code === BUSY ? false : this.pauses.take();
    }
    if (code === ELSEWHERE) return this.#send(call);
    if (concernsStore(code)) {
      const error = makeError(payload);
      if (code === MOVED) this.#follow(error);
      else this.leave(error.message);
      return this.isHere ? false : this.#send(call);
    }
    this.channel.answer(call, kind, payload);
    return true;
  }

  /** Makes a call here, with a store if there is none yet. Kind and payload of the answer. */
  #run(call) {
    if (call.creates || this.json === undefined) {
      const options = call.creates ? JSON.parse(call.args) : this.channel.optionsOf(this);
      const wrong = this.#open(options);
      if (wrong) return [KIND.ERROR, wrong];
      if (this.json === undefined) this.#attached();
      this.pauses.reset();
    }
    return call.creates ? [KIND.JSON, true] : this.#handle(call);
  }

  #handle(call) {
    const reply = handle(registry.id, `[0${call.request}`, Date.now());
    // A request that is left: another process has the store.
    if (typeof reply !== 'string') return [KIND.ERROR, ['Error', '', BUSY]];
    const [, kind, payload] = JSON.parse(`[${reply}]`);
    return [kind, payload];
  }

  /** Finds or makes the store, or changes its options. A schedule is the primary's, if there is one. */
  #open({ prune, ...options }) {
    const given = this.alone ? { ...options, prune } : options;
    return registry.open(this.name, JSON.stringify(given));
  }

  #send(call) {
    this.channel.post(call);
    return true;
  }
}

module.exports = { Space };
