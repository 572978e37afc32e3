import type { JsonObject } from "../core/json.ts";
import type { TimeQuality } from "../core/reading.ts";
import type { ModelStatus } from "../infer/model.ts";
import type { TensorInfo } from "../infer/tensor.ts";
import type { LedgerTotals } from "../ledger/ledger-report.ts";
import type { UpstreamState } from "../publish/hold-back.ts";
import type { SentimentStatus } from "../sentiment/scorer.ts";
import type { SourceStatus } from "../sources/source.ts";
import type { DesiredStatus } from "./desired.ts";

/** What the reported properties are made of. */
export interface BoxState {
  readonly version: string;
  readonly configHash: string;
  readonly lastDesiredVersion: number | undefined;
  readonly lastDesiredStatus: DesiredStatus | undefined;
  readonly sources: Readonly<Record<string, SourceStatus>>;
  readonly models: Readonly<Record<string, ModelStatus>>;
  readonly sentiment: Pick<SentimentStatus, "state" | "reason" | "api">;
  readonly upstream: UpstreamState | undefined;
  readonly clockQuality: TimeQuality;
  readonly store: { readonly state: "ok" | "failing"; readonly reason: string | undefined };
  readonly freeRam: number;
  readonly load: { readonly one: number; readonly five: number; readonly fifteen: number };
  readonly freeDisk: number | undefined;
  readonly outbox: {
    readonly entries: number;
    readonly messages: number;
    readonly bytes: number;
    readonly oldestAgeMs: number;
  };
  readonly ledger: {
    readonly totals: LedgerTotals;
    readonly sources: Readonly<Record<string, LedgerTotals>>;
  };
}

/** Twin strings end at 4 KB; a reason needs far less. */
const reasonLength = 300;

/**
 * The reported properties. `telling` holds states and answers, `figures` the numbers that change all the time.
 * Answers to desired configurations are reported even when reporting is off: someone waits for them.
 */
export function reportedProperties(
  box: BoxState,
  report: { readonly state: "on" | "off"; readonly freeRam: "on" | "off" },
): { telling: JsonObject; figures: JsonObject } {
  const answers: JsonObject = { version: box.version, configuration: { hash: box.configHash } };
  if (box.lastDesiredVersion !== undefined) answers.lastDesiredVersion = box.lastDesiredVersion;
  if (box.lastDesiredStatus) answers.lastDesiredStatus = { ...box.lastDesiredStatus };
  if (report.state === "off") return { telling: answers, figures: {} };
  const telling: JsonObject = {
    ...answers,
    ...sourcesThatFit(box.sources),
    ...modelsThatFit(box.models),
    ...sentimentOf(box.sentiment),
    clock: { quality: box.clockQuality },
    ...(box.upstream === undefined ? {} : { upstream: box.upstream }),
    store: withReason(box.store),
  };
  const figures: JsonObject = {
    load: { ...box.load },
    outbox: { ...box.outbox },
    ledger: { ...told(box.ledger.totals), ...booksThatFit(box.ledger.sources) },
    ...(box.freeDisk === undefined ? {} : { disk: { freeBytes: box.freeDisk } }),
    ...(report.freeRam === "on" ? { freeRam: box.freeRam } : {}),
  };
  return { telling, figures };
}

/** Of the 32 KB of a twin half, what the sources may take. */
const sourcesBytes = 20_000;

/** With very many sources the open ones are left out first, then the reasons, then the rest; it says how many. */
function sourcesThatFit(all: BoxState["sources"]): JsonObject {
  const entries = Object.entries(all);
  const troubled = entries.filter(([, { state }]) => state !== "open");
  const bare = troubled.map(([name, { state }]) => [name, { state, reason: undefined }] as const);
  for (const some of [entries, troubled, bare]) {
    const sources = Object.fromEntries(some.map(([name, status]) => [name, withReason(status)]));
    if (Buffer.byteLength(JSON.stringify(sources)) > sourcesBytes) continue;
    return {
      sources,
      ...(some.length < entries.length ? { sourcesLeftOut: entries.length - some.length } : {}),
    };
  }
  return { sources: {}, sourcesLeftOut: entries.length };
}

/** And the models; without their shapes when they are many. */
const modelsBytes = 3_000;

function modelsThatFit(all: BoxState["models"]): JsonObject {
  const entries = Object.entries(all);
  if (entries.length === 0) return {};
  const tensors = (infos: readonly TensorInfo[]) =>
    infos.map(({ name, type, shape }) => `${name}: ${type} [${shape.join(",")}]`).join("; ");
  const bare = entries.map(([name, { state, reason, sha256 }]) => {
    return [name, { ...withReason({ state, reason }), ...(sha256 === undefined ? {} : { sha256 }) }] as const;
  });
  const whole = bare.map(([name, model]) => {
    const { inputs = [], outputs = [] } = all[name] ?? {};
    return [name, { ...model, inputs: tensors(inputs), outputs: tensors(outputs) }] as const;
  });
  for (const some of [whole, bare]) {
    const models: JsonObject = Object.fromEntries(some);
    if (Buffer.byteLength(JSON.stringify(models)) <= modelsBytes) return { models };
  }
  return { modelsLeftOut: entries.length };
}

/** Nothing where no text is scored. */
function sentimentOf({ state, reason, api }: BoxState["sentiment"]): JsonObject {
  if (state === "off") return {};
  return { sentiment: { ...withReason({ state, reason }), ...(api === undefined ? {} : { api }) } };
}

/** And what the books of each source may take. */
const booksBytes = 8_000;

/** The totals always; each source's books only when those of all fit, else how many were left out. */
function booksThatFit(all: BoxState["ledger"]["sources"]): JsonObject {
  const entries = Object.entries(all);
  const sources = Object.fromEntries(entries.map(([name, totals]) => [name, told(totals)]));
  const fits = Buffer.byteLength(JSON.stringify(sources)) <= booksBytes;
  return fits ? { sources } : { sourcesLeftOut: entries.length };
}

function told({ ingested, published, held, discarded, gaps }: LedgerTotals): JsonObject {
  return { ingested, published, held, discarded, gaps: { ...gaps } };
}

function withReason({ state, reason }: { state: string; reason: string | undefined }): JsonObject {
  return reason === undefined ? { state } : { state, reason: reason.slice(0, reasonLength).toWellFormed() };
}
