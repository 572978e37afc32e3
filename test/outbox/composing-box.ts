import { gunzipSync } from "node:zlib";
import { afterEach } from "vitest";
import { type Database, openDatabase } from "../../src/core/database.ts";
import type { Entry } from "../../src/core/entry.ts";
import { Composer, type ComposeSettings, type Demand } from "../../src/outbox/composer.ts";
import { emptyOutbox, Outbox, type OutboxMessage } from "../../src/outbox/outbox.ts";
import { composing } from "../support/composing.ts";

export const settings: ComposeSettings = {
  ...composing,
  blockBytes: 200,
  maxMessageBytes: 1_000,
  backfillAfterMs: 10_000,
};
const priorities: Readonly<Record<string, number>> = { low: 1, usual: 5, high: 9 };

const databases: Database[] = [];
afterEach(() => {
  for (const database of databases.splice(0)) database.close();
});

export function box() {
  const database = openDatabase(":memory:");
  databases.push(database);
  database.exec(Outbox.schema);
  const state = { counters: emptyOutbox() };
  let outbox = new Outbox(database, "12345678-9abc", state.counters);
  let composer = new Composer(outbox);
  return {
    database,
    get outbox() {
      return outbox;
    },
    get counters() {
      return state.counters;
    },
    insert: (...entries: Entry[]) => outbox.insert(entries, (source) => priorities[source] ?? 5),
    compose: (nowMs: number, more: Partial<ComposeSettings> = {}, demand?: Demand) =>
      composer.compose(nowMs, { ...settings, ...more }, demand),
    reopen() {
      state.counters = JSON.parse(JSON.stringify(state.counters));
      outbox = new Outbox(database, "12345678-9abc", state.counters);
      composer = new Composer(outbox);
    },
    messages(): OutboxMessage[] {
      const all: OutboxMessage[] = [];
      const done = { alarm: 0, live: 0, backfill: 0 };
      for (let next = outbox.next(done); next; next = outbox.next(done)) {
        all.push(next);
        done[next.class] = next.sequence;
      }
      return all;
    },
  };
}

let ids = 0;
/** A window of a source, or what `more` makes of it. */
export function entry(
  readyMs: number,
  source = "usual",
  more: Partial<Entry> & { pad?: number } = {},
): Entry {
  const id = `${ids++}`;
  const { pad = 40, ...rest } = more;
  const kind = rest.kind ?? "window";
  const body = JSON.stringify({ id, kind, pad: "x".repeat(pad) });
  return { id, revision: 0, kind, source, readyMs, accounts: { [source]: 1 }, body, ...rest };
}
export const plainOf = ({ body, contentEncoding }: OutboxMessage): string =>
  Buffer.from(contentEncoding === "gzip" ? gunzipSync(body) : body).toString("utf8");
export const entriesOf = (message: OutboxMessage): { id: string; backfill?: true }[] =>
  JSON.parse(plainOf(message));
export const idsOf = (message: OutboxMessage) => entriesOf(message).map(({ id }) => id);
