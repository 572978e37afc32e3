import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { within } from "../test/faults/running-daemon.ts";
import type { Children } from "../test/faults/soak/children.ts";
import { figuresOf } from "../test/faults/soak/process-figures.ts";
import { monotonicMs, sleep } from "../test/faults/time.ts";
import { Arrivals } from "./arrivals.ts";
import { Devices } from "./devices.ts";
import { startMosquitto } from "./mosquitto.ts";
import type { Target } from "./processes/generator.ts";
import type { Counters, Program } from "./programs/program.ts";
import { firstSeq, inFilter, readingText } from "./reading.ts";
import { median } from "./statistics.ts";

export interface Load {
  readonly rate: number;
  readonly devices: number;
  readonly qos: 0 | 1;
  readonly warmUpMs: number;
  readonly measuredMs: number;
  /** Size of the windows that the program is set up with; 1,000 unless told. Whether they come in time is looked at only then. */
  readonly windowMs?: number;
  /** What tells that nothing is missing: the windows that arrive, or what the program itself counts. */
  readonly counted?: "windows" | "frames";
  /** Ends with the first window that is late, or reading that is not sent: it does not count then. */
  readonly endsWhenLate?: boolean;
}

/** A program, and where its devices send to when that is not the broker. */
export interface Job {
  readonly program: Program;
  /** Resolves when they may. */
  readonly target?: () => Promise<Target>;
}

export interface LoadFigures {
  /** Per second, as measured. */
  readonly rate: number;
  readonly cpuSecondsPerMillion: number;
  /** Of one core. */
  readonly cpuShare: number;
  readonly rssBytes: number;
  readonly writtenBytes: number;
  readonly writtenPerReading: number;
  /** Of the bytes of the payloads. */
  readonly writtenPerByte: number;
  readonly megabytesPerDay: number;
  readonly commits: number | undefined;
  readonly bytesPerCommit: number | undefined;
  /** Behind the devices, in the worst second, right after that second's windows arrived. */
  readonly behindMs: number;
  /** Middle and largest time from a window's end to its arrival. */
  readonly latenessMs: number | undefined;
  readonly latestMs: number | undefined;
  /** Undefined where the devices wait for it, and not this process. */
  readonly startToReadyMs: number | undefined;
  /** Why it counts for nothing; empty when it counts. */
  readonly problems: readonly string[];
}

const payloadBytes = readingText(0, 0, firstSeq).length;
/** A window that arrives later than its own size behind its end is late. */
const onTimeMs = 1_000;
const sampleMs = 250;
/** For what is under way when the devices fall silent. */
const drainMs = 15_000;

export const workFolder = (): string => {
  // A unix socket's path has at most 107 bytes.
  const system = tmpdir().length > 40 ? "/tmp" : tmpdir();
  return realpathSync(mkdtempSync(join(system, "headgate-bench-")));
};

/**
 * One program under a constant load, with a broker, devices and a hub of its own. A job is made for the folder that the
 * program runs in.
 */
export async function runLoad(
  made: Program | ((place: string) => Promise<Job>),
  load: Load,
  children: Children,
): Promise<LoadFigures> {
  const folder = workFolder();
  const place = join(folder, "program");
  mkdirSync(place);
  const { program, target }: Job = typeof made === "function" ? await made(place) : { program: made };
  let isGood = false;
  try {
    const broker = await startMosquitto(folder, children);
    const arrivals = new Arrivals(broker.url);
    await arrivals.start();
    const beganMs = monotonicMs();
    const running = program.start({ folder: place, url: broker.url, children });
    const ended = new Promise<never>((_, reject) => {
      running.child.once("exit", (code, signal) =>
        reject(new Error(`${program.name} ended with ${code ?? signal}; see ${place}`)),
      );
    });
    ended.catch(() => undefined);
    const readyTarget = async (): Promise<Target> => {
      await within(broker.subscribed(inFilter), `${program.name} subscribes; see ${place}`);
      return { way: "mqtt", port: broker.port, qos: load.qos };
    };
    const sendTo = await Promise.race([(target ?? readyTarget)(), ended]);
    const startToReadyMs = sendTo.way === "serial" ? undefined : monotonicMs() - beganMs;
    const devices = new Devices({ target: sendTo, rate: load.rate, devices: load.devices }, children);
    // They answer when they send.
    await Promise.race([devices.progress(), ended]);
    await Promise.race([sleep(load.warmUpMs), ended]);

    const look = async () => ({
      progress: await devices.progress(),
      figures: figuresOf(running.child.pid ?? 0),
      counters: (await running.counters?.()) ?? ({} as Counters),
    });
    const first = await look();
    const rss: number[] = [];
    let isLate = false;
    for (const endMs = first.progress.atMs + load.measuredMs; monotonicMs() < endMs; ) {
      rss.push(figuresOf(running.child.pid ?? 0).rssBytes);
      await Promise.race([sleep(sampleMs), ended]);
      if (!load.endsWhenLate) continue;
      const late = arrivals.lateness(first.progress.atMs, Number.POSITIVE_INFINITY).at(-1) ?? 0;
      isLate = late > onTimeMs || (await devices.progress()).skipped > 0;
      if (isLate) break;
    }
    const last = await look();
    const total = await devices.stop();
    const { windowMs = 1_000, counted = "windows" } = load;
    const count = async () =>
      counted === "windows" ? arrivals.counted : ((await running.counters?.())?.frames ?? 0);
    let arrived = await count();
    for (
      // How far behind one is that does not count is not asked.
      const endMs = monotonicMs() + (isLate ? 0 : windowMs + drainMs);
      arrived < total.acked && monotonicMs() < endMs;
      arrived = await count()
    )
      await sleep(50);
    await children.end(running.child);
    await arrivals.stop();
    await broker.stop();

    const readings = last.progress.sent - first.progress.sent;
    const seconds = (last.progress.atMs - first.progress.atMs) / 1_000;
    const cpuSeconds = (last.figures.cpuMs - first.figures.cpuMs) / 1_000;
    const writtenBytes = last.figures.writtenBytes - first.figures.writtenBytes;
    const [fromMs, toMs] = [first.progress.atMs, last.progress.atMs];
    const sentBy = (atMs: number) => ((atMs - total.startMs) * load.rate) / 1_000 - total.skipped;
    const behindMs =
      windowMs === 1_000 && counted === "windows" ? arrivals.behindMs(fromMs, toMs, load.rate, sentBy) : 0;
    const commits =
      last.counters.commits === undefined ? undefined : last.counters.commits - (first.counters.commits ?? 0);
    const lateness = arrivals.lateness(fromMs, toMs);
    const problems: string[] = [];
    if (total.acked !== total.sent) problems.push(`${total.acked} of ${total.sent} readings were taken`);
    if (!isLate && arrived !== total.acked)
      problems.push(`${arrived} of ${total.acked} readings are in ${counted}`);
    if (total.skipped > 0) problems.push(`the devices could not send ${total.skipped} readings in time`);
    if (behindMs > onTimeMs) problems.push(`windows were ${Math.round(behindMs)} ms behind`);
    const latestMs = lateness.at(-1);
    if (windowMs === 1_000 && latestMs !== undefined && latestMs > onTimeMs)
      problems.push(`a window came ${latestMs} ms late`);
    isGood = problems.length === 0;
    return {
      rate: readings / seconds,
      cpuSecondsPerMillion: (cpuSeconds / readings) * 1e6,
      cpuShare: cpuSeconds / seconds,
      rssBytes: median(rss),
      writtenBytes,
      writtenPerReading: writtenBytes / readings,
      writtenPerByte: writtenBytes / readings / payloadBytes,
      megabytesPerDay: (writtenBytes / seconds) * 0.0864,
      commits,
      bytesPerCommit: commits === undefined ? undefined : writtenBytes / commits,
      behindMs,
      latenessMs: lateness[lateness.length >> 1],
      latestMs,
      startToReadyMs,
      problems,
    };
  } finally {
    if (isGood) rmSync(folder, { recursive: true, force: true });
  }
}
