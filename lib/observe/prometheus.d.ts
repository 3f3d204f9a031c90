/** What `register` uses of `prom-client`: pass the module. */
export interface PromClient {
  register: any;
  Counter: new (configuration: any) => any;
  Gauge: new (configuration: any) => any;
}

export interface MetricsOptions {
  /**
   * The beginning of all names.
   *
   * @defaultValue `'lru_cache_'`
   */
  prefix?: string | undefined;
}

export interface RegisterOptions extends MetricsOptions {
  /**
   * The registries of the metrics.
   *
   * @defaultValue `[client.register]`
   */
  registers?: readonly any[] | undefined;
}

/** The statistics of all namespaces of this process, in the text format of Prometheus. */
export function metrics(options?: MetricsOptions): Promise<string>;

/**
 * Registers the statistics with `prom-client`; returns the metrics. Its `AggregatorRegistry` reports each shared number once,
 * and the sum of what is of one process.
 */
export function register(client: PromClient, options?: RegisterOptions): any[];
