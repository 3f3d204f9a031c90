'use strict';

const { MESSAGE_LENGTH } = require('./envelope');

/** The calls of a channel that are not sent yet, in order. */
class Outbox {
  #calls = [];
  /** How many of the calls, from the first on, have their clock running. */
  #clocked = 0;
  /** How many of the calls have ended already. */
  #ended = 0;

  get length() {
    return this.#calls.length;
  }

  add(call) {
    this.#calls.push(call);
  }

  /** Adds calls before all others. Nobody waits for them, so they need no clock. */
  addFirst(calls) {
    this.#calls.unshift(...calls);
    this.#clocked += calls.length;
  }

  /** The calls whose clock has to start. */
  takeUnclocked() {
    const calls = this.#calls;
    const from = this.#clocked;
    this.#clocked = calls.length;
    return from === 0 ? calls : calls.slice(from);
  }

  /** Some calls have ended before they were sent. They are dropped when they are more than half of all. */
  end(count) {
    this.#ended += count;
    if (this.#ended * 2 <= this.#calls.length) return;
    const clocked = this.#calls.slice(0, this.#clocked).filter((call) => call.isAwaited);
    this.#calls = clocked.concat(this.#calls.slice(this.#clocked));
    this.#clocked = clocked.length;
    this.#ended = 0;
  }

  /** Takes all calls. */
  take() {
    const calls = this.#calls;
    this.#calls = [];
    this.#clocked = 0;
    this.#ended = 0;
    return calls;
  }

  /** Takes all calls that are to be sent, as one list for each message. */
  takeMessages() {
    const hasEnded = this.#ended > 0;
    const all = this.take();
    const calls = hasEnded ? all.filter((call) => call.isAwaited || call.creates) : all;
    const messages = [];
    let from = 0;
    let length = 0;
    for (let index = 0; index < calls.length; index += 1) {
      const next = calls[index].request.length;
      if (index > from && length + next > MESSAGE_LENGTH) {
        messages.push(calls.slice(from, index));
        from = index;
        length = 0;
      }
      length += next;
    }
    if (from < calls.length) messages.push(from === 0 ? calls : calls.slice(from));
    return messages;
  }
}

module.exports = { Outbox };
