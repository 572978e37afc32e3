import type { BoxState } from "../../src/twin/reported.ts";

export const totals = {
  frames: 9,
  decoded: 8,
  framesDiscarded: 1,
  ingested: 7,
  published: 3,
  held: 2,
  discarded: 2,
  gaps: { counted: 5, unknown: 1 },
};
/** A box that has something to tell of everything. */
export const box: BoxState = {
  version: "1.2.3",
  configHash: "abc",
  lastDesiredVersion: 7,
  lastDesiredStatus: { code: 400, description: "no", path: "hub" },
  sources: {
    oven: { state: "failed", reason: "x".repeat(9_000) },
    room: { state: "open", reason: undefined },
  },
  models: {},
  sentiment: { state: "ready", reason: undefined, api: "v3.1" },
  upstream: "offline",
  clockQuality: "synced",
  store: { state: "ok", reason: undefined },
  freeRam: 5,
  load: { one: 1, five: 2, fifteen: 3 },
  freeDisk: 9,
  outbox: { entries: 1, messages: 2, bytes: 3, oldestAgeMs: 4 },
  ledger: { totals, sources: { oven: totals } },
};
