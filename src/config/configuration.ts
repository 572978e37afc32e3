import { readFileSync } from "node:fs";
import { ConfigError, messageOf, type Problem, TransientError } from "../core/errors.ts";
import { isObject, type JsonObject } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import { type CheckedConfig, checkConfig, checkTwinLayer } from "./check.ts";
import { LastGood, type SavedConfig } from "./last-good.ts";
import { defaultLayer, environmentLayer, mergePatch } from "./layers.ts";

const largestFileBytes = 4 * 1024 * 1024;

/** @throws ConfigError CONFIG_UNREADABLE */
export function readConfigFile(path: string): JsonObject {
  const fail = (message: string, cause?: unknown) =>
    new ConfigError("CONFIG_UNREADABLE", [{ path: "", message: `${path}: ${message}` }], { cause });
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw fail(messageOf(error), error);
  }
  if (text.length > largestFileBytes) throw fail(`is larger than ${largestFileBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw fail(messageOf(error), error);
  }
  if (!isObject(value)) throw fail("must hold a JSON object");
  const { $schema: _, ...config } = value;
  return config;
}

/** Where the store is, from layers that may be broken otherwise: the last good configuration lies beside it. */
export function storePath(layers: JsonObject): string {
  const store = layers.store;
  return isObject(store) && typeof store.path === "string" && store.path !== "" ? store.path : "data";
}

/** The layers, merged and checked: defaults < file < environment < twin, and the last good one behind them. */
export class Configuration {
  readonly #base: JsonObject | undefined;
  readonly #lastGood: LastGood;
  readonly #log: Logger;
  #current: CheckedConfig;
  #twin: JsonObject;
  #twinVersion: number | undefined;
  /** What was wrong with the layers, or with what ran before, at the start; empty when all was well. */
  readonly startProblems: readonly Problem[];

  /**
   * Chooses what to start with: the layers if they are good, else the last good configuration.
   * @throws ConfigError when there is neither.
   */
  constructor(file: string | undefined, environment: NodeJS.ProcessEnv, nowMs: number, log: Logger) {
    this.#log = log;
    const problems: Problem[] = [];
    const below = mergePatch(defaultLayer(environment), {});
    let base: JsonObject | undefined;
    let unreadable: ConfigError | undefined;
    try {
      base = mergePatch(
        mergePatch(below, file === undefined ? {} : readConfigFile(file)),
        environmentLayer(environment),
      );
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      unreadable = error;
    }
    this.#base = base;
    this.#lastGood = new LastGood(storePath(base ?? mergePatch(below, environmentLayer(environment))));
    if (this.#lastGood.problem) problems.push({ path: "", message: this.#lastGood.problem });
    const givenUp = this.#write(() => this.#lastGood.start(nowMs));
    if (givenUp)
      problems.push({
        path: "",
        message: `configuration ${givenUp.hash} is rolled back: ${this.#rollbackReason()}`,
      });
    const saved = this.#lastGood.current;
    this.#twin = saved?.twin ?? {};
    this.#twinVersion = saved?.twinVersion;
    try {
      if (unreadable || !base) throw unreadable;
      this.#current = this.candidate(this.#twin);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
      const fallback = saved && this.#check(saved);
      if (!fallback) throw error;
      this.#current = fallback;
    }
    this.startProblems = problems;
  }

  get current(): CheckedConfig {
    return this.#current;
  }

  get twinVersion(): number | undefined {
    return this.#twinVersion;
  }

  /**
   * The configuration with another twin layer.
   * @throws ConfigError with every problem; nothing has changed then.
   */
  candidate(twin: JsonObject): CheckedConfig {
    const problems = checkTwinLayer(twin);
    if (problems.length > 0) throw new ConfigError("CONFIG_INVALID", problems);
    if (!this.#base)
      throw new ConfigError("CONFIG_UNREADABLE", [{ path: "", message: "the configuration file is broken" }]);
    const checked = checkConfig(mergePatch(this.#base, twin));
    if (checked.hash === this.#lastGood.rolledBack?.hash) {
      throw new ConfigError("CONFIG_INVALID", [
        {
          path: "",
          message: `this configuration was rolled back: ${this.#rollbackReason()}`,
          hint: "change it",
        },
      ]);
    }
    return checked;
  }

  /** The candidate is in force: it becomes the last good one. */
  adopt(checked: CheckedConfig, twin: JsonObject, twinVersion: number | undefined, nowMs: number): void {
    this.#current = checked;
    this.#twin = twin;
    this.#twinVersion = twinVersion;
    const merged = mergePatch(this.#base ?? {}, twin);
    this.#lastGood.save({ hash: checked.hash, merged, twin, twinVersion }, nowMs);
  }

  /** Confirms the configuration of the start. One that came from the last good file is that already. */
  confirm(nowMs: number): void {
    if (this.#lastGood.current?.hash === this.#current.hash) return;
    this.#write(() => this.adopt(this.#current, this.#twin, this.#twinVersion, nowMs));
  }

  /** It ran long enough to be trusted: crashes from now on do not roll it back. */
  prove(): void {
    this.#write(() => this.#lastGood.prove());
  }

  /** The process ends in order. */
  ended(): void {
    this.#write(() => this.#lastGood.stop());
  }

  /** The file helps the next start; a disk that does not take it must not prevent this one. */
  #write<T>(write: () => T): T | undefined {
    try {
      return write();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      this.#log.error({ reason: error.message }, "the last good configuration cannot be written");
      return undefined;
    }
  }

  #check(saved: SavedConfig): CheckedConfig | undefined {
    try {
      return checkConfig(saved.merged);
    } catch (error) {
      if (error instanceof ConfigError) return undefined;
      throw error;
    }
  }

  #rollbackReason(): string {
    return this.#lastGood.rolledBack?.reason ?? "";
  }
}
