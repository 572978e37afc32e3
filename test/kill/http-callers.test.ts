/**
 * The daemon is killed over and over while callers bring readings and repeat each request until it is answered.
 * With idempotency keys every reading must be in the books exactly once, and everything answered must be there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startProcess } from "../cli/processes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";

const kills = 6;
const callers = 4;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address ? address.port : 0;
}

test(`${kills} kills while callers repeat what was not answered: each reading is stored once`, async () => {
  const folder = temporaryFolder();
  const port = await freePort();
  const config = {
    gateway: { name: "box" },
    sources: { yard: { type: "http", decode: { format: "json" }, device: { field: "id" } } },
    windows: { hour: { sizeMs: 3_600_000 } },
    hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" },
    api: { port },
    // Small enough that keys come back from snapshots, too.
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), minCommitMs: 0, snapshotEvery: 50 },
  };
  writeFileSync(join(folder, "headgate.json"), JSON.stringify(config));
  const run = (command: string, ...more: string[]) =>
    startProcess(folder, [command, "--config", join(folder, "headgate.json"), ...more]);
  let daemon = run("run");
  onTestFinished(() => daemon.stop("SIGKILL"));
  await daemon.shows('"running"');
  const token = readFileSync(join(folder, "store", "api-token"), "utf8").trim();

  let sending = true;
  let repeated = 0;
  let unanswered = 0;
  /** Readings of the requests that were answered with 200. */
  let answered = 0;
  const caller = async (name: number) => {
    for (let n = 0; sending; n++) {
      const readings = Array.from({ length: 1 + (n % 3) }, (_, i) => ({ id: `d${name}`, n, i }));
      const request = {
        method: "POST",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/x-ndjson",
          "idempotency-key": `${name}-${n}`,
        },
        body: readings.map((reading) => `${JSON.stringify(reading)}\n`).join(""),
      };
      for (;;) {
        try {
          const response = await fetch(`http://127.0.0.1:${port}/api/readings`, request);
          expect([200, 503]).toContain(response.status);
          const answer = (await response.json()) as { stored: number; repeated?: boolean };
          if (response.status !== 200) continue;
          expect(answer.stored).toBe(readings.length);
          if (answer.repeated) repeated++;
          answered += readings.length;
          break;
        } catch (error) {
          // The daemon was killed, or is not there yet: the same request again.
          if (!(error instanceof TypeError) && !(error instanceof DOMException)) throw error;
          unanswered++;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    }
  };
  const sent = Promise.all(Array.from({ length: callers }, (_, name) => caller(name)));
  for (let kill = 0; kill < kills; kill++) {
    const enough = answered + 5 + Math.random() * 100;
    await until("some more are answered", () => answered >= enough);
    daemon.stop("SIGKILL");
    await daemon.done;
    daemon = run("run");
    await daemon.shows('"running"');
  }
  sending = false;
  await sent;
  daemon.stop("SIGTERM");
  await daemon.done;
  const { out, code } = await run("ledger", "--json").done;
  expect(code).toBe(0);
  const { totals } = JSON.parse(out);
  expect(unanswered).toBeGreaterThan(0);
  process.stdout.write(`${answered} readings, ${unanswered} requests unanswered, ${repeated} found stored\n`);
  expect(totals).toMatchObject({ ingested: answered, held: answered, framesDiscarded: 0 });
}, 120_000);
