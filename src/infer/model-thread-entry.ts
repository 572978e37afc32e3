import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../core/clock.ts";
import { InvariantError, messageOf } from "../core/errors.ts";
import { openSession, type Session, trySession } from "./engine.ts";
import { perform } from "./task.ts";
import type { FromThread, ThreadOptions, ToThread } from "./thread-protocol.ts";

/** Entry of a model's thread: loads one model, tries it, and does one task after the other. */
const port = parentPort;
if (!port) throw new InvariantError("model-thread-entry.ts runs only as a worker");

const tell = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

try {
  const session = await openSession((workerData as ThreadOptions).path, workerData as ThreadOptions);
  // Nobody asks before it is told: whatever has come says that the thread was let go of.
  if (receiveMessageOnPort(port)) process.exit();
  await trySession(session);
  const { engine, inputs, outputs } = session;
  let last: Promise<void> = Promise.resolve();
  port.on("message", (message: ToThread) => {
    last = last.then(() => serve(session, message));
  });
  tell({ opened: { engine, inputs, outputs } });
} catch (error) {
  tell({ refused: messageOf(error).trim() });
  process.exit();
}

async function serve(session: Session, message: ToThread): Promise<void> {
  if (message === "end") {
    await session.release();
    // Of this thread alone, together with those that WebAssembly has below it.
    process.exit();
  }
  const { id, task } = message;
  try {
    tell({ id, outcome: await perform(session, task, systemClock.monotonic) });
  } catch (error) {
    tell({ id, failed: messageOf(error).trim() });
  }
}
