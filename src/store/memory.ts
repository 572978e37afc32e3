import { type Accounts, addAccounts } from "../core/entry.ts";
import { enterPhase } from "../core/phase.ts";
import { PipelineFault } from "../journal/fault.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { corrupt } from "../outbox/checksum.ts";
import { Composer } from "../outbox/composer.ts";
import { Outbox } from "../outbox/outbox.ts";
import { Reduction } from "../outbox/reduction.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Disk } from "./disk.ts";
import { Economy } from "./economy.ts";
import type { State } from "./state.ts";

/** What the store knows in memory; all of it can be made again from the disk. */
export interface Memory {
  readonly state: State;
  readonly ledger: Ledger;
  readonly outbox: Outbox;
  readonly composer: Composer;
  readonly reduction: Reduction;
  readonly economy: Economy;
  readonly pipeline: Pipeline;
  /** Journal entries behind the snapshot. */
  sinceSnapshot: number;
  /** Batches that were replayed. */
  readonly replayed: number;
}

export type PipelineFactory = (storeId: string) => Pipeline;

/** A stage threw at an entry of the journal that it had taken before. */
export class ReplayFault extends Error {
  readonly position: number;
  readonly batch: Uint8Array;
  readonly fault: PipelineFault;
  constructor(position: number, batch: Uint8Array, fault: PipelineFault) {
    super(`journal position ${position}: ${fault.message}`, { cause: fault });
    this.position = position;
    this.batch = batch;
    this.fault = fault;
  }
}

/**
 * Memory as it was after the last commit, or, with `until`, before the batch at that position.
 * `before` is called with the position of each batch, ahead of it.
 * @throws PermanentError STORE_CORRUPT; ReplayFault
 */
export function recall(
  disk: Disk,
  makePipeline: PipelineFactory,
  before: (position: number) => void = () => undefined,
  until = Number.POSITIVE_INFINITY,
): Memory {
  const { database, storeId, journal } = disk;
  const state = disk.stateRow.read();
  if (state.storeId !== storeId)
    throw corrupt(`the store's id is ${storeId} in one place, and another in another`);
  const pipeline = makePipeline(storeId);
  const snapshot = disk.readSnapshot();
  if (snapshot) pipeline.restore(snapshot.snapshot);
  let position = snapshot?.position ?? 0;
  const from = position;
  let sinceSnapshot = 0;
  for (const row of journal.readAfter(from)) {
    if (row.position >= until) break;
    if (row.position !== position + 1)
      throw corrupt(`the journal goes from position ${position} to ${row.position}`);
    position = row.position;
    before(position);
    enterPhase("replay");
    sinceSnapshot += replay(pipeline, row.position, row.batch);
  }
  if (until > state.position && position !== state.position)
    throw corrupt(`the journal ends at ${position}, not ${state.position}`);
  const outbox = new Outbox(database, storeId, state.outbox);
  return {
    state,
    ledger: new Map(state.ledger),
    outbox,
    composer: new Composer(outbox),
    reduction: new Reduction(database, storeId, state.outbox, outbox.composed),
    economy: new Economy(),
    pipeline,
    sinceSnapshot,
    replayed: position - from,
  };
}

/** Readings held per source: in open windows, and in `inOutbox`. */
export function heldOf({ pipeline }: Memory, inOutbox: Accounts): Record<string, number> {
  const held = pipeline.held();
  addAccounts(held, inOutbox);
  return held;
}

function replay(pipeline: Pipeline, position: number, batch: Uint8Array): number {
  try {
    return pipeline.apply(batch).journalEntries;
  } catch (error) {
    throw error instanceof PipelineFault ? new ReplayFault(position, batch, error) : error;
  }
}
