/** `headgate classify` as a user meets it: real processes, their output and their exit codes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeEach, expect, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { modelFile } from "../infer/running-model.ts";
import { served } from "../support/served.ts";
import { startProcess } from "./processes.ts";

let folder: string;
let image: string;
let model: string;
let labels: string;
const run = (...args: string[]) => startProcess(folder, ["classify", ...args]).done;

beforeEach(async () => {
  folder = temporaryFolder();
  image = join(folder, "image.jpg");
  const create = { width: 40, height: 30, channels: 3, background: "red" } as const;
  await sharp({ create }).jpeg().toFile(image);
  model = modelFile(folder, "m.onnx", resNet({ width: 2, seed: 1, size: 32, classes: 3 })).file;
  labels = join(folder, "labels.json");
  writeFileSync(labels, JSON.stringify({ 0: ["a", "ash"], 1: ["b", "beech"], 2: ["c", "cherry"] }));
});

function configured(models: object): string {
  const path = join(folder, "headgate.json");
  const store = { path: join(folder, "store") };
  writeFileSync(path, JSON.stringify({ models, store, hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" } }));
  return path;
}

test("a file of a model needs no configuration; names come from a file", async () => {
  const { code, out } = await run(image, "--model", model, "--labels", labels, "--top", "2");
  expect(code).toBe(0);
  const lines = out.trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  for (const line of lines.slice(0, 2)) expect(line).toMatch(/^ *\d+\.\d\d % {2}(ash|beech|cherry)$/);
  expect(lines[2]).toMatch(/^40 × 30, decoded in .* ms, scored in .* ms$/);
});

test("a model of the configuration is taken by its name, or without one when it is alone", async () => {
  const config = configured({ trees: { file: model, labels } });
  const named = await run(image, "--config", config, "--model", "trees", "--json");
  expect(named.code).toBe(0);
  const found = JSON.parse(named.out);
  expect(found).toMatchObject({ image: { width: 40, height: 30 } });
  const alone = JSON.parse((await run(image, "--config", config, "--json")).out);
  expect(alone.labels).toEqual(found.labels);
  const other = await run(image, "--config", config, "--model", "shrubs");
  expect([other.code, other.err]).toEqual([78, expect.stringContaining("there is no model shrubs")]);
});

test("a scorer elsewhere is asked as a model is, and one that is away ends with a reason", async () => {
  let tokens: unknown[] = [];
  const { url } = await served((request, response) => {
    tokens = [...tokens, request.headers.authorization];
    request.resume().on("end", () => response.end('{"result":[0.125,0.75,0.125],"time":0.1}'));
  });
  const token = join(folder, "token");
  writeFileSync(token, "t0ken\n");
  const remote = {
    protocol: "score",
    url: `${url}/score`,
    size: { width: 8, height: 8 },
    token: { file: token },
  };
  const { code, out } = await run(image, "--config", configured({ trees: { remote, labels } }), "--top", "1");
  expect([code, out.split("\n")[0]]).toEqual([0, " 75.00 %  beech"]);
  expect(tokens).toEqual(["Bearer t0ken", "Bearer t0ken"]);
  const away = { ...remote, url: "http://127.0.0.1:9/score" };
  const failed = await run(image, "--config", configured({ trees: { remote: away } }));
  expect([failed.code, failed.err]).toEqual([1, expect.stringContaining("ECONNREFUSED")]);
});

test("what is no image, no model or no number ends with a reason", async () => {
  const text = join(folder, "text.jpg");
  writeFileSync(text, "text");
  const cases: [string[], number, string][] = [
    [[text, "--model", model], 1, "cannot be read"],
    [[join(folder, "none.jpg"), "--model", model], 1, "none.jpg"],
    [[image, "--model", join(folder, "none.onnx")], 1, "none.onnx"],
    [[image, "--model", model, "--labels", text], 1, "not JSON"],
    [[image, "--model", model, "--top", "0"], 78, "--top"],
    [[image, "--config", configured({})], 78, "--model"],
  ];
  for (const [args, code, reason] of cases) {
    const outcome = await run(...args);
    expect([args, outcome.code, outcome.err]).toEqual([args, code, expect.stringContaining(reason)]);
  }
});
