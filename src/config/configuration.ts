import { readFileSync } from "node:fs";
import { ConfigError, messageOf, type Problem, TransientError } from "../core/errors.ts";
import { fingerprint, isObject, type JsonObject } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import { type CheckedConfig, checkConfig, checkTwinLayer } from "./check.ts";
import { LastGood, type SavedConfig } from "./last-good.ts";
import { defaultLayer, environmentLayer, mergePatch } from "./layers.ts";
import { fingerprintOfHub, leadsBack, type Move, moved, withTwin } from "./moved-hub.ts";
import {
  forbiddenInHub,
  forbiddenInModels,
  forbiddenInSentiment,
  forbiddenInSources,
} from "./twin-secrets.ts";
import { forbiddenWrites } from "./twin-writes.ts";

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

const needsRestart =
  "the configuration file has other settings here, which need a restart; they are not applied";

const broken = () =>
  new ConfigError("CONFIG_UNREADABLE", [{ path: "", message: "the configuration file is broken" }]);

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

/** A configuration that may come into force, with the layers that it is made of. */
export interface Candidate extends CheckedConfig {
  readonly base: JsonObject;
  /** Without a hub section: that is in `move`. */
  readonly twin: JsonObject;
  readonly move: Move | undefined;
  readonly merged: JsonObject;
  /** Its hub section is another one than that in force. */
  readonly isOtherHub: boolean;
}

/** The layers, merged and checked: defaults < file < environment < twin, and the last good one behind them. */
export class Configuration {
  readonly #file: string | undefined;
  readonly #environment: NodeJS.ProcessEnv;
  #base: JsonObject | undefined;
  readonly #lastGood: LastGood;
  readonly #log: Logger;
  readonly #startProblems: Problem[] = [];
  #current: CheckedConfig;
  /** The twin's layer without a hub section. */
  #twin: JsonObject;
  #move: Move | undefined;
  #twinVersion: number | undefined;
  /** What the layers say, until it is confirmed or another one adopted; what runs instead of it is not saved. */
  #unconfirmed: Candidate | undefined;

  /**
   * Chooses what to start with: the layers if they are good, else the last good configuration. Writes nothing.
   * @throws ConfigError when there is neither.
   */
  constructor(file: string | undefined, environment: NodeJS.ProcessEnv, log: Logger) {
    this.#log = log;
    this.#file = file;
    this.#environment = environment;
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
    this.#move = saved?.move;
    try {
      if (unreadable || !this.#base) throw unreadable ?? broken();
      this.#unconfirmed = this.#compose(this.#base, this.#twin, this.#move);
      this.#current = this.#unconfirmed;
      this.#move = this.#unconfirmed.move;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#startProblems.push(...error.problems);
      const fallback = (saved && checkSaved(saved)) ?? this.#withoutTwin(saved);
      if (!fallback) throw error;
      this.#current = fallback;
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
    this.#move = earlier.move;
    this.#twinVersion = earlier.twinVersion;
    this.#unconfirmed = undefined;
  }

  /**
   * The configuration with another twin. `patch` is what has just changed in it, if that is known.
   * @throws ConfigError with every problem; nothing has changed then.
   */
  candidate(twin: JsonObject, patch?: JsonObject): Candidate {
    const base = this.#base;
    const problems = checkTwinLayer(twin);
    if (twin.hub !== undefined) {
      const { store } = this.#current.config;
      problems.push(...forbiddenInHub(twin.hub, base, store.path));
    }
    if (problems.length > 0) throw new ConfigError("CONFIG_INVALID", problems);
    if (!base) throw broken();
    const next = withTwin(base, { twin: this.#twin, move: this.#move }, twin, patch);
    const candidate = this.#compose(base, next.twin, next.move);
    if (candidate.isOtherHub) {
      const back = leadsBack(this.#move, candidate.config.hub, patch);
      if (back.length > 0) throw new ConfigError("CONFIG_INVALID", back);
    }
    return candidate;
  }

  /**
   * The configuration with the file as it is now. What only a start can change stays as it is.
   * @throws ConfigError with every problem; nothing has changed then.
   */
  reread(): Candidate {
    const file = layersBelowTwin(this.#file, this.#environment);
    const { path } = this.#current.config.store;
    // Without layers of a start, what is in force stands for them.
    const api = this.#base ? (this.#base.api ?? {}) : (this.#current.config.api as JsonObject);
    if (storePath(file) !== path) this.#log.warn({ path: "store.path" }, needsRestart);
    if (fingerprint(file.api ?? {}) !== fingerprint(api)) this.#log.warn({ path: "api" }, needsRestart);
    const store = { ...(isObject(file.store) ? file.store : {}), path };
    return this.#compose({ ...file, store, api }, this.#twin, this.#move);
  }

  /** A crash from now on is the doing of the configuration of that hash. @throws ConfigError after too many */
  blame(hash: string, nowMs: number): void {
    if (hash !== this.#current.hash && this.#lastGood.isToBlame(hash, nowMs)) {
      const message = "the process ended three times while this hub was tried";
      throw new ConfigError("HUB_TRIAL_FAILED", [{ path: "hub", message, hint: "change it, or try later" }]);
    }
    this.#write(() => this.#lastGood.blame(hash, nowMs));
  }

  /** @throws ConfigError */
  #compose(base: JsonObject, twin: JsonObject, known: Move | undefined): Candidate {
    // An operator who edits the file's hub means it, wherever a twin has led to.
    const move = known?.from === fingerprintOfHub(base) ? known : undefined;
    const layers = mergePatch(base, twin);
    const merged = move?.hub ? { ...layers, hub: move.hub } : layers;
    // Not for changes only: an edited file may give a secret to a source that a twin led elsewhere.
    const path = storePath(base);
    const forbidden = [
      ...forbiddenInSources(twin, base, path),
      ...forbiddenInModels(twin, base, path),
      ...forbiddenInSentiment(twin, base, path),
      ...forbiddenWrites(twin, base),
    ];
    if (forbidden.length > 0) throw new ConfigError("CONFIG_INVALID", forbidden);
    const checked = checkConfig(merged);
    const rollback = this.#lastGood.rollbackOf(checked.hash);
    if (rollback !== undefined) {
      const message = `this configuration was rolled back: ${rollback}`;
      throw new ConfigError("CONFIG_INVALID", [{ path: "", message, hint: "change it" }]);
    }
    const before = this.#current?.config.hub;
    const isOtherHub = before !== undefined && fingerprint(checked.config.hub) !== fingerprint(before);
    const start = move ?? { from: fingerprintOfHub(base), twin: "silent", left: [] };
    const next = isOtherHub ? moved(start, before, checked.config.hub) : move;
    return { ...checked, base, twin, move: next, merged, isOtherHub };
  }

  /**
   * The candidate comes into force, and is the last good one.
   * @throws TransientError when that cannot be saved; nothing has changed then.
   */
  adopt(candidate: Candidate, twinVersion: number | undefined, nowMs: number): void {
    const { hash, config, base, merged, twin, move } = candidate;
    this.#lastGood.save({ hash, merged, twin, twinVersion, ...(move ? { move } : {}) }, nowMs);
    this.#current = { hash, config };
    this.#base = base;
    this.#twin = twin;
    this.#move = move;
    this.#twinVersion = twinVersion;
    this.#unconfirmed = undefined;
  }

  /** Confirms the configuration of the start. One that came from the last good file is that already. */
  confirm(nowMs: number): void {
    const candidate = this.#unconfirmed;
    if (candidate) this.#write(() => this.adopt(candidate, this.#twinVersion, nowMs));
  }

  /**
   * A saved twin layer that an upgrade no longer accepts must not keep the box from fetching a better one.
   * The twin's version counts as unknown then, so that the hub's twin is applied, or answered, anew.
   */
  #withoutTwin(saved: SavedConfig | undefined): CheckedConfig | undefined {
    if (!saved || !this.#base) return undefined;
    for (const move of [this.#move, undefined]) {
      try {
        const checked = this.#compose(this.#base, {}, move);
        this.#twin = {};
        this.#move = move;
        this.#twinVersion = undefined;
        return checked;
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    }
    return undefined;
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
