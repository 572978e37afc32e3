/** Pictures that are kept: listed, read, bounded across restarts, and nothing else of the box. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import sharp from "sharp";
import { beforeEach, expect, test, vi } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { modelFile } from "../infer/running-model.ts";
import { until as untilWithin } from "../support/until.ts";
import { startGateway } from "./api-gateway.ts";

/** A model loads and scores on a busy machine. */
const patienceMs = 60_000;
vi.setConfig({ testTimeout: 3 * patienceMs });
const until = (what: string, condition: () => boolean) => untilWithin(what, condition, patienceMs);

interface Listed {
  readonly source: string;
  readonly name: string;
  readonly time: string;
  readonly bytes: number;
  readonly scores: Readonly<Record<string, number>>;
}

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const png = (shade: number) =>
  sharp({ create: { width: 40, height: 30, channels: 3, background: { r: shade, g: 90, b: 20 } } })
    .png()
    .toBuffer();

async function cameras(sources: Readonly<Record<string, object>>) {
  const { file } = modelFile(folder, "zoo.onnx", resNet({ width: 4, seed: 9, size: 32, classes: 10 }));
  const made = Object.entries(sources).map(([name, more]) => {
    mkdirSync(join(folder, name), { recursive: true });
    const camera = { type: "imageFolder", folder: join(folder, name), model: "zoo", device: name };
    return [name, { ...camera, lookMs: 50, settleMs: 0, ...more }] as const;
  });
  const models = { zoo: { file, threads: 1 } };
  const box = await startGateway(folder, { models, sources: Object.fromEntries(made) });
  const listed = async (query = "") => (await box.get(`/api/pictures${query}`)).json?.pictures as Listed[];
  /** One after the other, so that their order is known. */
  const drop = async (source: string, ...shades: number[]) => {
    for (const shade of shades) {
      const before = box.ingested(source);
      writeFileSync(join(folder, source, `${shade}.png`), await png(shade));
      await until("it is scored", () => box.ingested(source) > before);
    }
  };
  return { ...box, listed, drop };
}

test("what is kept is listed with its scores, the newest first and page by page, and served as it came", async () => {
  const { listed, drop, url, token } = await cameras({
    gate: { top: 2, keep: {} },
    yard: { keep: {} },
    hall: {},
  });
  await drop("gate", 10, 20);
  await drop("yard", 30);
  await drop("hall", 40);
  const all = await listed();
  expect(all.map(({ source }) => source)).toEqual(["yard", "gate", "gate"]);
  for (const { time, bytes, scores, source } of all) {
    expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(600_000);
    expect(bytes).toBeGreaterThan(50);
    expect(Object.keys(scores)).toHaveLength(source === "gate" ? 2 : 1);
  }
  expect(await listed("?source=gate")).toEqual(all.slice(1));
  expect(await listed("?limit=1")).toEqual(all.slice(0, 1));
  expect(await listed(`?source=gate&before=${all[1]?.name}`)).toEqual(all.slice(2));
  expect([await listed("?source=nobody"), await listed("?source=../models")]).toEqual([[], []]);
  const { source, name } = all[2] ?? {};
  const answer = await fetch(`${url()}/api/pictures/${source}/${name}`, {
    headers: { authorization: `Bearer ${token()}` },
  });
  expect(answer.headers.get("content-type")).toBe("image/png");
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(await png(10));
});

test("bounds hold across restarts, and only what is wanted is kept", async () => {
  const keep = { maxFiles: 2 };
  const first = await cameras({ gate: { keep }, sure: { keep: { which: "above", probability: 1 } } });
  await first.drop("gate", 10, 20, 30);
  await first.drop("sure", 10);
  const before = await first.listed();
  expect(before).toHaveLength(2);
  await first.stop();
  const second = await cameras({ gate: { keep }, unsure: { keep: { which: "below", probability: 1 } } });
  expect(await second.listed()).toEqual(before);
  await second.drop("gate", 40);
  await second.drop("unsure", 10);
  const after = await second.listed();
  expect(after.map(({ source }) => source)).toEqual(["unsure", "gate", "gate"]);
  expect(after[2]).toEqual(before[0]);
});

test("nothing but kept pictures is served, whatever the path", async () => {
  const { drop, listed, get, url, token } = await cameras({ gate: { keep: {} } });
  await drop("gate", 10);
  const [{ name = "" } = {}] = await listed();
  for (const path of ["gate/x.jpg", `yard/${name}`, `gate/${name}.json`, "gate/..", `gate/..%2f${name}`])
    expect((await get(`/api/pictures/${path}`)).status, path).toBe(404);
  expect((await get("/api/pictures?limit=0")).status).toBe(400);
  expect((await get("/api/pictures?limit=101")).status).toBe(400);
  expect((await get("/api/pictures", {})).status).toBe(401);
  expect((await get(`/api/pictures/gate/${name}`, {})).status).toBe(401);
  // As it is on the line: clients tidy such a path before they send it.
  const { port } = new URL(url());
  const path = "/api/pictures/../api-token";
  const status = await new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token()}` };
    request({ port, path, headers }, (response) => resolve(response.resume().statusCode))
      .on("error", reject)
      .end();
  });
  expect(status).toBe(404);
});

test("a picture that cannot be kept is a reading all the same, and the source says why", async () => {
  const { drop, gateway } = await cameras({ gate: { keep: {} } });
  rmSync(join(folder, "store", "pictures"), { recursive: true, force: true });
  writeFileSync(join(folder, "store", "pictures"), "in the way");
  await drop("gate", 10);
  await until("the reason", () => gateway.status.sources.gate?.reason?.includes("not kept") === true);
  expect([gateway.status.sources.gate?.state, readdirSync(join(folder, "gate"))]).toEqual(["open", []]);
});
