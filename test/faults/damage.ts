/**
 * Damaged files: a store is filled, killed, damaged and opened again, over and over.
 * What must hold: it opens every time and takes data, its books add up, it names exactly what is missing or says that
 * it does not know, and no id and revision comes with two contents.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import { pageBytes } from "../../src/core/database.ts";
import { BatchWriter } from "../../src/journal/batch.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Done } from "../../src/outbox/message-body.ts";
import type { Commit, StoreSettings, StoreStatus } from "../../src/store/contract.ts";
import { Store } from "../../src/store/store.ts";
import { StoreKeeper } from "../../src/store/store-keeper.ts";
import { behind, composing } from "../support/composing.ts";
import { again } from "./again.ts";
import type { Part } from "./part.ts";

const t0 = Date.UTC(2025, 0, 1);
const settings: StoreSettings = { snapshotEvery: 150, replayBytes: 0, maxBytes: 1e9, retention: {} };
const compose = { ...composing, maxDelayMs: 2_000, maxMessageBytes: 4_000 };

interface Content {
  readonly id: string;
  readonly revision: number;
  readonly kind: string;
  readonly backfill?: true;
  readonly count: number;
}

function commit(
  store: { commit(commit: Commit): StoreStatus },
  nowMs: number,
  more: Partial<Commit>,
  build?: (w: BatchWriter) => void,
) {
  return again(() => {
    const writer = new BatchWriter();
    build?.(writer);
    const monotonicMs = nowMs - t0 + 1_000;
    const nothing = { acknowledged: [], rejected: [] };
    return store.commit({ batch: writer.take(), ...nothing, compose, nowMs, monotonicMs, ...more });
  });
}

function configuration() {
  const source = (name: string) => ({
    type: "serial",
    path: `/dev/${name}`,
    decode: { format: "json" },
    device: { field: "id" },
  });
  return pipelineConfig(
    checkConfig({
      gateway: { name: "box" },
      hub: { type: "edge" },
      sources: { a: source("a"), b: source("b") },
      windows: { second: { sizeMs: 1_000 }, minute: { sizeMs: 60_000 } },
    }),
  );
}

/** Seconds of life of a box with two sources; the hub takes some messages, and is then away. */
function live(
  store: { commit(commit: Commit): StoreStatus; next(done: Done): { sequence: number } | undefined },
  from: number,
  seconds: number,
  random: () => number,
): StoreStatus {
  let status: StoreStatus | undefined;
  for (let second = from; second < from + seconds; second++) {
    const atMs = t0 + second * 1_000;
    const first = from === 0 && second < seconds / 3 ? store.next(behind(0)) : undefined;
    status = commit(store, atMs + 1_000, first ? { acknowledged: [first.sequence] } : {}, (writer) => {
      for (let i = 0; i < 20; i++) {
        const text = JSON.stringify({
          id: `dev-${i % 5}`,
          t: Math.round(random() * 1e6) / 1e4,
          h: Math.round(random() * 1e4),
        });
        const wallMs = atMs + i * 45;
        writer.frame(i % 3 === 0 ? "b" : "a", wallMs, wallMs - t0 + 1_000, Buffer.from(text));
      }
      writer.tick(atMs + 999, second * 1_000 + 1_999);
    });
  }
  return status as StoreStatus;
}

/** Takes everything that the hub would get; messages are acknowledged as they come. */
function drain(store: StoreKeeper | Store, nowMs: number): Map<string, string> {
  const got = new Map<string, string>();
  for (let round = 0; round < 10_000; round++) {
    const acknowledged: number[] = [];
    for (let message = again(() => store.next(behind(0))); message; ) {
      const { sequence } = message;
      acknowledged.push(sequence);
      const bodies = JSON.parse(Buffer.from(message.body).toString("utf8")) as readonly Content[];
      // Whether it is marked as backlog tells of the hub, not of the field.
      for (const { backfill: _, ...body } of bodies) {
        const key = `${body.id} ${body.revision}`;
        const text = JSON.stringify(body);
        const before = got.get(key);
        if (before !== undefined && before !== text) throw new Error(`${key} came with two contents`);
        got.set(key, text);
      }
      message = again(() => store.next(behind(sequence)));
    }
    const status = commit(store, nowMs + round * 10_000, { acknowledged });
    if (status.outbox.entries === 0) return got;
  }
  throw new Error("the outbox does not empty");
}

const kinds: Readonly<Record<string, (folder: string, random: () => number) => void>> = {
  "one byte of the file": (folder, random) => flip(join(folder, "headgate.db"), 1, random),
  "twenty bytes of the file": (folder, random) => flip(join(folder, "headgate.db"), 20, random),
  "a page of the file": (folder, random) => overwrite(join(folder, "headgate.db"), random),
  "the end of the file": (folder, random) => cut(join(folder, "headgate.db"), random),
  "an empty file": (folder) => writeFileSync(join(folder, "headgate.db"), ""),
  "no file": (folder) => rmSync(join(folder, "headgate.db")),
  "no database": (folder, random) =>
    writeFileSync(
      join(folder, "headgate.db"),
      Buffer.from(Array.from({ length: 9_000 }, () => Math.floor(random() * 256))),
    ),
  "one byte of the log": (folder, random) => flip(join(folder, "headgate.db-wal"), 1, random),
  "a torn log": (folder, random) => cut(join(folder, "headgate.db-wal"), random),
  "no log": (folder) => rmSync(join(folder, "headgate.db-wal"), { force: true }),
  "the ledger's copy": (folder, random) => flip(join(folder, "headgate.db.ledger"), 3, random),
  "file and copy": (folder, random) => {
    flip(join(folder, "headgate.db"), 200, random);
    flip(join(folder, "headgate.db.ledger"), 3, random);
  },
};

function flip(path: string, times: number, random: () => number): void {
  if (!existsSync(path)) return;
  const bytes = readFileSync(path);
  for (let i = 0; i < times && bytes.length > 0; i++) {
    const at = Math.floor(random() * bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
  }
  writeFileSync(path, bytes);
}

function overwrite(path: string, random: () => number): void {
  const bytes = readFileSync(path);
  const page = Math.floor((random() * bytes.length) / pageBytes);
  bytes.fill(Math.floor(random() * 256), page * pageBytes, (page + 1) * pageBytes);
  writeFileSync(path, bytes);
}

function cut(path: string, random: () => number): void {
  if (!existsSync(path)) return;
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(0, Math.floor(random() * bytes.length)));
}

export const damage: Part = {
  name: "damage",
  about: "stores are filled, killed, damaged and opened again; a round is one store",
  async run({ random, rounds = 200, folder, say }) {
    const counts: Record<string, number> = {};
    const problems: string[] = [];
    const names = Object.keys(kinds);
    for (let round = 0; round < rounds; round++) {
      const name = names[round % names.length] as string;
      const path = join(folder, `${round}`);
      try {
        const result = oneRound(path, kinds[name] as (typeof kinds)[string], random);
        counts[outcomes[result]] = (counts[outcomes[result]] ?? 0) + 1;
        rmSync(path, { recursive: true, force: true });
      } catch (error) {
        const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
        problems.push(`round ${round} (${name}), kept in ${path}: ${reason}`);
      }
      counts[name] = (counts[name] ?? 0) + 1;
      if (round % 50 === 49) say(`${round + 1} of ${rounds}`);
    }
    return { counts, problems };
  },
};

const outcomes = {
  harmless: "nothing that counts was hit",
  exact: "named exactly what is missing",
  unknown: "said that nobody knows what is missing",
};

function oneRound(
  folder: string,
  harm: (folder: string, random: () => number) => void,
  random: () => number,
): keyof typeof outcomes {
  const alive = join(folder, "alive");
  const store = new Store(alive, settings);
  store.open();
  commit(store, t0, {}, (writer) => {
    writer.rare({ type: "clock", wallMs: t0, monotonicMs: 1_000, bootId: "boot", quality: "synced" });
    writer.rare({ type: "configuration", wallMs: t0, config: configuration() });
  });
  const seconds = 20 + Math.floor(random() * 60);
  const before = structuredClone(live(store, 0, seconds, random).books);
  const killed = join(folder, "killed");
  copyFolder(alive, killed);
  // Half of the stores have merged their log into the file.
  if (random() < 0.5) merge(killed);
  // What the undamaged store would have sent: no id and revision may come with another content than this.
  const wanted = drain(store, t0 + seconds * 1_000);
  store.close();
  harm(killed, random);

  let openings = 0;
  const keeper = new StoreKeeper(
    killed,
    settings,
    () => openings++,
    () => t0 + seconds * 1_000,
  );
  keeper.open();
  if (openings === 0) throw new Error("it did not say that it was opened");
  const after = seconds + 100;
  commit(keeper, t0 + after * 1_000, {}, (writer) => {
    writer.rare({ type: "configuration", wallMs: t0 + after * 1_000, config: configuration() });
  });
  live(keeper, after, 3, random);
  const got = drain(keeper, t0 + (after + 200) * 1_000);
  const books = again(() => keeper.audit());
  const problems = imbalances(books);
  if (problems.length > 0) throw new Error(`the books do not add up: ${problems.join("; ")}`);
  for (const [key, text] of got) {
    const other = wanted.get(key);
    if (other !== undefined && other !== text) throw new Error(`${key} differs:\n${other}\n${text}`);
  }
  const status = commit(keeper, t0 + (after + 300) * 1_000, {});
  keeper.close();
  if (!status.damage) {
    for (const key of wanted.keys())
      if (!got.has(key)) throw new Error(`${key} is missing, and nothing was noticed`);
    return "harmless";
  }
  if (!existsSync(join(killed, status.damage.report))) throw new Error("there is no report");
  const report = JSON.parse(readFileSync(join(killed, status.damage.report), "utf8")) as { books: string };
  if (report.books !== "exact") return "unknown";
  for (const [source, book] of Object.entries(before)) {
    const now = books[source];
    // Twenty readings a second came in behind the damage, a third of them of source b.
    const more = source === "b" ? 3 * 7 : 3 * 13;
    const missing = book.ingested + more - (now?.published ?? 0) - (now?.held ?? 0);
    if (now?.ingested !== book.ingested + more || (now.discards.damaged ?? 0) !== missing)
      throw new Error(`${source}: ${missing} are missing, and the books say ${JSON.stringify(now)}`);
  }
  return "exact";
}

function merge(folder: string): void {
  const store = new Store(folder, settings);
  store.open();
  store.close();
}

function copyFolder(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from)) copyFileSync(join(from, file), join(to, file));
}
