import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { askStatus } from "../../src/api/status-socket.ts";
import type { GatewayStatus } from "../../src/gateway-status.ts";
import { memorySettingsOfTheImage } from "../../test/faults/soak/soak-config.ts";
import { inFilter, notChannels, outPrefix } from "../reading.ts";
import { resultsFolder } from "../results.ts";
import { type Place, type Program, type RunningProgram, startNode } from "./program.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
/** As in an image: compiled, with no sources beside it. */
export const buildFolder = join(resultsFolder, "headgate");

export interface HeadgateOptions {
  /** `sources` runs the checkout as it is; `build` what an image runs. */
  readonly from: "build" | "sources";
  /** Another build than this one, for comparing two. */
  readonly folder?: string;
  readonly nodeArgs?: readonly string[];
  /** Parts of the configuration that are not those of the main job. */
  readonly store?: Readonly<Record<string, number>>;
  readonly source?: Readonly<Record<string, unknown>>;
  readonly sources?: Readonly<Record<string, unknown>>;
  /** Beside that of the main job. */
  readonly moreSources?: Readonly<Record<string, unknown>>;
  /** Sections that the main job does not need. */
  readonly sections?: Readonly<Record<string, unknown>>;
  readonly windows?: Readonly<Record<string, unknown>>;
  readonly publish?: Readonly<Record<string, unknown>>;
  readonly hub?: Readonly<Record<string, unknown>>;
  readonly environment?: NodeJS.ProcessEnv;
}

export function buildHeadgate(): void {
  rmSync(buildFolder, { recursive: true, force: true });
  mkdirSync(join(buildFolder, "bin"), { recursive: true });
  const bundler = join(project, "node_modules/.bin/rolldown");
  const args = ["-c", "rolldown.config.js", "--dir", join(buildFolder, "dist")];
  execFileSync(bundler, args, { cwd: project, stdio: ["ignore", "ignore", 2] });
  for (const file of ["package.json", "bin/headgate.js"])
    copyFileSync(join(project, file), join(buildFolder, file));
}

/** The gateway with the configuration that the job needs, and defaults for the rest. */
export function headgate(options: HeadgateOptions): Program {
  const launcher = join(
    options.from === "sources" ? project : (options.folder ?? buildFolder),
    "bin/headgate.js",
  );
  return {
    name: "headgate",
    prepare: async () => undefined,
    start: (place) => start(place, launcher, options),
  };
}

function start(place: Place, launcher: string, options: HeadgateOptions): RunningProgram {
  const store = join(place.folder, "store");
  mkdirSync(store);
  const config = join(place.folder, "headgate.json");
  writeFileSync(config, JSON.stringify(configOf(place.url, store, options)));
  const args = ["--disable-warning=ExperimentalWarning", ...(options.nodeArgs ?? []), launcher];
  return {
    child: startNode(place, [...args, "run", "--config", config], {
      ...memorySettingsOfTheImage(),
      ...options.environment,
    }),
    counters: async () => {
      const { intake, store: told } = (await askStatus(store, 20_000)) as unknown as GatewayStatus;
      const frames = Object.values(told.books).reduce((sum, book) => sum + book.frames, 0);
      return { commits: intake.commits, frames };
    },
  };
}

function configOf(url: string, store: string, options: HeadgateOptions) {
  return {
    gateway: { name: "bench" },
    sources: {
      ...(options.sources ?? {
        plant: {
          type: "mqtt",
          url,
          topic: inFilter,
          decode: { format: "json", ignore: notChannels.filter((field) => field !== "device") },
          device: { field: "device" },
          ...options.source,
        },
      }),
      ...options.moreSources,
    },
    windows: options.windows ?? { second: { sizeMs: 1_000, aggregates: ["mean"] } },
    publish: options.publish ?? { maxDelayMs: 100 },
    clock: { maxHoldMs: 0 },
    hub: options.hub ?? { type: "mqtt", url, topic: `${outPrefix}/{output}` },
    api: { state: "off" },
    ...options.sections,
    store: { path: store, ...options.store },
  };
}
