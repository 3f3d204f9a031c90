// What `lib/native/loader.js` gives: what the build declares in `binding.d.ts`, and the functions that
// `src/addon/store.rs` registers by hand. `__test__/lists.test.js` compares the names with the addon's exports.

export * from '../../binding';

declare global {
  /** An error as data, in declarations that the build writes. */
  type ErrorData = [name: string, message: string, code: string];
  /** A part of a reply, see `lib/transport/server.js`: text, pieces to complete, or which requests have no answer. */
  type ReplyPart = any;
}

/** The number of a cache, `NativeCache.id`. */
type Id = number;
/** What a call returns. Its kind is in `state`, see `STATE.OUTCOME` in `lib/store/value-table.js`. */
type Result = any;
type Key = unknown;
/** Keys as an array, or all of them as one text with zeros between them. */
type Keys = string | ArrayLike<Key>;
/** Milliseconds since the epoch; `NaN` for the clock of the system. */
type Now = number;
/** For each value of a list a slot, or below 0 the negative of a kind (`lib/kinds.js`), less 1. */
type Places = Int32Array;

export function get(cache: Id, key: Key, now: Now): Result;
export function peek(cache: Id, key: Key, now: Now): Result;
export function has(cache: Id, key: Key, now: Now): Result;
export function set(cache: Id, key: Key, value: unknown, maxAge: unknown, now: Now): Result;
export function keep(cache: Id, key: Key, value: unknown, maxAge: unknown, now: Now): Result;
export function put(
  cache: Id,
  key: Key,
  payload: unknown,
  maxAge: unknown,
  now: Now,
  kind: number,
): Result;
export function del(cache: Id, key: Key): Result;
export function incr(cache: Id, key: Key, amount: unknown, maxAge: unknown, now: Now): Result;
export function getMany(cache: Id, keys: Keys, count: number, places: Places, now: Now): Result;
export function apart(cache: Id): Result;
export function size(cache: Id): Result;
/**
 * A function for each command of `src/command.rs`. The head of `src/addon/arguments.rs` says how arguments cross, that of
 * `src/addon/results.rs` what comes back.
 */
export const commands: Readonly<
  Record<string, (cache: Id, now: Now, ...args: unknown[]) => Result>
>;
export function takeEvicted(cache: Id): Result;
export function release(cache: Id): Result;
export function hold(cache: Id): Result;
export function unhold(cache: Id): Result;
export function isExposed(cache: Id): Result;
/** Leases, see `src/addon/leases.rs`. */
export function leaseClaim(
  cache: Id,
  key: Key,
  now: Now,
  numbers: Float64Array,
  fresh: boolean,
  renews: boolean,
  timeout: number,
  process?: number,
): Result;
export function leaseSettle(
  cache: Id,
  now: Now,
  key: Key,
  payload: unknown,
  places: Places,
  token: number,
  maxAge: unknown,
  grace: number,
  tags?: string,
): Result;
export function leaseLeave(
  cache: Id,
  now: Now,
  key: Key,
  payload: unknown,
  places: Places,
  token: number,
  isError: boolean,
  ttlOrTags: number | string | undefined,
  rest: number,
): Result;
export function leaseRelease(cache: Id, key: Key, token: number): Result;
export function leaseJoin(
  cache: Id,
  key: Key,
  token: number,
  numbers: Float64Array,
  again: boolean,
): Result;
export function leaseQuit(cache: Id, key: Key, token: number): Result;
export function leaseLook(
  cache: Id,
  key: Key,
  token: number,
  now: Now,
  numbers: Float64Array,
  reads: boolean,
  quits: boolean,
): Result;
export function leaseWaiters(cache: Id, key: Key, token: number): Result;
export function isGone(cache: Id): Result;
/** A text of ready answers, or parts: texts, `[id, pieces]`, and last `[requests, executes]` where requests have no answer. */
/** The memory of near reads, see `src/addon/near.rs`. */
export function nearControl(cache: Id, remembers: boolean): Result;
export function nearVersions(cache: Id, piece: number): Result;
export function nearRing(cache: Id): Result;
export function nearUses(cache: Id): Result;
export function refresh(cache: Id): Result;

export function handle(registry: number, batch: string, now: number, builtIn?: boolean): any;
