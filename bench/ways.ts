import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { compileShim, Shim } from "../test/faults/shim/shim.ts";
import { freePort } from "../test/faults/start-time/measured-start.ts";
import { until } from "../test/support/until.ts";
import type { Setting } from "./cell.ts";
import type { Job } from "./load-run.ts";
import type { Target } from "./processes/generator.ts";
import { type HeadgateOptions, headgate } from "./programs/headgate.ts";
import { deviceName, notChannels } from "./reading.ts";

export type Way = Target["way"];

interface Entrance {
  readonly options: Omit<HeadgateOptions, "from">;
  /** Resolves when the devices may send there; undefined: the broker. */
  readonly target?: () => Promise<Target>;
}

/** The gateway's main job with readings that come in on another way, on a disk that takes longer to sync. */
export function gatewayOf(way: Way, devices: number, syncDelayMs: number, { from }: Setting) {
  return async (place: string): Promise<Job> => {
    const { options, target } = await entrances[way](place, devices);
    let environment: NodeJS.ProcessEnv = {};
    if (syncDelayMs > 0) {
      const folder = dirname(place);
      const shim = new Shim(compileShim(folder), place, join(folder, "shim"));
      shim.syncDelay(syncDelayMs);
      environment = shim.environment();
    }
    return { program: headgate({ from, ...options, environment }), ...(target ? { target } : {}) };
  };
}

const decode = { format: "json", ignore: notChannels };

const entrances: Readonly<Record<Way, (place: string, devices: number) => Promise<Entrance>>> = {
  mqtt: async () => ({ options: {} }),

  /** A line per device. */
  serial: async (place, devices) => {
    const paths = Array.from({ length: devices }, (_, device) => join(place, `tty-${device}`));
    const sources = paths.map((path, device) => [
      `line${device}`,
      {
        type: "serial",
        path,
        baudRate: 1_000_000,
        framing: { kind: "lines", first: "keep" },
        decode,
        device: deviceName(device),
      },
    ]);
    return {
      options: { sources: Object.fromEntries(sources) },
      target: async () => ({ way: "serial", paths }),
    };
  },

  /** A hundred readings per POST, of any device. */
  http: async (place) => {
    const port = await freePort();
    const plant = {
      type: "http",
      decode: { ...decode, ignore: notChannels.filter((field) => field !== "device") },
      device: { field: "device" },
    };
    const token = join(place, "store/api-token");
    const base = `http://127.0.0.1:${port}`;
    const isListening = async () => {
      if (!existsSync(token)) return false;
      // Refused as long as nobody listens: the caller asks again.
      const answer = await fetch(`${base}/metrics`).catch(() => undefined);
      return answer !== undefined;
    };
    return {
      options: { sources: { plant }, sections: { api: { port } } },
      target: async () => {
        await until("the API listens", isListening, 60_000);
        const text = readFileSync(token, "utf8").trim();
        return { way: "http", url: `${base}/api/readings`, token: text };
      },
    };
  },
};
