import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../core/clock.ts";
import { SimulatedSensor, type SimulatedSensorOptions } from "./environment-sensor.ts";
import { FieldLog } from "./field-log.ts";

export interface SimulatedFieldOptions {
  readonly devices: readonly SimulatedSensorOptions[];
  /** Folder of the devices' paths, `tty-<name>` each; made if absent. */
  readonly directory: string;
  /** File that gets one JSON line for every reading, see `FieldLogEntry`; appended to if present. */
  readonly fieldLog?: string;
  /** The same seed and devices give the same lines; default 1. */
  readonly seed?: number;
  /** What a listener wrote to a device. Called from the event loop; must not throw. */
  readonly onReceived?: (name: string, bytes: Uint8Array) => void;
  readonly clock?: Clock;
}

export interface SimulatedField {
  readonly sensors: ReadonlyMap<string, SimulatedSensor>;
  /** Pulls the plug: the path disappears, the listener sees a hang-up. Throws for an unknown name. */
  unplug(name: string): Promise<void>;
  /** Puts it back under the same path. */
  plug(name: string): Promise<void>;
  /** Stops every device and closes the field log; throws what went wrong on the way. Safe twice. */
  stop(): Promise<void>;
}

/** Resolves when every device's path can be opened; throws, with nothing left running, when one cannot start. */
export async function startSimulatedField(options: SimulatedFieldOptions): Promise<SimulatedField> {
  const { directory, devices, seed = 1, onReceived, clock = systemClock } = options;
  const fieldLog = options.fieldLog === undefined ? undefined : new FieldLog(options.fieldLog);
  const sensors = new Map<string, SimulatedSensor>();
  for (const device of devices) {
    if (sensors.has(device.name)) throw new RangeError(`simulated device ${device.name}: name used twice`);
    const sensor = new SimulatedSensor(device, {
      path: join(directory, `tty-${device.name}`),
      seed,
      clock,
      fieldLog,
      onReceived: (bytes) => onReceived?.(device.name, bytes),
    });
    sensors.set(device.name, sensor);
  }
  const named = (name: string): SimulatedSensor => {
    const sensor = sensors.get(name);
    if (sensor === undefined) throw new RangeError(`simulated device ${name}: unknown`);
    return sensor;
  };
  let stopped: Promise<void> | undefined;
  const field: SimulatedField = {
    sensors,
    unplug: async (name) => named(name).unplug(),
    plug: async (name) => named(name).plug(),
    stop: () => {
      stopped ??= stopAll(sensors.values(), fieldLog);
      return stopped;
    },
  };
  try {
    mkdirSync(directory, { recursive: true });
    fieldLog?.open();
    for (const sensor of sensors.values()) sensor.start();
  } catch (error) {
    await field.stop();
    throw error;
  }
  return field;
}

async function stopAll(sensors: Iterable<SimulatedSensor>, fieldLog: FieldLog | undefined): Promise<void> {
  const results = await Promise.allSettled([...sensors].map((sensor) => sensor.stop()));
  const failures: unknown[] = results.flatMap((result) =>
    result.status === "rejected" ? [result.reason] : [],
  );
  try {
    fieldLog?.close();
  } catch (error) {
    failures.push(error);
  }
  if (failures.length > 0) throw new AggregateError(failures, "stopping the simulated devices");
}
