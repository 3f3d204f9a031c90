'use strict';

const { LONGEST_TIMER } = require('../options');
const { CallGroup } = require('./call');

// Kept, because test suites replace the globals by timers that stand still.
const { performance, setImmediate, setTimeout } = globalThis;

/** The calls of one tick that have the same timeout. */
class DeadlineGroup extends CallGroup {
  constructor(due) {
    super();
    /** When the time of the calls is over, in milliseconds of `performance.now()`. */
    this.due = due;
  }

  add(call) {
    call.deadlineGroup = this;
    this.calls.push(call);
    this.awaited += 1;
  }
}

/** Ends all calls that have the same timeout when their time is over, with one timer. */
class Deadline {
  /** Groups from `#first` on, the oldest first. Groups of answered calls may lie between them. */
  #groups = [];
  #first = 0;
  #timer;

  /** `expire` ends calls. `idle` is called when no call is left. */
  constructor(timeout, expire, idle) {
    this.timeout = timeout;
    this.expire = expire;
    this.idle = idle;
  }

  /** Starts the clock of a group of calls. */
  begin() {
    const group = new DeadlineGroup(performance.now() + this.timeout);
    this.#skip((oldest) => oldest.awaited === 0);
    this.#groups.push(group);
    if (!this.#timer) this.#wait(this.timeout);
    return group;
  }

  /** Removes the oldest groups for as long as `isDone` says so. */
  #skip(isDone) {
    while (this.#first < this.#groups.length && isDone(this.#groups[this.#first])) this.#first += 1;
    if (this.#first * 2 > this.#groups.length) {
      this.#groups.splice(0, this.#first);
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
   * Ends the calls whose time is over. Runs one round of the event loop after the timer: where this worker was busy,
   * its answers lie unread in the channel and are read first.
   */
  #check() {
    this.#timer = undefined;
    const now = performance.now();
    const due = [];
    this.#skip((oldest) => {
      if (oldest.awaited > 0 && oldest.due > now) return false;
      for (const call of oldest.calls) due.push(call);
      return true;
    });
    if (due.length > 0) this.expire(due);
    if (this.#first < this.#groups.length) {
      this.#wait(Math.max(1, this.#groups[this.#first].due - now));
    } else {
      this.idle();
    }
  }
}

module.exports = { Deadline };
