/** `headgate ledger` against a real daemon, and against what a kill left behind. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../src/core/database.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { type Running, startProcess } from "./processes.ts";

let folder: string;
let config: string;
const store = () => join(folder, "store");
const run = (...args: string[]) => startProcess(folder, args).done;

beforeEach(() => {
  folder = temporaryFolder();
  config = join(folder, "headgate.json");
  const yard = { type: "http", decode: { format: "json" }, device: { field: "id" } };
  const content = {
    gateway: { name: "box" },
    sources: { yard, roof: yard },
    windows: { hour: { sizeMs: 3_600_000, sources: ["yard"] } },
    hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" },
    api: { port: 0 },
    clock: { maxHoldMs: 0 },
    store: { path: store() },
  };
  writeFileSync(config, JSON.stringify(content));
});

/** A daemon that took two readings for `yard`, which wait, and one for `roof`, which no window takes. */
async function daemonWithReadings(): Promise<Running> {
  const daemon = startProcess(folder, ["run", "--config", config]);
  onTestFinished(() => daemon.stop("SIGKILL"));
  await daemon.shows('"running"');
  const status = JSON.parse((await run("status", "--config", config, "--json")).out);
  const authorization = `Bearer ${readFileSync(join(store(), "api-token"), "utf8").trim()}`;
  for (const source of ["yard", "yard", "roof"]) {
    const { ok } = await fetch(`${status.api.url}/api/readings?source=${source}`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify({ id: "d", temperature: 1 }),
    });
    expect(ok).toBe(true);
  }
  return daemon;
}

const books = {
  addsUp: true,
  totals: { ingested: 3, held: 2, discarded: 1 },
  sources: {
    yard: { ingested: 2, published: 0, held: 2, discards: {} },
    roof: { ingested: 1, published: 0, held: 0, discards: { unrouted: 1 } },
  },
};
const files = () =>
  Object.fromEntries(
    readdirSync(store()).flatMap((name) =>
      name.startsWith("headgate.db") ? [[name, readFileSync(join(store(), name), "base64")]] : [],
    ),
  );

test("the books of the running daemon, then of the store that a kill left, which stays as it is", async () => {
  const daemon = await daemonWithReadings();
  const asked = await run("ledger", "--config", config, "--json");
  expect(asked.code).toBe(0);
  expect(JSON.parse(asked.out)).toMatchObject({ from: "gateway", ...books });
  daemon.stop("SIGKILL");
  await daemon.done;

  const before = files();
  expect(Object.keys(before)).toEqual(expect.arrayContaining(["headgate.db", "headgate.db-wal"]));
  const read = await run("ledger", "--config", config, "--json");
  expect(read.code).toBe(0);
  expect(JSON.parse(read.out)).toMatchObject({ from: "store", ...books });
  expect(files()).toEqual(before);

  const { out, code } = await run("ledger", "--config", config);
  expect(code).toBe(0);
  expect(out).toMatch(/^source +frames +decoded +ingested +published +held +discarded +gaps$/m);
  expect(out).toMatch(/^yard +2 +2 +2 +0 +2 +0 +0$/m);
  expect(out).toMatch(/^total +3 +3 +3 +0 +2 +1 +0$/m);
  expect(out).toMatch(/^roof: readings discarded: unrouted 1$/m);
  expect(out).toMatch(/^adds up$/m);
}, 60_000);

test("a store whose books do not add up gives 1, and says what does not", async () => {
  const daemon = await daemonWithReadings();
  daemon.stop("SIGTERM");
  await daemon.done;
  const database = openDatabase(join(store(), "headgate.db"));
  const { state } = database.prepare<[], { state: string }>("SELECT state FROM state").get() ?? { state: "" };
  const wrong = state.replace('"ingested":2', '"ingested":5');
  database.prepare("UPDATE state SET state = ?, checksum = ?").run(wrong, crc32(wrong));
  database.close();
  const { out, code } = await run("ledger", "--config", config);
  expect(code).toBe(1);
  expect(out).toContain("DOES NOT ADD UP\n  yard: 5 ingested, but 0 published + 2 held + 0 discarded");
  const json = await run("ledger", "--config", config, "--json");
  expect([json.code, JSON.parse(json.out).addsUp]).toEqual([1, false]);
}, 60_000);

test("without a store there are no books", async () => {
  const { code, out, err } = await run("ledger", "--config", config);
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain(`there is no store in ${store()}`);
  expect(readdirSync(folder)).toEqual(["headgate.json"]);
});
