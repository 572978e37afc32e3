/** The end of a daemon, as a supervisor sees it. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { startProcess } from "./processes.ts";

test("a file that hangs in being opened, and nothing can cancel, does not hold up the end", async () => {
  const folder = temporaryFolder();
  const id = "28-000000000001";
  mkdirSync(join(folder, id));
  execFileSync("mkfifo", [join(folder, id, "w1_slave")]);
  const config = {
    sources: { boiler: { type: "oneWire", id, root: folder, intervalMs: 1_000, device: "boiler" } },
    store: { path: join(folder, "store") },
    hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" },
    api: { state: "off" },
  };
  writeFileSync(join(folder, "headgate.json"), JSON.stringify(config));
  const daemon = startProcess(folder, ["run", "--config", "headgate.json"]);
  onTestFinished(() => daemon.stop("SIGKILL"));
  await daemon.shows('"running"');
  await new Promise((resolve) => setTimeout(resolve, 300));
  daemon.stop("SIGTERM");
  const { code, err } = await daemon.done;
  expect([code, err]).toEqual([0, expect.stringContaining('"stopped"')]);
});
