/** Devices that send numbered readings at a constant rate, in a process of their own. Started with `fork`. */
import { monotonicMs, sleep } from "../../test/faults/time.ts";
import { NumberedReadings } from "./numbered-readings.ts";
import { httpOutlet, mqttOutlet, type Outlet, serialOutlet } from "./outlets.ts";

/** Where the devices send to. */
export type Target =
  | { readonly way: "mqtt"; readonly port: number; readonly qos: 0 | 1 }
  | { readonly way: "serial"; readonly paths: readonly string[] }
  | { readonly way: "http"; readonly url: string; readonly token: string };

export interface GeneratorOrder {
  readonly target: Target;
  /** Readings per second, of all devices together; 0 sends as fast as they are answered. */
  readonly rate: number;
  readonly devices: number;
}

export interface GeneratorProgress {
  /** CLOCK_MONOTONIC ms of the first reading. */
  readonly startMs: number;
  readonly atMs: number;
  readonly sent: number;
  /** Whose receipt is known. */
  readonly acked: number;
  /** Due and not sent, because too many were unanswered, or this process got no time. */
  readonly skipped: number;
}

const turnMs = 5;
/** What is due longer than this is skipped: the rate is never made up for by a long burst. */
const longestDebtMs = 500;

function outletTo(target: Target): Outlet | Promise<Outlet> {
  switch (target.way) {
    case "mqtt":
      return mqttOutlet(target.port, target.qos);
    case "serial":
      return serialOutlet(target.paths);
    case "http":
      return httpOutlet(target.url, target.token);
    default:
      return target satisfies never;
  }
}

async function send({ target, rate, devices }: GeneratorOrder, isStopped: () => boolean): Promise<void> {
  const outlet = await outletTo(target);
  const readings = new NumberedReadings(devices, outlet.wrap);
  const startMs = monotonicMs();
  let sent = 0;
  let skipped = 0;
  tell = () => {
    const progress = { startMs, atMs: monotonicMs(), sent, acked: outlet.acked(), skipped };
    process.send?.(progress satisfies GeneratorProgress);
  };
  if (isAsked) tell();
  while (!isStopped()) {
    let count = outlet.room();
    if (rate > 0) {
      const due = Math.floor(((monotonicMs() - startMs) * rate) / 1_000);
      skipped += Math.max(0, due - sent - skipped - Math.ceil((longestDebtMs * rate) / 1_000));
      count = Math.min(due - sent - skipped, count);
    }
    count = Math.max(0, count - (count % outlet.step));
    if (count > 0) outlet.send(Array.from({ length: count }, () => readings.next()));
    sent += count;
    await sleep(rate > 0 ? turnMs : 1);
  }
  for (const end = monotonicMs() + 30_000; outlet.acked() < sent && monotonicMs() < end; ) await sleep(20);
  tell();
  outlet.close();
}

let isStopped = false;
/** Asked before there was anything to tell: a busy machine is slow to start a process. */
let isAsked = false;
let tell = (): void => {
  isAsked = true;
};
process.on("message", async (message: GeneratorOrder | "tell" | "stop") => {
  if (message === "tell") tell();
  else if (message === "stop") isStopped = true;
  else {
    await send(message, () => isStopped);
    process.disconnect();
  }
});
// Nobody is left to tell.
process.on("disconnect", () => process.exit(0));
