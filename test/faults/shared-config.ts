/** Nothing in the journal is trimmed, so that the oracles can read all of it. */
export const keepEverything = 1_000_000_000;

export interface DaemonConfigOptions {
  readonly store: string;
  readonly port: string;
  readonly sizeMs: number;
  readonly latenessMs: number;
  readonly maxLossMs: number;
  /** Readings have a time of their own; otherwise that of their receipt. */
  readonly ownTime: boolean;
  readonly snapshotEvery?: number;
  readonly more?: Readonly<Record<string, unknown>>;
  readonly moreStore?: Readonly<Record<string, unknown>>;
}

/** A daemon with one numbered device and a hub that may be away. */
export function daemonConfig(options: DaemonConfigOptions) {
  const { store, port, sizeMs, latenessMs, maxLossMs, ownTime } = options;
  return {
    gateway: { name: "box" },
    sources: {
      oven: {
        type: "serial",
        path: port,
        framing: { kind: "lines", first: "keep" },
        decode: {
          format: "json",
          ignore: ownTime ? ["seq"] : [],
          ...(ownTime ? { time: { field: "t" } } : {}),
        },
        device: { field: "id" },
        ...(ownTime ? { idleMs: 3_600_000 } : {}),
      },
    },
    windows: { second: { sizeMs, allowedLatenessMs: latenessMs } },
    publish: { maxDelayMs: 50, maxMessageBytes: 2_000 },
    hub: { type: "edge", sendTimeoutMs: 1_000, closeTimeoutMs: 200 },
    // Whether the clock of a test machine is known good must not matter.
    clock: { maxHoldMs: 0 },
    // Several daemons run at once, and nobody asks here.
    api: { state: "off" },
    ...options.more,
    store: {
      path: store,
      maxLossMs,
      snapshotEvery: options.snapshotEvery ?? 100,
      replayBytes: keepEverything,
      ...options.moreStore,
    },
  };
}
