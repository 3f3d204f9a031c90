'use strict';

/**
 * The attachment of a worker to the segment of one namespace, as a state machine without I/O. A method is an event:
 * it changes the state and returns effects. `AttachmentRunner` calls these methods and performs the effects, in order.
 *
 * | state       | meaning                                                                    | calls          |
 * | ----------- | -------------------------------------------------------------------------- | -------------- |
 * | `messages`  | there is no segment for this worker                                        | by IPC         |
 * | `retrying`  | as `messages`, for a reason that passes: the primary is asked again         | by IPC         |
 * | `searching` | there is no primary of ours: the segment of the siblings is found by a call | wait here      |
 * | `moved`     | the primary has moved the segment, and is asked where it is                 | wait here      |
 * | `destroyed` | this process destroyed the namespace: the next call asks the primary for it | wait here      |
 * | `attached`  | the segment is mapped                                                      | shared memory  |
 *
 * | effect            | what the runner does                                                         |
 * | ----------------- | ---------------------------------------------------------------------------- |
 * | `attach`, ticket  | attaches the segment, then calls `attached` or `attachFailed`                |
 * | `forget`          | drops the segment                                                            |
 * | `leaveSchedule`   | stops the `prune` schedule here: the primary runs it                         |
 * | `ask`             | asks the primary for the segment; the request has all options                |
 * | `askLater`        | the same after `pause` milliseconds, with `options` if they are given         |
 * | `retry`           | runs the calls that wait                                                     |
 *
 * Effects that concern one call: `open` finds or makes the segment, `run` runs the call on it, `answer` ends the call
 * with its answer, `created` with the answer of a command that makes a cache, `send` sends the call to the primary,
 * `wait` leaves it in the queue, `pause` the same for a number of milliseconds, `drop` takes it off the queue.
 */

const { CODES, concernsSegment, passes } = require('../errors');
const { InFlight } = require('./in-flight');

const { BUSY, ELSEWHERE, GONE, MOVED } = CODES;

const STATES = Object.freeze({
  MESSAGES: 'messages',
  RETRYING: 'retrying',
  SEARCHING: 'searching',
  MOVED: 'moved',
  DESTROYED: 'destroyed',
  ATTACHED: 'attached',
});

/**
 * @typedef {readonly any[]} Effect name and detail
 * @typedef {{ creates: boolean, destroys: boolean, isWanted: boolean, inPrimary: boolean, keys: unknown[] | undefined }} Attempt
 */

/** @type {readonly Effect[]} */
const NONE = Object.freeze([]);

/** The part of a ticket that identifies a segment. The rest says which process has it. */
const segmentOf = (ticket) => ticket?.slice(ticket.lastIndexOf(':'));

/** Pauses between attempts to get a segment, in milliseconds: each is twice the one before, up to the longest. */
class Pauses {
  static #FIRST = 16;
  static #LONGEST = 1024;
  #next = Pauses.#FIRST;

  /** The next pause. */
  take() {
    const pause = this.#next;
    this.#next = Math.min(2 * pause, Pauses.#LONGEST);
    return pause;
  }

  /** An attempt succeeded: the next pause is the first again. */
  reset() {
    this.#next = Pauses.#FIRST;
  }
}

class Attachment {
  /** Whether every call may run on the segment now. Where this is `false`, `allows` decides for a single call. */
  open = false;
  /** The caches over the segment, by how values are copied. They are `undefined` unless the state is `attached`. */
  views;
  /** Where the segment is. @type {string | undefined} */
  ticket;
  /** Why no segment is attached. @type {string | undefined} */
  reason;
  /** Whether this process has destroyed the namespace, and no call has made it anew. */
  isDestroyed = false;
  /** The calls that are in flight as messages. */
  #inFlight = new InFlight();
  /** Whether calls wait in the queue of the runner. */
  isWaiting = false;
  /** Whether one of those since the queue was empty changes entries. */
  #changesWait = false;
  /** Between attempts that failed for a reason that passes. */
  #pauses = new Pauses();

  /** `siblings` says that there is no primary of ours. `reason` says why nothing can be shared at all. */
  constructor({ siblings = false, reason = undefined } = {}) {
    /** Whether the segment is that of siblings, for want of a primary. Then this worker runs the `prune` schedule. */
    this.siblings = siblings;
    /** @type {string} */
    this.state = siblings ? STATES.SEARCHING : STATES.MESSAGES;
    this.reason =
      reason ??
      (siblings ? 'the shared store has not been found yet' : 'the primary has not answered yet');
  }

  // Events of the primary: its hello, its end, its answers.

  /** The primary has said hello. From now on the primary makes the segment, if none is found yet. */
  greeted() {
    if (this.ticket === undefined) this.#endSearch();
    return NONE;
  }

  /** The primary is gone: it answers no call any more. */
  primaryGone() {
    const { state } = this;
    if (state === STATES.MOVED || state === STATES.DESTROYED) this.state = STATES.MESSAGES;
    return this.answered(Infinity);
  }

  /** The primary has answered every message up to this id. */
  answered(id) {
    this.#inFlight.answered(id);
    if (this.isWaiting) return [['retry']];
    if (!this.open) this.#update();
    return NONE;
  }

  /**
   * The primary has answered a request for the segment. `answer` has a ticket, or why there is none. It is `undefined`
   * where the primary answered with an error, or where the request asked for no ticket.
   *
   * @param {{ ticket?: unknown, why?: unknown } | null} [answer]
   */
  askAnswered(answer) {
    if (this.state === STATES.MOVED || this.state === STATES.RETRYING) this.state = STATES.MESSAGES;
    if (!answer) return NONE;
    const { siblings } = this;
    this.#endSearch();
    const { ticket, why } = answer;
    if (typeof ticket !== 'string') return this.#lost(`the primary says: ${why}`);
    if (segmentOf(ticket) !== segmentOf(this.ticket)) return [['attach', ticket]];
    return siblings ? [['leaveSchedule']] : NONE;
  }

  /** The primary cannot tell yet where the segment is: another process has the lock, or memory is short. */
  askPostponed() {
    if (this.state === STATES.MESSAGES) this.state = STATES.RETRYING;
    return [['askLater', { pause: this.#pauses.take() }]];
  }

  // What happens to the segment.

  /** The segment is mapped. */
  attached({ ticket, views }) {
    const old = this.ticket;
    this.state = STATES.ATTACHED;
    this.reason = undefined;
    Object.assign(this, { ticket, views });
    this.#pauses.reset();
    this.#update();
    // The primary does not know the options of the old segment.
    return old !== undefined && segmentOf(old) !== segmentOf(ticket) ? [['ask']] : NONE;
  }

  /** The segment of a ticket could not be mapped. */
  attachFailed({ code, message }) {
    if (!passes(code)) return this.#lost(message);
    // The primary has the options, so the request needs none.
    const effects = this.#lost(message, [
      ['askLater', { pause: this.#pauses.take(), options: {} }],
    ]);
    this.state = STATES.RETRYING;
    return effects;
  }

  /** A call has found that the primary moved the segment. */
  moved(message, isConnected) {
    this.#leave(message);
    if (!isConnected) return [['forget']];
    this.state = STATES.MOVED;
    return [['forget'], ['ask']];
  }

  /** This process has destroyed the namespace. The next call makes it anew. */
  destroyed() {
    const { siblings, state } = this;
    this.isDestroyed = true;
    if (state !== STATES.ATTACHED && state !== STATES.SEARCHING) return NONE;
    this.#leave('the namespace was destroyed');
    this.siblings = siblings;
    this.state = siblings ? STATES.SEARCHING : STATES.DESTROYED;
    return [['forget']];
  }

  // What happens to calls.

  /** A call waits in the queue. `reads`: it changes no entry. */
  queued(reads = false) {
    this.isWaiting = true;
    if (!reads) this.#changesWait = true;
    this.open = false;
  }

  /** No call waits in the queue any more. */
  drained() {
    this.isWaiting = false;
    this.#changesWait = false;
    this.#update();
  }

  /** A call is to be sent to the primary. Returns its record among the calls in flight. `reads`: it changes no entry. */
  posted(keys, reads = false) {
    this.open = false;
    return this.#inFlight.begin(keys, reads);
  }

  /** A call was sent with this id. `record` is what `posted` returned. */
  sent(record, id) {
    this.#inFlight.sent(record, id);
  }

  /** No call waits behind this one any more: it is never sent, or its outcome does not matter. */
  dropped(record) {
    this.#inFlight.drop(record);
  }

  /**
   * Whether near reads may be made though `open` is false: of the calls that wait or are in flight none changes entries.
   * Reads overlap then, and may go either way.
   */
  get hasOnlyReads() {
    return this.state === STATES.ATTACHED && !this.#changesWait && this.#inFlight.changes === 0;
  }

  /** Whether a call may run on the segment now: no call is in flight that it must not overtake. */
  allows(command, a) {
    if (this.state !== STATES.ATTACHED || this.isWaiting) return false;
    if (this.#inFlight.size === 0) {
      this.#update();
      return this.open;
    }
    try {
      return !this.#inFlight.blocks(command.keysOf?.(a));
    } catch {
      // Code of the user threw, such as a trap of a Proxy. The call reads the argument again and rejects with the error.
      return false;
    }
  }

  /** Whether an encoded call on these keys runs in this process. Else it is sent to the primary. */
  takes(keys) {
    return this.isHere && (this.isWaiting || !this.#inFlight.blocks(keys));
  }

  /**
   * A queued call is due.
   *
   * @param {Attempt} call
   * @returns {readonly Effect[]}
   */
  due(call) {
    if (!call.isWanted) return [['drop']];
    if (!this.isHere || call.inPrimary || (call.destroys && !this.siblings)) return [['send']];
    if (this.state === STATES.DESTROYED) {
      this.state = STATES.MOVED;
      return [['ask'], ['wait']];
    }
    if (this.state === STATES.MOVED) return [['wait']];
    // A call in flight on one of these keys goes first, so this call is sent behind it.
    if (this.#inFlight.blocks(call.keys)) return [['send']];
    if (call.destroys) return [['run']];
    return call.creates || this.state === STATES.SEARCHING ? [['open']] : [['run']];
  }

  /** The segment was found or made for a call, or its options were changed. `mapped` is what `attached` takes. */
  opened(call, mapped) {
    if (mapped !== undefined) this.attached(mapped);
    this.#pauses.reset();
    return call.creates ? [['created']] : [['run']];
  }

  /**
   * A call has failed on the segment, or its segment could not be opened.
   *
   * @returns {readonly Effect[]}
   */
  failed(call, { code = '', message }, isConnected) {
    const isAttached = this.state === STATES.ATTACHED;
    if (code === BUSY || ((call.creates || !isAttached) && passes(code))) {
      if (!isAttached) this.reason = message;
      return code === BUSY ? [['wait']] : [['pause', this.#pauses.take()]];
    }
    // Only the primary has the value.
    if (code === ELSEWHERE) return [['send']];
    if (!concernsSegment(code)) return [['answer']];
    // Siblings open the segment of a namespace that one of them has destroyed again.
    if (code === GONE && this.siblings) return [['open']];
    if (code === MOVED || code === GONE) {
      const effects = this.moved(message, isConnected);
      return [...effects, this.isHere ? ['wait'] : ['send']];
    }
    this.#leave(message);
    return [['forget'], ['send']];
  }

  /** Whether calls are made in this process: on the segment, or when it is found. */
  get isHere() {
    const { state } = this;
    return state !== STATES.MESSAGES && state !== STATES.RETRYING;
  }

  /** Sets `open`: no call waits, and none is in flight as a message. */
  #update() {
    this.open = this.state === STATES.ATTACHED && this.#inFlight.size === 0 && !this.isWaiting;
  }

  #endSearch() {
    this.siblings = false;
    if (this.state === STATES.SEARCHING) this.state = STATES.MESSAGES;
  }

  #leave(reason) {
    this.state = STATES.MESSAGES;
    this.siblings = false;
    this.open = false;
    this.reason = reason;
    this.ticket = undefined;
    this.views = undefined;
  }

  /** Calls use IPC from now on. Where a segment was attached, the primary is asked again, with the options of that segment. */
  #lost(reason, effects = NONE) {
    const wasAttached = this.ticket !== undefined;
    this.#leave(reason);
    return [['forget'], ...effects, ...(wasAttached ? [['ask']] : NONE)];
  }
}

module.exports = { Attachment };
