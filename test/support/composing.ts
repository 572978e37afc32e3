import type { ComposeSettings } from "../../src/outbox/composer.ts";
import type { Done } from "../../src/outbox/message-body.ts";

/** Messages of any size in one array, none of it backlog. */
export const composing: ComposeSettings = {
  maxDelayMs: 1_000,
  maxMessageBytes: 65_536,
  blockBytes: 1,
  output: "readings",
  format: "array",
  compression: "none",
  backfillAfterMs: 1e15,
};

/** Messages of every class up to `sequence` are done with. */
export const behind = (sequence: number): Done => ({ alarm: sequence, live: sequence, backfill: sequence });
