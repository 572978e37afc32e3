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

/** The layers below the twin, merged and unchecked. @throws ConfigError when the file cannot be read */
export function layersBelowTwin(file: string | undefined, environment: NodeJS.ProcessEnv): JsonObject {
  const fromFile = file === undefined ? {} : readConfigFile(file);
  return mergePatch(mergePatch(defaultLayer(environment), fromFile), environmentLayer(environment));
}

/** The layers, merged and checked: defaults < file < environment < twin, and the last good one behind them. */
export class Configuration {
  readonly #base: JsonObject | undefined;
  readonly #lastGood: LastGood;
  readonly #log: Logger;
  readonly #startProblems: Problem[] = [];
  #current: CheckedConfig;
  #twin: JsonObject;
  #twinVersion: number | undefined;
  /** What runs is not what the layers say; the last good file stays as it is until a configuration is adopted. */
  #isFallback = false;

  /**
   * Chooses what to start with: the layers if they are good, else the last good configuration. Writes nothing.
   * @throws ConfigError when there is neither.
   */
  constructor(file: string | undefined, environment: NodeJS.ProcessEnv, log: Logger) {
    this.#log = log;
    let unreadable: ConfigError | undefined;
    try {
      this.#base = layersBelowTwin(file, environment);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      unreadable = error;
    }
    this.#lastGood = new LastGood(storePath(this.#base ?? environmentLayer(environment)));
    if (this.#lastGood.problem) this.#startProblems.push({ path: "", message: this.#lastGood.problem });
    const saved = this.#lastGood.current;
    this.#twin = saved?.twin ?? {};
    this.#twinVersion = saved?.twinVersion;
    try {
      if (unreadable) throw unreadable;
      this.#current = this.candidate(this.#twin);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#startProblems.push(...error.problems);
      const fallback = (saved && checkSaved(saved)) ?? this.#withoutTwin(saved);
      if (!fallback) throw error;
      this.#current = fallback;
      this.#isFallback = true;
    }
  }

  get current(): CheckedConfig {
    return this.#current;
  }

  get twinVersion(): number | undefined {
    return this.#twinVersion;
  }

  /** What was wrong with the layers, or with what ran before; empty when all was well. */
  get startProblems(): readonly Problem[] {
    return this.#startProblems;
  }

  /**
   * Notes the start, once the store is this process's own, and goes back to an earlier configuration when the
   * chosen one has made the process crash again and again.
   */
  begin(nowMs: number): void {
    const { hash } = this.#current;
    const earlier = this.#write(() => this.#lastGood.start(hash, nowMs, (saved) => checkSaved(saved)?.hash));
    const checked = earlier && checkSaved(earlier);
    if (!checked) return;
    const message = `configuration ${hash} is rolled back: ${this.#lastGood.rollbackOf(hash)}`;
    this.#startProblems.push({ path: "", message });
    this.#current = checked;
    this.#twin = earlier.twin;
    this.#twinVersion = earlier.twinVersion;
    this.#isFallback = true;
  }

  /**
   * The configuration with another twin layer.
   * @throws ConfigError with every problem; nothing has changed then.
   */
  candidate(twin: JsonObject): CheckedConfig {
    const problems = checkTwinLayer(twin);
    if (problems.length > 0) throw new ConfigError("CONFIG_INVALID", problems);
    if (!this.#base) {
      throw new ConfigError("CONFIG_UNREADABLE", [{ path: "", message: "the configuration file is broken" }]);
    }
    const checked = checkConfig(mergePatch(this.#base, twin));
    const rollback = this.#lastGood.rollbackOf(checked.hash);
    if (rollback !== undefined) {
      const message = `this configuration was rolled back: ${rollback}`;
      throw new ConfigError("CONFIG_INVALID", [{ path: "", message, hint: "change it" }]);
    }
    return checked;
  }

  /**
   * The candidate comes into force, and is the last good one.
   * @throws TransientError when that cannot be saved; nothing has changed then.
   */
  adopt(checked: CheckedConfig, twin: JsonObject, twinVersion: number | undefined, nowMs: number): void {
    const merged = mergePatch(this.#base ?? {}, twin);
    this.#lastGood.save({ hash: checked.hash, merged, twin, twinVersion }, nowMs);
    this.#current = checked;
    this.#twin = twin;
    this.#twinVersion = twinVersion;
    this.#isFallback = false;
  }

  /** Confirms the configuration of the start. One that came from the last good file is that already. */
  confirm(nowMs: number): void {
    if (this.#isFallback) return;
    this.#write(() => this.adopt(this.#current, this.#twin, this.#twinVersion, nowMs));
  }

  /**
   * A saved twin layer that an upgrade no longer accepts must not keep the box from fetching a better one.
   * The twin's version counts as unknown then, so that the hub's twin is applied, or answered, anew.
   */
  #withoutTwin(saved: SavedConfig | undefined): CheckedConfig | undefined {
    if (!saved || !this.#base) return undefined;
    try {
      const checked = this.candidate({});
      this.#twin = {};
      this.#twinVersion = undefined;
      return checked;
    } catch (error) {
      if (error instanceof ConfigError) return undefined;
      throw error;
    }
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
}

/** A configuration that an earlier version saved may break the schema of this one. */
function checkSaved(saved: SavedConfig): CheckedConfig | undefined {
  try {
    return checkConfig(saved.merged);
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}
