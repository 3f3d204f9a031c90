'use strict';

/** A call of a worker that waits for its answer. */
class Call {
  constructor(client, command, request, args, resolve, reject) {
    /** The number of the request, set when the call is sent: ids rise in the order of requests, and of answers. */
    this.id = undefined;
    this.client = client;
    this.command = command;
    /** The text of the request behind its id. It is `undefined` once the call is sent. */
    this.request = request;
    this.args = args;
    this.resolve = resolve;
    this.reject = reject;
    /** The keys that the call concerns, as `InFlight` has them. */
    this.keys = undefined;
    /** The record of the call in `InFlight`, while the call is in flight. */
    this.record = undefined;
    /** The calls that have the same deadline. @type {CallGroup | undefined} */
    this.deadlineGroup = undefined;
    /** The calls of the same message. @type {Batch | undefined} */
    this.batch = undefined;
  }

  /** Whether somebody waits for the call. */
  get isAwaited() {
    return this.resolve !== undefined;
  }

  /** Whether the call makes a cache. Such a call is made even where nobody waits any more. */
  get creates() {
    return this.command.creates === true;
  }
}

/** Calls that are kept together for as long as one of them waits. */
class CallGroup {
  calls = [];
  /** How many of the calls wait. */
  awaited = 0;

  /** One of the calls has ended. */
  settle() {
    this.awaited -= 1;
    // Nothing of an ended call is kept longer than the others wait.
    if (this.awaited === 0) this.calls = [];
  }
}

/** The calls of one message. Their ids follow one another. */
class Batch extends CallGroup {
  constructor(calls, first) {
    super();
    this.calls = calls;
    this.first = first;
    this.last = first + calls.length - 1;
  }

  /** A call of this batch is sent again with another: it is no call of this one any more. */
  release(call) {
    call.batch = undefined;
    // Only calls that somebody waits for are counted.
    if (call.isAwaited) this.settle();
  }

  /** The call with this id, if it waits: each is answered once. */
  take(id) {
    const call = this.calls[id - this.first];
    if (call) this.calls[id - this.first] = undefined;
    return call;
  }
}

module.exports = { Batch, Call, CallGroup };
