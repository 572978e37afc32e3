import { checkConfig } from "../../src/config/check.ts";
import type { ModbusSourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { recordsOf } from "../../src/drivers/modbus.ts";
import { ModbusDevice } from "../../src/sources/modbus-device.ts";
import { ModbusLines } from "../../src/sources/modbus-lines.ts";
import { PollingSource } from "../../src/sources/polling-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { Turns } from "../../src/sources/turns.ts";

/** A Modbus source as the configuration makes it. */
export function modbusConfig(more: JsonObject): ModbusSourceConfig {
  const source = { device: "d", type: "modbus", ...more };
  const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { s: source } };
  return checkConfig(config as JsonObject).config.sources.s as ModbusSourceConfig;
}

/** A running source, and what it told. */
export class RunningModbus {
  readonly source: PollingSource;
  /** The registers of each frame, by address. */
  readonly frames: Readonly<Record<number, number>>[] = [];
  readonly discards: [reason: string, bytes: number][] = [];
  readonly states: SourceStatus[] = [];

  constructor(config: ModbusSourceConfig, lines: ModbusLines) {
    const device = new ModbusDevice(config, systemClock, lines);
    const sink = {
      frame: (bytes: Uint8Array) => this.#take(bytes),
      discard: (reason: string, bytes: number) => void this.discards.push([reason, bytes]),
      hasRoom: () => true,
      committed: () => Promise.resolve(),
      status: (status: SourceStatus) => void this.states.push(status),
    };
    this.source = new PollingSource(device, config.intervalMs, sink, systemClock);
    this.source.start();
  }

  get state(): string | undefined {
    return this.states.at(-1)?.state;
  }

  get reason(): string {
    return this.states.at(-1)?.reason ?? "";
  }

  /** The discards of one reason. */
  counted(reason: string): readonly [reason: string, bytes: number][] {
    return this.discards.filter(([counted]) => counted === reason);
  }

  #take(bytes: Uint8Array): boolean {
    const records = recordsOf(bytes);
    if ("discard" in records) throw new Error(records.discard);
    const registers = records.flatMap(({ address, count, bytes }) =>
      Array.from({ length: count }, (_, i): [number, number] => [
        address + i,
        Buffer.from(bytes).readUInt16BE(2 * i),
      ]),
    );
    this.frames.push(Object.fromEntries(registers));
    return true;
  }
}

/** Sources that share their lines, until all of them stop. */
export class RunningModbusSources {
  readonly lines = new ModbusLines(systemClock, new Turns());
  readonly #running: RunningModbus[] = [];

  start(more: JsonObject): RunningModbus {
    const one = new RunningModbus(modbusConfig(more), this.lines);
    this.#running.push(one);
    return one;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map(({ source }) => source.stop()));
  }
}

/** Byte by byte, in their order. */
export async function slowly(bytes: Uint8Array, write: (byte: Uint8Array) => unknown): Promise<void> {
  for (const byte of bytes) {
    write(Uint8Array.of(byte));
    await systemClock.sleep(2);
  }
}
