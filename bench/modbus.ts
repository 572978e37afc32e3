import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { askStatus } from "../src/api/status-socket.ts";
import type { GatewayStatus } from "../src/gateway-status.ts";
import { figuresOf } from "../test/faults/soak/process-figures.ts";
import { sleep } from "../test/faults/time.ts";
import { until } from "../test/support/until.ts";
import type { Figures, Setting } from "./cell.ts";
import { Answering } from "./devices.ts";
import { workFolder } from "./load-run.ts";
import { startMosquitto } from "./mosquitto.ts";
import type { ModbusLineOrder, ModbusLineProgress } from "./processes/modbus-line.ts";
import { headgate } from "./programs/headgate.ts";

export interface ModbusFigures extends Figures {
  /** Polls of the schedule that were not answered. */
  readonly missedShare: number;
  /** Requests that were not answered in time. */
  readonly unanswered: number;
  /** How long the line's own process stood still at most. */
  readonly stallMs: number;
  /** Longest time between two requests to one unit. */
  readonly longestMs: number;
  /** How long the wire carried bytes. */
  readonly wireShare: number;
  readonly coreShare: number;
  readonly rssBytes: number;
}

const units = 32;
const registers = 10;
const baudRate = 19_200;
const intervalMs = 1_000;

/** Units on one line, each asked for its registers once a second, that take so long to answer. */
export async function measureModbus(answerMs: number, setting: Setting): Promise<ModbusFigures> {
  const { children, quick } = setting;
  const folder = workFolder();
  const place = join(folder, "program");
  mkdirSync(place);
  const path = join(folder, "tty-line");
  const line = new Answering<ModbusLineProgress>("modbus-line", [], children);
  line.tell({ path, units, registers, baudRate, answerMs } satisfies ModbusLineOrder);
  const broker = await startMosquitto(folder, children);
  const channels = Array.from({ length: registers }, (_, i) => [`c${i}`, { address: i }]);
  const unit = (number: number) => ({
    type: "modbus",
    transport: "rtu",
    path,
    baudRate,
    unit: number,
    intervalMs,
    timeoutMs: 200,
    device: `unit-${number}`,
    registers: Object.fromEntries(channels),
  });
  const sources = Object.fromEntries(Array.from({ length: units }, (_, i) => [`unit${i + 1}`, unit(i + 1)]));
  const program = headgate({ from: setting.from, sources });
  const running = program.start({ folder: place, url: broker.url, children });
  const pid = running.child.pid ?? 0;
  const areAllAnswered = async () => (await line.ask("tell")).answers.every((count) => count > 1);
  await until("all units are read", areAllAnswered, 60_000);
  const books = async () => {
    const { store } = (await askStatus(join(place, "store"), 20_000)) as unknown as GatewayStatus;
    const all = Object.values(store.books);
    const sum = (pick: (book: (typeof all)[number]) => number) =>
      all.reduce((sum, book) => sum + pick(book), 0);
    return {
      frames: sum(({ decoded }) => decoded),
      unanswered: sum(({ frameDiscards }) => frameDiscards.noAnswer ?? 0),
    };
  };
  const before = await books();
  const cpuFirst = figuresOf(pid).cpuMs;
  const first = await line.ask("begin");
  await sleep(quick ? 15_000 : 60_000);
  const last = await line.ask("tell");
  const { cpuMs, rssBytes } = figuresOf(pid);
  // What was read last is committed within `store.maxLossMs`.
  await sleep(6_000);
  const now = await books();
  const frames = now.frames - before.frames;
  await children.end(running.child);
  await broker.stop();
  line.end();
  const spanMs = last.atMs - first.atMs;
  const answered = last.answers.reduce((sum, count) => sum + count, 0);
  const problems: string[] = [];
  if (frames < answered) problems.push(`${frames} frames of ${answered} answers are in the books`);
  if (last.hasty > 0) problems.push(`${last.hasty} requests came before the silence was over`);
  if (problems.length === 0) rmSync(folder, { recursive: true, force: true });
  return {
    missedShare: Math.max(0, 1 - answered / ((units * spanMs) / intervalMs)),
    unanswered: now.unanswered - before.unanswered,
    stallMs: last.stallMs,
    longestMs: last.longestMs,
    wireShare: last.wireMs / spanMs,
    coreShare: (cpuMs - cpuFirst) / spanMs,
    rssBytes,
    problems,
  };
}
