import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../core/clock.ts";
import { InvariantError, messageOf, TransientError } from "../core/errors.ts";
import { openSession } from "./engine.ts";
import { type Session, trySession } from "./session.ts";
import { perform, type Task } from "./task.ts";
import type { FromThread, ThreadOptions, ToThread } from "./thread-protocol.ts";

/** Entry of a model's thread: loads one model, tries it, and does one task after the other. */
const port = parentPort;
if (!port) throw new InvariantError("model-thread-entry.ts runs only as a worker");

const tell = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
/** Of the tasks that are not done. */
const aborts = new Map<number, AbortController>();

try {
  const session = await opened(workerData as ThreadOptions);
  const { engine, inputs, outputs } = session;
  let last: Promise<void> = Promise.resolve();
  port.on("message", (message: ToThread) => {
    if (message === "end") last = last.then(() => end(session));
    else if ("cancel" in message) aborts.get(message.cancel)?.abort();
    else {
      const abort = new AbortController();
      aborts.set(message.id, abort);
      last = last.then(() => serve(session, message.id, message.task, abort.signal));
    }
  });
  tell({ opened: { engine, inputs, outputs } });
} catch (error) {
  if (error instanceof TransientError) leave(error);
  tell({ refused: messageOf(error).trim() });
  process.exit();
}

async function opened(options: ThreadOptions): Promise<Session> {
  if ("remote" in options) {
    // There is no native call that it would have to wait for; what it asks of the scorer ends with it.
    port?.on("message", (message: ToThread) => {
      if (message === "end") process.exit();
    });
    const { openRemote, watchRemote } = await import("./remote-session.ts");
    const session = await openRemote(options);
    watchRemote(options, session, () => aborts.size === 0).catch(leave);
    return session;
  }
  const session = await openSession(options.path, options);
  // Nobody asks before it is told: whatever has come says that the thread was let go of.
  if (port && receiveMessageOnPort(port)) process.exit();
  await trySession(session, new AbortController().signal);
  return session;
}

async function serve(session: Session, id: number, task: Task, signal: AbortSignal): Promise<void> {
  try {
    tell({ id, outcome: await perform(session, task, systemClock.monotonic, signal) });
  } catch (error) {
    // Nobody waits for it.
    if (signal.aborted) return;
    if (error instanceof TransientError) leave(error);
    tell({ id, failed: messageOf(error).trim() });
  } finally {
    aborts.delete(id);
  }
}

/** For a scorer that is not there, or not any more: it is looked for anew, in another thread. */
function leave(error: unknown): never {
  tell({ unavailable: messageOf(error) });
  process.exit();
}

async function end(session: Session): Promise<void> {
  await session.release();
  // Of this thread alone, together with those that WebAssembly has below it.
  process.exit();
}
