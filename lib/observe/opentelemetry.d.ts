/** What is used of a `MeterProvider` of `@opentelemetry/api`. */
export interface MeterProvider {
  getMeter(name: string, version?: string): any;
}

export interface InstrumentOptions {
  /**
   * Whose meter makes the instruments.
   *
   * @defaultValue the global one of `@opentelemetry/api`
   */
  meterProvider?: MeterProvider | undefined;

  /**
   * The beginning of all names.
   *
   * @defaultValue `'lru_cache.'`
   */
  prefix?: string | undefined;

  /**
   * Whether this process reports what all processes share, too. Each process exports for itself: let one of them do it.
   *
   * @defaultValue `true`
   */
  shared?: boolean | undefined;
}

/** Makes observable instruments of the statistics of all namespaces of this process. Returns a function that ends it. */
export function instrument(options?: InstrumentOptions): () => void;
