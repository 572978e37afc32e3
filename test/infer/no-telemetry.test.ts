import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { modelFile } from "./running-model.ts";

const program = `
  import { ModelThread } from ${JSON.stringify(new URL("../../src/infer/model-thread.ts", import.meta.url))};
  const options = { path: process.argv[2], engine: "native", threads: 1, providers: ["cpu"], memoryArena: "on" };
  const thread = await ModelThread.open(options, new AbortController().signal);
  console.log(thread.opened.engine);
  // Its threads end with it.
  process.exit(0);
`;

test("the runtime keeps no number of this machine, and prepares nothing to be sent to its maker", async () => {
  const folder = temporaryFolder();
  const { file } = modelFile(folder, "m.onnx", resNet({ width: 4, seed: 5, size: 32, classes: 10 }));
  const [home, temporary] = [join(folder, "home"), join(folder, "tmp")];
  for (const made of [home, temporary]) mkdirSync(made);
  // By itself it sends nothing where it takes the machine for one of tests, or was told so.
  const env = { PATH: process.env.PATH, HOME: home, TMPDIR: temporary };
  const script = join(folder, "program.mjs");
  writeFileSync(script, program);
  const args = ["--disable-warning=ExperimentalWarning", script, file];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: 30_000 });
  expect(stdout).toBe("native\n");
  expect([...readdirSync(home), ...readdirSync(temporary)]).toEqual([]);
});
