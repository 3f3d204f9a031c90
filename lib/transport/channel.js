'use strict';

/**
 * The channel of a worker to the primary, which all instances of the process share. A batch of calls leaves at the end of
 * the tick that they were made in, while fewer than `MOST_IN_FLIGHT` batches have no answer. Calls made meanwhile gather for
 * the next batch. Calls and answers keep their order.
 */

const { randomUUID } = require('crypto');
const { CREATE } = require('../commands');
const { CODES, makeError, passes } = require('../errors');
const { LONGEST_TIMER } = require('../options');
const { AttachmentRunner } = require('./attachment-runner');
const { Batch, Call } = require('./call');
const { probe } = require('./clones');
const { Deadline } = require('./deadline');
const { KIND } = require('../kinds');
const { freeze } = require('../freeze');
const { SOURCE, isHello, isOurs } = require('./envelope');
const { Outbox } = require('./outbox');
const { whyNot } = require('./shared-memory');
const { hasPrimary } = require('./siblings');

// Kept, because test suites replace the globals by timers that stand still.
const { setTimeout } = globalThis;
const { nextTick } = process;

const { BUSY } = CODES;

const nothing = () => {};

/** Batches that may be in flight at once: the primary answers one while this worker writes or reads the other. */
const MOST_IN_FLIGHT = 2;

/** Milliseconds after which gathered calls are sent, however many batches are in flight. */
const LONGEST_GATHER = 5;

/**
 * JSON of the ticket of the segment that this worker has attached; `true` asks the primary for a ticket; `undefined` where
 * nothing is shared.
 */
function ticketJson({ attachment }) {
  if (whyNot() !== undefined) return undefined;
  return attachment.ticket === undefined ? 'true' : JSON.stringify(attachment.ticket);
}

class Channel {
  /** Identifies this copy of the package in messages: another copy in the same process gets answers of its own. */
  #name = randomUUID().slice(0, 8);
  #nextId = 1;
  /** How many ticks have ended in which calls were made: their messages are on their way, or wait for those in flight. */
  ticks = 0;
  /** Batches that are in flight, the oldest first. */
  #batches = [];
  #outbox = new Outbox();
  /** Deadlines, by timeout. */
  #deadlines = new Map();
  #flushing = false;
  /** The timer that runs while calls gather. */
  #gathering;
  /** Identifies the copy of the package in the primary: the id of its hello. `undefined` before the first hello. */
  #primary;
  /** The options of every namespace, as given so far. */
  #options = new Map();
  /** The runners of attachments, by namespace. @type {Map<string, AttachmentRunner>} */
  #runners = new Map();
  /** The runners whose segment was asked for, by the id of the request. @type {Map<number, AttachmentRunner>} */
  #asked = new Map();
  /** Calls of functions of the application, by id: their answers may come later than those of calls after them. */
  #executing = new Map();
  /** The highest id of an answer. All but those of functions of the application come in order. */
  #answered = 0;
  /** Whether caches can lie in shared memory at all. Else every call is a message, and messages keep their order. */
  #shares = whyNot() === undefined;
  /** Whether the parent process has not loaded this package, as far as this worker can see. */
  #siblings = this.#shares && !hasPrimary();

  constructor() {
    process.on('message', (message) => this.#receive(message));
    process.on('disconnect', () => this.#close());
    this.#post([SOURCE, probe], nothing);
  }

  /** The runner of the attachment of a namespace. */
  runner(namespace) {
    let runner = this.#runners.get(namespace);
    if (!runner) {
      runner = new AttachmentRunner(namespace, this, {
        siblings: this.#siblings,
        reason: whyNot(),
      });
      this.#runners.set(namespace, runner);
    }
    return runner;
  }

  /** Makes a cache, or changes the options of one. Resolves when the cache exists. */
  create(client) {
    const { namespace, options, runner } = client;
    const given = JSON.parse(options);
    const { attachment } = runner;
    // A namespace that this process has destroyed begins anew.
    const before = attachment.isDestroyed ? undefined : this.#options.get(namespace);
    attachment.isDestroyed = false;
    this.#options.set(namespace, { ...before, ...given });
    if (attachment.ticket !== undefined && given.prune !== undefined && this.#primary) {
      // The segment gets its options in this process. The primary runs the schedule.
      const { prune } = given;
      this.#gather(this.#creation(runner, { prune }));
    }
    return this.call(client, CREATE, options, ticketJson(runner));
  }

  /** Makes a call that cannot run on the segment right now: encoded, in this process or in the primary. */
  call(client, command, a, b, c, d) {
    return new Promise((resolve, reject) => {
      const mode = client.copiesClones;
      if (command.snapshot) a = command.snapshot(a);
      const encoded = command.encode(mode, a, b, c, d);
      const head = client.head(command, mode);
      const request = encoded === '' ? `${head}]` : `${head},${encoded}]`;
      const call = new Call(client, command, request, a, resolve, reject);
      if (!this.#shares) {
        this.#gather(call);
        return;
      }
      call.keys = command.keysOf?.(a);
      const { runner } = client;
      if (runner.attachment.takes(call.keys)) {
        this.#deadline(client.timeout).begin().add(call);
        runner.run(call);
      } else {
        this.post(call);
      }
    });
  }

  /** Sends a call to the primary at the end of this tick, or with those that gather. */
  post(call) {
    const { attachment } = call.client.runner;
    // Options concern every call that is made after them.
    call.record = attachment.posted(call.creates ? undefined : call.keys, call.command.reads);
    this.#gather(call);
  }

  #gather(call) {
    this.#outbox.add(call);
    this.#flushSoon();
  }

  #flushSoon() {
    if (this.#flushing) return;
    this.#flushing = true;
    nextTick(() => this.#flush());
  }

  /**
   * Ends the tick: sends its calls if the primary has said hello and fewer than `MOST_IN_FLIGHT` batches are in flight,
   * and starts the timeouts of the calls.
   */
  #flush(overdue = false) {
    this.#flushing = false;
    this.ticks += 1;
    if (!process.connected) {
      this.#close();
      return;
    }
    // Sending comes first: the primary works while the timeouts are set up here.
    const calls = this.#outbox.takeUnclocked();
    if (this.#primary && this.#outbox.length > 0) {
      if (overdue || this.#batches.length < MOST_IN_FLIGHT) {
        for (const message of this.#outbox.takeMessages()) this.#sendBatch(message);
      } else this.#gathering ??= setTimeout(() => this.#gathered(), LONGEST_GATHER).unref();
    }
    let group;
    let timeout;
    for (let index = 0; index < calls.length; index += 1) {
      const call = calls[index];
      if (!call.isAwaited || call.deadlineGroup) continue;
      if (!group || call.client.timeout !== timeout) {
        timeout = call.client.timeout;
        group = this.#deadline(timeout).begin();
      }
      group.add(call);
    }
  }

  /** Calls have gathered for as long as they may. */
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

  #sendBatch(calls) {
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
        if (call.isAwaited) batch.awaited += 1;
        if (call.creates) this.#asked.set(call.id, client.runner);
        if (call.record) client.runner.attachment.sent(call.record, call.id);
        if (call.command.inPrimary) this.#executing.set(call.id, call);
        timeout = Math.min(timeout, client.timeout ?? timeout);
        text += `[${call.id}${request}\n`;
      }
      this.#post([SOURCE, this.#name, text, timeout], (error) => {
        if (error) this.#dropBatch(batch, (call) => call.client.fail(call));
      });
    } catch (error) {
      // A call whose text is longer than a string can be is alone in its message, so it gets the error.
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
    if (isHello(message) && typeof to === 'string') this.#receiveHello(to);
    if (typeof reply !== 'string' || to !== this.#name) return;
    const answers = JSON.parse(reply);
    for (let at = 0; at < answers.length; at += 3) {
      this.#receiveAnswer(answers[at], answers[at + 1], answers[at + 2]);
    }
    // The answers of a batch may come in parts.
    while (this.#batches.length > 0 && this.#answered >= this.#batches[0].last) {
      this.#batches.shift();
    }
    if (this.#shares) for (const runner of this.#runners.values()) runner.answered(this.#answered);
    // Last, so that calls that the answers above have caused leave in the same message.
    if (this.#outbox.length > 0) this.#flushSoon();
  }

  #receiveAnswer(id, kind, payload) {
    const call = this.#take(id);
    const asked = this.#asked.get(id);
    if (asked) this.#asked.delete(id);
    this.#answered = Math.max(this.#answered, id);
    if (asked && kind === KIND.ERROR && passes(payload[2])) {
      call?.batch.release(call);
      asked.askPostponed(call);
      return;
    }
    asked?.askAnswered(kind === KIND.JSON && typeof payload === 'object' ? payload : undefined);
    // There is no call where the answer is late, or where the primary has two copies of this package and both answer.
    if (call) this.answer(call, kind, payload);
  }

  /** The call with this id that is in flight as a message, if somebody waits for it. */
  #take(id) {
    const executing = this.#executing.get(id);
    if (executing) return executing;
    for (const batch of this.#batches) if (id <= batch.last) return batch.take(id);
    return undefined;
  }

  #receiveHello(primary) {
    if (primary === this.#primary) return;
    this.#primary = primary;
    this.#siblings = false;
    for (const runner of this.#runners.values()) runner.greeted();
    this.#createAll();
    for (const runner of this.#runners.values()) runner.answered(this.#answered);
    this.#flush();
  }

  /** Asks the primary for every segment. A new primary, or a new copy of the package in the primary, knows no namespace. */
  #createAll() {
    // A namespace whose options were all wrong has no cache.
    const runners = [...this.#runners.values()].filter(({ name }) => this.#options.has(name));
    const calls = runners.map((runner) => {
      const options = this.optionsOf(runner);
      // The segment has its options, and what was changed since. The primary runs the schedule.
      const isAttached = runner.attachment.ticket !== undefined;
      return this.#creation(runner, isAttached ? { prune: options.prune } : options);
    });
    this.#outbox.addFirst(calls);
  }

  /** Asks the primary for a segment. If somebody waits for `call`, the request has its id, and `call` gets the answer. */
  ask(runner, call, options = this.optionsOf(runner)) {
    const creation = this.#creation(runner, options);
    if (call?.isAwaited) {
      call.request = creation.request;
      this.post(call);
      return;
    }
    this.#gather(creation);
  }

  /** The same after a pause. */
  askLater(runner, call, { pause, options }) {
    setTimeout(() => this.ask(runner, call, options), pause).unref();
  }

  /** The options of a namespace, as given so far. */
  optionsOf(runner) {
    return this.#options.get(runner.name);
  }

  /** A request that makes a cache, or changes its options, and that nobody waits for. */
  #creation(runner, options) {
    const name = JSON.stringify(runner.name);
    const encoded = CREATE.encode(false, JSON.stringify(options), ticketJson(runner));
    return new Call({ runner }, CREATE, `,0,${name},"${CREATE.name}",${encoded}]`);
  }

  /** Ends a call with its answer. */
  answer(call, kind, payload) {
    if (!call.isAwaited) return;
    if (kind === KIND.ERROR) {
      this.#settle(call, () => this.#refuse(call, makeError(payload)));
      return;
    }
    if (call.client.freezes && kind === KIND.JSON) freeze(payload);
    let value;
    try {
      value = call.command.decode(kind, payload, call.args);
    } catch (error) {
      this.#settle(call, () => call.reject(error));
      return;
    }
    if (call.command.destroys) call.client.runner.destroyed();
    call.resolve(value);
    this.#end(call);
  }

  #refuse(call, error) {
    if (error.code === BUSY) {
      call.client.fail(call);
      return;
    }
    if (call.creates) call.client.refuse(error);
    call.reject(error);
  }

  /** Takes a call off the calls in flight: no later call waits behind this one any more. */
  #drop(call) {
    if (call.record) call.client.runner.attachment.dropped(call.record);
  }

  /** Ends a call, once. */
  #settle(call, end) {
    if (!call.isAwaited) return;
    // A call that was sent is in flight until it is answered, whether somebody waits for it or not.
    if (call.request !== undefined || call.command.reads) this.#drop(call);
    end();
    this.#end(call);
  }

  /** Nobody waits for a call any more. */
  #end(call) {
    call.deadlineGroup?.settle();
    call.batch?.settle();
    if (call.command.inPrimary) this.#executing.delete(call.id);
    call.resolve = undefined;
  }

  /** The time of some calls is over. Those not sent yet are never sent. */
  #expire(calls) {
    let ended = 0;
    for (const call of calls) {
      if (call.isAwaited && call.request !== undefined) ended += 1;
      this.#giveUp(call);
    }
    this.#outbox.end(ended);
  }

  #giveUp(call) {
    this.#settle(call, () => call.client.fail(call));
  }

  /**
   * The channel to the primary is closed: no call will be answered any more. Runs only in a worker that disconnected on
   * purpose; where the primary dies, Node ends the worker before this listener runs.
   */
  #close() {
    const sent = this.#batches.flatMap((batch) => batch.calls);
    const calls = [...sent, ...this.#executing.values(), ...this.#outbox.take()];
    this.#batches = [];
    this.#answered = Infinity;
    for (const call of calls) if (call) this.#giveUp(call);
    for (const runner of this.#runners.values()) runner.primaryGone();
  }
}

module.exports = { Channel };
