import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { within } from "../test/faults/running-daemon.ts";
import { figuresOf } from "../test/faults/soak/process-figures.ts";
import { monotonicMs, sleep } from "../test/faults/time.ts";
import { RegisterChip, SimulatedBus } from "../test/support/i2c/simulated-bus.ts";
import { until } from "../test/support/until.ts";
import type { Figures, Setting } from "./cell.ts";
import { workFolder } from "./load-run.ts";
import { startMosquitto } from "./mosquitto.ts";
import { headgate } from "./programs/headgate.ts";

export interface I2cFigures extends Figures {
  /** Of one core. */
  readonly cpuShare: number;
  readonly readingsPerSecond: number;
  /** What the bus was busy with, of its time. */
  readonly busShare: number;
}

const chips = 20;
const intervalMs = 100;
const firstAddress = 0x08;
/** Of one reading on the wire: address and register, then address and two bytes, each nine bits, starts and stops. */
const bitsPerReading = 2 * 9 + 3 * 9 + 4;

/** Twenty chips of one channel on one bus, each asked ten times a second, with the time on the wire that the bus takes. */
export async function measureI2c(speedHz: number, { quick, from, children }: Setting): Promise<I2cFigures> {
  const folder = workFolder();
  const broker = await startMosquitto(folder, children);
  const bus = await new SimulatedBus(folder, speedHz).start();
  const sources: Record<string, unknown> = {};
  for (let i = 0; i < chips; i++) {
    bus.plug(firstAddress + i, new RegisterChip().set(0x05, "0195"));
    sources[`chip${i}`] = {
      type: "i2c",
      driver: "i2c-register",
      address: firstAddress + i,
      intervalMs,
      device: `chip-${i}`,
      options: { registers: { temperature: { register: 5, type: "int16", scale: 0.0625 } } },
    };
  }
  const program = headgate({ from, sources, publish: {}, environment: bus.environment });
  const place = join(folder, "program");
  mkdirSync(place);
  const { child, counters } = program.start({ folder: place, url: broker.url, children });
  const frames = async () => (await counters?.())?.frames ?? 0;
  // Refused until it listens.
  const isFed = async () => (await frames().catch(() => 0)) > chips;
  await within(until("readings come in", isFed, 30_000), `chips are read; see ${place}`);
  await sleep(quick ? 2_000 : 5_000);
  const before = { atMs: monotonicMs(), cpuMs: figuresOf(child.pid ?? 0).cpuMs, frames: await frames() };
  await sleep(quick ? 5_000 : 20_000);
  const after = { atMs: monotonicMs(), cpuMs: figuresOf(child.pid ?? 0).cpuMs, frames: await frames() };
  await children.end(child);
  await bus.stop();
  await broker.stop();
  const seconds = (after.atMs - before.atMs) / 1_000;
  const readingsPerSecond = (after.frames - before.frames) / seconds;
  const wanted = (chips * 1_000) / intervalMs;
  const isWhole = readingsPerSecond >= wanted * 0.98;
  if (isWhole) rmSync(folder, { recursive: true, force: true });
  return {
    cpuShare: (after.cpuMs - before.cpuMs) / 1_000 / seconds,
    readingsPerSecond,
    busShare: (readingsPerSecond * bitsPerReading) / speedHz,
    problems: isWhole ? [] : [`${readingsPerSecond.toFixed(1)} of ${wanted} readings/s; see ${folder}`],
  };
}
