/** Whether two types are identical; `any`, and optional or readonly parts, are told apart. */
type Identical<X, Y> =
  (<T>() => T extends X ? 1 : 2) extends <T>() => T extends Y ? 1 : 2 ? true : false;

/**
 * Compiles only when the type of `value` is exactly `Expected`: `exact<number>()(value)`. Two calls, because the type of
 * `value` is inferred while `Expected` is given.
 */
export declare function exact<Expected>(): <Actual>(
  value: Actual,
  ...wrong: Identical<Actual, Expected> extends true ? [] : [expected: { type: Expected }]
) => void;
