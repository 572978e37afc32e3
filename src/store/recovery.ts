import { isDiskFull } from "../core/database.ts";
import { messageOf } from "../core/errors.ts";
import { PipelineFault, withoutEntries } from "../journal/fault.ts";
import { settle } from "../ledger/ledger.ts";
import type { Disk } from "./disk.ts";
import { heldOf, type Memory, type PipelineFactory, ReplayFault, recall } from "./memory.ts";
import { findKiller, isPatient, type Suspect, type Suspects } from "./suspects.ts";

/** What a bug may cost in one batch: after this many faulty entries, the rest of the batch's frames goes too. */
const faultsPerBatch = 8;
/** Entries that a start may take out of the journal before it gives up. */
const replayFaults = 1_000;

/** The batch with the entry that a stage threw at taken out; after many of them, with every frame taken out. */
export function withoutFault(batch: Uint8Array, fault: PipelineFault, faults: number): Uint8Array {
  const all = faults >= faultsPerBatch;
  const rest = withoutEntries(
    batch,
    (entry, index) => index === fault.index || (all && entry.type === "frame"),
    messageOf(fault.cause),
  );
  if (!rest || faults > faultsPerBatch) throw fault;
  return rest;
}

export interface Recovered {
  readonly memory: Memory;
  /** A batch that an earlier process died of before it was committed; what is left of it is to be committed now. */
  readonly pending: Uint8Array | undefined;
}

/**
 * Memory at a start. What a stage throws at, though it took it before (an upgrade can do that), is taken out of the
 * journal. After the third death in a row, the entry that kills the process is looked for, and taken out too: a bug
 * costs a reading, not the box.
 */
export function recover(disk: Disk, makePipeline: PipelineFactory): Recovered {
  const { suspects } = disk;
  const { clean, position } = disk.stateRow.read();
  const wasInOrder = clean || position === 0;
  const suspect = wasInOrder ? suspects.read() : noteDeath(suspects);
  if (!suspect || isPatient(suspect))
    return { memory: recallWithoutFaults(disk, makePipeline), pending: suspect?.batch };
  if (suspect.position === 0) {
    // Something in the replay kills; slowly, so that the next start knows what.
    const note = (at: number) => suspects.write({ ...suspect, position: at });
    return { memory: recallWithoutFaults(disk, makePipeline, note), pending: suspect.batch };
  }
  return withoutKiller(disk, makePipeline, suspect);
}

/** A disk that is full takes no note, and must not keep the store from opening. */
function noteDeath(suspects: Suspects): Suspect | undefined {
  try {
    return suspects.noteDeath();
  } catch (error) {
    if (isDiskFull(error)) return suspects.read();
    throw error;
  }
}

function withoutKiller(disk: Disk, makePipeline: PipelineFactory, suspect: Suspect): Recovered {
  const { suspects, journal } = disk;
  const batch = suspect.batch ?? journal.at(suspect.position);
  if (!batch) {
    suspects.clear();
    return { memory: recallWithoutFaults(disk, makePipeline), pending: undefined };
  }
  const survive = (prefix: Uint8Array) => {
    const { pipeline } = recall(disk, makePipeline, undefined, suspect.position);
    try {
      pipeline.apply(prefix);
    } catch (error) {
      // A stage that throws is no death, and is seen to when the batch is processed.
      if (!(error instanceof PipelineFault)) throw error;
    }
  };
  const rest = findKiller(suspect, batch, (next) => suspects.write(next), survive);
  // One more death is one more entry of the batch: the search begins at once then, not after three.
  const next = { ...suspect, lo: 0, hi: null, trial: null };
  if (suspect.batch) {
    suspects.write({ ...next, batch: rest });
    return { memory: recallWithoutFaults(disk, makePipeline), pending: rest };
  }
  if (rest !== batch) journal.replace(suspect.position, rest);
  suspects.write({ ...next, position: 0 });
  const memory = recallWithoutFaults(disk, makePipeline);
  if (rest !== batch) settleFaults(disk, memory);
  return { memory, pending: undefined };
}

function recallWithoutFaults(
  disk: Disk,
  makePipeline: PipelineFactory,
  before?: (position: number) => void,
): Memory {
  for (let faults = 0; ; faults++) {
    try {
      const memory = recall(disk, makePipeline, before);
      if (faults > 0) settleFaults(disk, memory);
      return memory;
    } catch (error) {
      if (!(error instanceof ReplayFault) || faults > replayFaults) throw error;
      disk.journal.replace(
        error.position,
        withoutFault(error.batch, error.fault, faults % (faultsPerBatch + 1)),
      );
    }
  }
}

/** What was taken out of the journal is out already in an entry, or is missing from an open window. */
function settleFaults(disk: Disk, memory: Memory): void {
  settle(memory.ledger, heldOf(memory, memory.state.outbox.held), "pipelineFault");
  memory.state.ledger = [...memory.ledger];
  disk.stateRow.write(memory.state);
}
