'use strict';

// The attachment of a worker by itself: events in, effects and the next state out. No cluster, no addon, no timer.

const assert = require('node:assert/strict');
const { Attachment } = require('../lib/transport/attachment');

const SEGMENT = 'process:7:one';
/** The same segment, as another process has it. */
const SAME = 'process:8:one';
const OTHER = 'process:7:other';

const ASK = ['ask'];
const FORGET = ['forget'];
const RETRY = ['retry'];

const busy = { code: 'ERR_STORE_BUSY', message: 'busy' };
const short = { code: 'ERR_STORE_UNAVAILABLE', message: 'no descriptors' };
const wrong = { code: 'ERR_STORE_ATTACH', message: 'another version' };
const gone = { code: 'ERR_STORE_MOVED', message: 'moved away' };
const destroyed = { code: 'ERR_STORE_GONE', message: 'destroyed' };
const elsewhere = { code: 'ERR_STORE_ELSEWHERE', message: 'only the primary has the value' };
const ofCall = { code: 'ERR_INVALID_ARG_TYPE', message: 'of the call' };

const mapped = (ticket = SEGMENT) => ({ ticket, views: {} });

/** A queued call. */
const call = (given) => ({
  creates: false,
  destroys: false,
  inPrimary: false,
  isWanted: true,
  keys: ['k'],
  ...given,
});
const create = call({ creates: true, keys: [] });

/** An attachment in each state. */
const IN = {
  messages: () => new Attachment(),
  retrying: () => after(IN.messages(), (a) => a.askPostponed()),
  searching: () => new Attachment({ siblings: true }),
  moved: () => after(IN.attached(), (a) => a.moved('moved', true)),
  destroyed: () => after(IN.attached(), (a) => a.destroyed()),
  attached: () => after(IN.messages(), (a) => a.attached(mapped())),
  'attached to siblings': () => after(IN.searching(), (a) => a.opened(call(), mapped())),
};

/** An attachment that has heard of some events. */
function after(attachment, ...events) {
  for (const event of events) event(attachment);
  return attachment;
}

const pause = (ms) => ['askLater', { pause: ms }];
const pauseWithoutOptions = (ms) => ['askLater', { pause: ms, options: {} }];

/** An event in a state: the effects, and the state after it. */
// prettier-ignore
const TRANSITIONS = [
  // state, event, what is told, effects, state afterwards
  ['messages', 'greeted', (a) => a.greeted(), [], 'messages'],
  ['searching', 'greeted', (a) => a.greeted(), [], 'messages'],
  ['attached', 'greeted', (a) => a.greeted(), [], 'attached'],
  ['attached to siblings', 'greeted', (a) => a.greeted(), [], 'attached'],

  ['messages', 'ticket', (a) => a.askAnswered({ ticket: SEGMENT }), [['attach', SEGMENT]], 'messages'],
  ['retrying', 'ticket', (a) => a.askAnswered({ ticket: SEGMENT }), [['attach', SEGMENT]], 'messages'],
  ['moved', 'ticket', (a) => a.askAnswered({ ticket: OTHER }), [['attach', OTHER]], 'messages'],
  ['attached', 'ticket of another', (a) => a.askAnswered({ ticket: OTHER }), [['attach', OTHER]], 'attached'],
  ['attached', 'ticket of the same', (a) => a.askAnswered({ ticket: SAME }), [], 'attached'],
  ['attached to siblings', 'ticket of the same', (a) => a.askAnswered({ ticket: SAME }), [['leaveSchedule']], 'attached'],

  ['messages', 'refused', (a) => a.askAnswered({ why: 'no' }), [FORGET], 'messages'],
  ['moved', 'refused', (a) => a.askAnswered({ why: 'no' }), [FORGET], 'messages'],
  ['attached', 'refused', (a) => a.askAnswered({ why: 'no' }), [FORGET, ASK], 'messages'],

  ['moved', 'answer that says neither', (a) => a.askAnswered(), [], 'messages'],
  ['attached', 'answer that says neither', (a) => a.askAnswered(), [], 'attached'],

  ['messages', 'postponed', (a) => a.askPostponed(), [pause(16)], 'retrying'],
  ['retrying', 'postponed', (a) => a.askPostponed(), [pause(32)], 'retrying'],
  ['moved', 'postponed', (a) => a.askPostponed(), [pause(16)], 'moved'],
  ['attached', 'postponed', (a) => a.askPostponed(), [pause(16)], 'attached'],

  ['messages', 'attached', (a) => a.attached(mapped()), [], 'attached'],
  ['attached', 'attached to another', (a) => a.attached(mapped(OTHER)), [ASK], 'attached'],
  ['messages', 'attach failed', (a) => a.attachFailed(wrong), [FORGET], 'messages'],
  ['attached', 'attach failed', (a) => a.attachFailed(wrong), [FORGET, ASK], 'messages'],
  ['messages', 'attach failed for now', (a) => a.attachFailed(short), [FORGET, pauseWithoutOptions(16)], 'retrying'],
  ['attached', 'attach failed for now', (a) => a.attachFailed(short), [FORGET, pauseWithoutOptions(16), ASK], 'retrying'],

  ['attached', 'moved', (a) => a.moved('moved', true), [FORGET, ASK], 'moved'],
  ['attached', 'moved, without a channel', (a) => a.moved('moved', false), [FORGET], 'messages'],

  ['attached', 'destroyed here', (a) => a.destroyed(), [FORGET], 'destroyed'],
  ['attached to siblings', 'destroyed here', (a) => a.destroyed(), [FORGET], 'searching'],
  ['searching', 'destroyed here', (a) => a.destroyed(), [FORGET], 'searching'],
  ['messages', 'destroyed here', (a) => a.destroyed(), [], 'messages'],
  ['retrying', 'destroyed here', (a) => a.destroyed(), [], 'retrying'],
  ['moved', 'destroyed here', (a) => a.destroyed(), [], 'moved'],
  ['destroyed', 'destroyed here', (a) => a.destroyed(), [], 'destroyed'],
  ['destroyed', 'primary gone', (a) => a.primaryGone(), [], 'messages'],
  ['moved', 'primary gone', (a) => a.primaryGone(), [], 'messages'],
  ['attached', 'primary gone', (a) => a.primaryGone(), [], 'attached'],
  ['searching', 'primary gone', (a) => a.primaryGone(), [], 'searching'],

  ['attached', 'answered', (a) => a.answered(1), [], 'attached'],
  ['attached', 'answered, calls wait', (a) => (a.queued(), a.answered(1)), [RETRY], 'attached'],
  ['moved', 'answered, calls wait', (a) => (a.queued(), a.answered(1)), [RETRY], 'moved'],
];

/** What is done with a queued call that is due; the state stays. */
const DUE = [
  // state, call, effect
  ['messages', 'a call', call(), 'send'],
  ['retrying', 'a call', call(), 'send'],
  ['searching', 'a call', call(), 'open'],
  ['moved', 'a call', call(), 'wait'],
  ['attached', 'a call', call(), 'run'],
  ['attached', 'a call that makes a cache', create, 'open'],
  ['messages', 'a call that makes a cache', create, 'send'],
  ['attached', 'a call that nobody waits for', call({ isWanted: false }), 'drop'],
  ['searching', 'a call of a function in the primary', call({ inPrimary: true }), 'send'],
  ['attached', 'a call of a function in the primary', call({ inPrimary: true }), 'send'],
  ['attached', 'a call that destroys', call({ destroys: true }), 'send'],
  ['moved', 'a call that destroys', call({ destroys: true }), 'send'],
  ['destroyed', 'a call that destroys', call({ destroys: true }), 'send'],
  ['attached to siblings', 'a call that destroys', call({ destroys: true }), 'run'],
  ['searching', 'a call that destroys', call({ destroys: true }), 'run'],
];

/** What follows when a call fails on the segment, or when its segment cannot be opened. */
const FAILURES = [
  // state, call, failure, effects, state afterwards
  ['attached', call(), busy, [['wait']], 'attached'],
  ['searching', call(), busy, [['wait']], 'searching'],
  ['searching', call(), short, [['pause', 16]], 'searching'],
  ['attached', create, short, [['pause', 16]], 'attached'],
  ['attached', call(), short, [FORGET, ['send']], 'messages'],
  ['searching', call(), wrong, [FORGET, ['send']], 'messages'],
  ['attached', call(), elsewhere, [['send']], 'attached'],
  ['attached', call(), gone, [FORGET, ASK, ['wait']], 'moved'],
  ['attached', call(), destroyed, [FORGET, ASK, ['wait']], 'moved'],
  ['attached to siblings', call(), destroyed, [['open']], 'attached'],
  ['attached', call(), ofCall, [['answer']], 'attached'],
  ['searching', create, ofCall, [['answer']], 'searching'],
];

describe('the attachment of a worker', () => {
  it('begins with messages, or searches where there is no primary', () => {
    const reasons = [[], [{ siblings: true }], [{ reason: 'LRU_CACHE_SHARED=0' }]].map((given) => {
      const { state, reason, open } = new Attachment(...given);
      return [state, reason, open];
    });
    assert.deepEqual(reasons, [
      ['messages', 'the primary has not answered yet', false],
      ['searching', 'the shared store has not been found yet', false],
      ['messages', 'LRU_CACHE_SHARED=0', false],
    ]);
  });

  describe('answers an event with effects', () => {
    for (const [state, event, tell, effects, then] of TRANSITIONS) {
      it(`${state} · ${event} → ${then}`, () => {
        const attachment = IN[state]();
        assert.deepEqual([tell(attachment), attachment.state], [effects, then]);
      });
    }
  });

  describe('says what is to be done with a call that is due', () => {
    for (const [state, what, given, effect] of DUE) {
      it(`${state} · ${what} → ${effect}`, () => {
        const attachment = IN[state]();
        const { state: before } = attachment;
        assert.deepEqual([attachment.due(given), attachment.state], [[[effect]], before]);
      });
    }

    it('asks the primary for a namespace that this process destroyed, with the first call', () => {
      const attachment = IN.destroyed();
      assert.deepEqual(attachment.due(call()), [ASK, ['wait']]);
      assert.equal(attachment.state, 'moved');
      assert.deepEqual(attachment.due(call()), [['wait']]);
    });

    it('sends it where a call on its key is in flight as a message', () => {
      const attachment = after(IN.attached(), (a) => a.posted(['k']));
      assert.deepEqual(attachment.due(call()), [['send']]);
      assert.deepEqual(attachment.due(call({ keys: ['other'] })), [['run']]);
    });

    it('runs it, or ends it, when the segment is open', () => {
      for (const [given, effect] of [
        [call(), 'run'],
        [create, 'created'],
      ]) {
        const attachment = IN.searching();
        assert.deepEqual(attachment.opened(given, mapped()), [[effect]]);
        assert.deepEqual([attachment.state, attachment.siblings], ['attached', true]);
        assert.deepEqual(attachment.opened(given), [[effect]]);
      }
    });
  });

  describe('says what follows when a call fails', () => {
    for (const [state, given, failure, effects, then] of FAILURES) {
      const name = given.creates ? 'a call that makes a cache' : 'a call';
      it(`${state} · ${name}, ${failure.code} → ${effects.join(', ')}`, () => {
        const attachment = IN[state]();
        assert.deepEqual(attachment.failed(given, failure, true), effects);
        assert.equal(attachment.state, then);
      });
    }

    it('sends the call where the segment has moved and the channel is gone', () => {
      const attachment = IN.attached();
      assert.deepEqual(attachment.failed(call(), gone, false), [FORGET, ['send']]);
      assert.equal(attachment.state, 'messages');
    });

    it('keeps the reason for transport()', () => {
      const attachment = IN.searching();
      attachment.failed(call(), short, true);
      assert.equal(attachment.reason, 'no descriptors');
      attachment.failed(call(), wrong, true);
      assert.equal(attachment.reason, 'another version');
    });
  });

  it('pauses longer each time, up to a bound, and from the start again after success', () => {
    const attachment = IN.searching();
    const fail = () => attachment.failed(call(), short, true)[0][1];
    const pauses = Array.from({ length: 9 }, fail);
    assert.deepEqual(pauses, [16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
    attachment.opened(create);
    assert.equal(fail(), 16);
  });

  it('has the caches and the ticket while it is attached, and only then', () => {
    const caches = mapped();
    const attachment = after(IN.messages(), (a) => a.attached(caches));
    const { views, ticket, reason } = attachment;
    assert.deepEqual({ views, ticket, reason }, { ...caches, reason: undefined });
    attachment.askAnswered({ why: 'it is full' });
    const { open } = attachment;
    assert.deepEqual(
      [open, attachment.views, attachment.ticket, attachment.reason],
      [false, undefined, undefined, 'the primary says: it is full'],
    );
  });

  describe('is open for calls on shared memory', () => {
    const get = { keysOf: (key) => [key] };
    const all = {};

    it('while it is attached, no call waits and none is in flight', () => {
      const attachment = IN.attached();
      assert.equal(attachment.open, true);
      const record = attachment.posted(['a']);
      assert.equal(attachment.open, false);
      attachment.sent(record, 1);
      attachment.answered(0);
      assert.equal(attachment.open, false);
      attachment.answered(1);
      assert.equal(attachment.open, true);
      attachment.queued();
      assert.equal(attachment.open, false);
      attachment.drained();
      assert.equal(attachment.open, true);
    });

    it('for calls on other keys than those that are in flight', () => {
      const attachment = after(IN.attached(), (a) => a.posted(['a']));
      assert.deepEqual(
        [attachment.allows(get, 'a'), attachment.allows(get, 'b'), attachment.allows(all)],
        [false, true, false],
      );
    });

    it('again when a call is dropped', () => {
      const attachment = IN.attached();
      attachment.dropped(attachment.posted(['a']));
      assert.deepEqual([attachment.allows(all), attachment.open], [true, true]);
    });

    it('for no call whose keys cannot be read, nor while calls wait', () => {
      const attachment = after(IN.attached(), (a) => a.posted(['a']));
      const throws = {
        keysOf() {
          throw new Error('of the user');
        },
      };
      assert.equal(attachment.allows(throws, 'b'), false);
      attachment.queued();
      assert.equal(attachment.allows(get, 'b'), false);
    });

    it('for near reads also while reads wait or are in flight, and no call that changes entries', () => {
      const attachment = IN.attached();
      const record = attachment.posted(['a'], true);
      attachment.queued(true);
      assert.deepEqual([attachment.open, attachment.hasOnlyReads], [false, true]);
      attachment.queued(false);
      assert.equal(attachment.hasOnlyReads, false);
      attachment.queued(true);
      assert.equal(attachment.hasOnlyReads, false);
      attachment.drained();
      assert.deepEqual([attachment.open, attachment.hasOnlyReads], [false, true]);
      const change = attachment.posted(['b']);
      attachment.dropped(record);
      assert.equal(attachment.hasOnlyReads, false);
      attachment.sent(change, 1);
      attachment.answered(1);
      assert.deepEqual([attachment.open, attachment.hasOnlyReads], [true, true]);
    });

    it('in no other state', () => {
      for (const state of ['messages', 'retrying', 'searching', 'moved', 'destroyed']) {
        const attachment = after(IN[state](), (a) => a.drained());
        assert.deepEqual([attachment.open, attachment.allows(get, 'a')], [false, false], state);
      }
    });
  });

  it('takes encoded calls where the segment is attached or looked for', () => {
    const takes = Object.keys(IN).map((state) => [state, IN[state]().takes(['k'])]);
    assert.deepEqual(Object.fromEntries(takes), {
      messages: false,
      retrying: false,
      searching: true,
      moved: true,
      destroyed: true,
      attached: true,
      'attached to siblings': true,
    });
    const attachment = after(IN.attached(), (a) => a.posted(['k']));
    assert.deepEqual([attachment.takes(['k']), attachment.takes(['other'])], [false, true]);
    attachment.queued();
    assert.equal(attachment.takes(['k']), true, 'behind the calls that wait');
  });
});
