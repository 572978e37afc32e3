import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../core/clock.ts";
import { InvariantError, messageOf, TransientError } from "../core/errors.ts";
import { type ImageTask, performTogether, takesBatches } from "./batch.ts";
import { openSession } from "./engine.ts";
import { type Session, trySession } from "./session.ts";
import { perform, type Task } from "./task.ts";
import type { FromThread, ThreadOptions, ToThread } from "./thread-protocol.ts";

/**
 * Entry of a model's thread: loads one model, tries it, and does one task after the other. Images that came while it was
 * at work are done together where the model takes them so; how many those may be, the main thread says by what it sends.
 */
const port = parentPort;
if (!port) throw new InvariantError("model-thread-entry.ts runs only as a worker");

const tell = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
interface Job {
  readonly id: number;
  readonly task: Task;
  readonly abort: AbortController;
}
/** Those that are not done, the one at work among them. */
const jobs = new Map<number, Job>();
let isWorking = false;
let isEnding = false;

try {
  const session = await opened(workerData as ThreadOptions);
  const { engine, inputs, outputs } = session;
  port.on("message", (message: ToThread) => {
    take(message);
    void work(session);
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
    watchRemote(options, session, () => jobs.size === 0).catch(leave);
    return session;
  }
  const session = await openSession(options.path, options);
  // Nobody asks before it is told: whatever has come says that the thread was let go of.
  if (port && receiveMessageOnPort(port)) process.exit();
  await trySession(session, new AbortController().signal);
  return session;
}

function take(message: ToThread): void {
  if (message === "end") isEnding = true;
  else if ("cancel" in message) jobs.get(message.cancel)?.abort.abort();
  else jobs.set(message.id, { ...message, abort: new AbortController() });
}

async function work(session: Session): Promise<void> {
  if (isWorking) return;
  isWorking = true;
  for (;;) {
    // While a runtime is at work, what comes waits in the port.
    for (let more = port && receiveMessageOnPort(port); more; more = port && receiveMessageOnPort(port))
      take(more.message);
    const [first, ...others] = jobs.values();
    if (!first) break;
    if (first.abort.signal.aborted) {
      jobs.delete(first.id);
      continue;
    }
    const images = takesBatches(session) ? [first, ...others].filter(isOfImages) : [];
    if (isOfImages(first) && images.length > 1) await serveTogether(session, images);
    else await serve(session, first);
  }
  isWorking = false;
  if (isEnding) await end(session);
}

const isOfImages = (job: Job): job is Job & { readonly task: ImageTask } =>
  job.task.kind === "score" || job.task.kind === "pixels";

async function serve(session: Session, { id, task, abort: { signal } }: Job): Promise<void> {
  try {
    tell({ id, outcome: await perform(session, task, systemClock.monotonic, signal) });
  } catch (error) {
    // Nobody waits for it.
    if (signal.aborted) return;
    if (error instanceof TransientError) leave(error);
    tell({ id, failed: messageOf(error).trim() });
  } finally {
    jobs.delete(id);
  }
}

async function serveTogether(
  session: Session,
  images: readonly (Job & { readonly task: ImageTask })[],
): Promise<void> {
  const tasks = images.map(({ task }) => task);
  const done = await performTogether(session, tasks, systemClock.monotonic);
  for (const [i, { id }] of images.entries()) {
    const of = done[i];
    if (of) tell("outcome" in of ? { id, ...of } : { id, failed: messageOf(of.error).trim() });
    jobs.delete(id);
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
