'use strict';

/**
 * Performs the effects that `lib/transport/attachment.js` returns for one namespace, with the addon, the channel and a
 * queue of calls that wait.
 */

const { NativeRegistry, handle } = require('../native/loader');
const { debug } = require('../debug');
const { CODES, makeError } = require('../errors');
const { RetryQueue } = require('../store/retry-queue');
const { ValueTable } = require('../store/value-table');
const { Views } = require('../store/views');
const { Attachment } = require('./attachment');
const { KIND } = require('../kinds');
const { identity, parent } = require('./siblings');

const { BUSY, ELSEWHERE, GONE, MOVED } = CODES;

const log = debug('worker');

const table = new ValueTable();

/** The namespaces that this worker has attached. */
const registry = new NativeRegistry(table.state, prune, identity(), parent);

/** Called when the schedule of a namespace is due in this worker, because there is no primary of ours. */
function prune(namespace) {
  const done = registry.scheduled(namespace, Date.now());
  if (done === true) log('pruned', namespace);
}

class AttachmentRunner {
  /** Calls that found the segment locked, or not there yet, and all that came after them. */
  #queue = new RetryQueue(() => this.attachment.drained());

  /** The most bytes for near reads that an instance has asked for. @type {number | undefined} */
  nearBytes = undefined;
  /** @type {Views | undefined} */
  #views = undefined;

  /** `given` is what `Attachment` takes. */
  constructor(name, channel, given) {
    this.name = name;
    this.channel = channel;
    this.attachment = new Attachment(given);
  }

  /** An instance says how many bytes near reads may have. */
  raiseNear(bytes) {
    if (typeof bytes !== 'number') return;
    this.nearBytes = Math.max(this.nearBytes ?? 0, bytes);
    this.#views?.raiseNear(this.nearBytes);
  }

  greeted() {
    this.#perform(this.attachment.greeted());
  }

  primaryGone() {
    this.#perform(this.attachment.primaryGone());
  }

  answered(id) {
    this.#perform(this.attachment.answered(id));
  }

  askAnswered(answer) {
    this.#perform(this.attachment.askAnswered(answer));
  }

  /** `call` is the one that asked, if somebody waits for it. */
  askPostponed(call) {
    this.#perform(this.attachment.askPostponed(), call);
  }

  /** Whether a call that failed on the segment with this error goes on encoded. */
  goesOn(error) {
    if (error?.code === MOVED) {
      this.#perform(this.attachment.moved(error.message, process.connected));
    }
    return [MOVED, GONE, BUSY, ELSEWHERE].includes(error?.code);
  }

  /** A call of this process has destroyed the namespace. */
  destroyed() {
    this.#perform(this.attachment.destroyed());
  }

  /** Runs an encoded call in this process, now or as soon as it can be. Calls keep their order. */
  run(call) {
    this.attachment.queued(call.command.reads);
    this.#queue.add(() => this.#due(call));
    // The calls before this one run first.
    if (this.#queue.length === 1) this.#queue.run();
  }

  /** An attempt at a queued call. Returns whether the call is done, or the milliseconds until the next attempt. */
  #due(call) {
    // The cache of an instance is made even where nobody waits for that any more.
    const isWanted = call.isAwaited || (call.creates && process.connected);
    const { creates, keys, command } = call;
    const inPrimary = command.inPrimary === true;
    const destroys = command.destroys === true;
    return this.#perform(
      this.attachment.due({ creates, destroys, keys, inPrimary, isWanted }),
      call,
    );
  }

  /**
   * Performs effects, those of a call last.
   *
   * @param {readonly import('./attachment').Effect[]} effects
   * @param {any} [call]
   * @param {[kind?: number, payload?: any]} [answer] of the call
   * @returns {boolean | number} as `#due`
   */
  #perform(effects, call, answer = []) {
    const { channel, name } = this;
    for (const [effect, detail] of effects) {
      switch (effect) {
        case 'attach':
          this.#attach(detail);
          break;
        case 'forget':
          this.#views?.close();
          this.#views = undefined;
          registry.forget(name);
          log('left', name, this.attachment.reason);
          break;
        case 'leaveSchedule':
          registry.open(name, '{"prune":false}');
          break;
        case 'ask':
          channel.ask(this);
          break;
        case 'askLater':
          channel.askLater(this, call, detail);
          break;
        case 'retry':
          this.#queue.run();
          break;
        case 'open':
          return this.#open(call);
        case 'run':
          return this.#run(call);
        case 'send':
          channel.post(call);
          return true;
        case 'created':
          channel.answer(call, KIND.JSON, true);
          return true;
        case 'answer':
          channel.answer(call, ...answer);
          return true;
        case 'wait':
          return false;
        case 'pause':
          return detail;
        case 'drop':
          return true;
        default:
          throw new Error(`no such effect: ${effect}`);
      }
    }
    return true;
  }

  #attach(ticket) {
    const wrong = registry.attach(this.name, ticket);
    this.#perform(
      wrong
        ? this.attachment.attachFailed(makeError(wrong))
        : this.attachment.attached(this.#mapped()),
    );
  }

  /** The views of the segment that the registry has, and the ticket of it. */
  #mapped() {
    const { name } = this;
    const ticket = registry.ticket(name);
    log('attached', name, ticket);
    const views = new Views(registry.cache(name), table);
    views.raiseNear(this.nearBytes);
    this.#views = views;
    return { ticket, views };
  }

  /** Finds or makes the segment for a call, or changes its options. The primary runs the schedule, if there is one. */
  #open(call) {
    const { attachment, name } = this;
    const { prune, ...options } = call.creates
      ? JSON.parse(call.args)
      : this.channel.optionsOf(this);
    const given = attachment.siblings ? { ...options, prune } : options;
    const wrong = registry.open(name, JSON.stringify(given));
    if (wrong) return this.#failed(call, wrong);
    const mapped = attachment.views === undefined ? this.#mapped() : undefined;
    return this.#perform(attachment.opened(call, mapped), call);
  }

  #run(call) {
    const reply = handle(registry.id, `[0${call.request}`, Date.now());
    // The request has no answer: another process has the lock.
    if (typeof reply !== 'string') return this.#failed(call, ['Error', '', BUSY]);
    const [, kind, payload] = JSON.parse(`[${reply}]`);
    if (kind === KIND.ERROR) return this.#failed(call, payload);
    return this.#perform([['answer']], call, [kind, payload]);
  }

  #failed(call, data) {
    const effects = this.attachment.failed(call, makeError(data), process.connected);
    return this.#perform(effects, call, [KIND.ERROR, data]);
  }
}

module.exports = { AttachmentRunner };
