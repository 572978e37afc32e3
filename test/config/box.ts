import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Configuration } from "../../src/config/configuration.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

export const minute = 60_000;

/** A box with a file and a store; each `start` is a start of the process. */
export function box(file: JsonObject | string = {}) {
  const folder = temporaryFolder();
  const path = join(folder, "headgate.json");
  const store = join(folder, "data");
  const write = (content: JsonObject | string) =>
    writeFileSync(
      path,
      typeof content === "string"
        ? content
        : JSON.stringify({ hub: { type: "edge" }, gateway: { name: "box" }, ...content }),
    );
  write(file);
  const environment: NodeJS.ProcessEnv = { HEADGATE__store__path: store };
  return {
    path,
    store,
    write,
    environment,
    start: () => new Configuration(path, environment, recordingLog()),
    get saved() {
      return join(store, "configuration.json");
    },
    /** A start that crashes before it confirms what it runs. */
    crash(nowMs: number) {
      const configuration = this.start();
      configuration.begin(nowMs);
      return configuration;
    },
    /** A start that comes as far as confirming what it runs. */
    run(nowMs: number) {
      const configuration = this.start();
      configuration.begin(nowMs);
      configuration.confirm(nowMs);
      return configuration;
    },
  };
}

/** Puts a twin layer in force, as a desired configuration does. */
export function adopt(configuration: Configuration, twin: JsonObject, version: number, nowMs: number) {
  configuration.adopt(configuration.candidate(twin), version, nowMs);
}
export const windowOf = (configuration: Configuration) => configuration.current.config.windows.w?.sizeMs;
export const twin = (sizeMs: number): JsonObject => ({ windows: { w: { sizeMs } } });
