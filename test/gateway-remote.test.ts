/** A gateway whose models are another gateway's: the whole way, from the caller's image to the runtime and back. */
import sharp from "sharp";
import { beforeEach, expect, test } from "vitest";
import { resNet } from "../bench/onnx/resnet.ts";
import { twoInputs } from "../bench/onnx/small-models.ts";
import { startGateway } from "./api/api-gateway.ts";
import { ask, scoringGateway } from "./api/scoring-gateway.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { scoreBody } from "./infer/running-model.ts";
import { served } from "./support/served.ts";
import { until } from "./support/until.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const size = { width: 32, height: 32 };
const json = { "content-type": "application/json" };
const network = { width: 4, seed: 5, size: 32, classes: 10 };

/** One gateway with the models, and one that asks it. */
async function twoGateways(models: Parameters<typeof scoringGateway>[1]) {
  const there = await scoringGateway(folder, models);
  const url = there.url();
  const remotes = {
    score: { remote: { protocol: "score", url: `${url}/score?model=resnet`, size, token: { env: "THERE" } } },
    v2: { remote: { protocol: "v2", url, model: "resnet", token: { env: "THERE" } } },
    two: { remote: { protocol: "v2", url, model: "two", token: { env: "THERE" } } },
  };
  const own = temporaryFolder();
  const here = await startGateway(own, { models: remotes }, { THERE: there.token() });
  await until("the scorers are found", () =>
    Object.values(here.gateway.status.models).every(({ state }) => state === "ready"),
  );
  const send = (path: string, body: string | Uint8Array<ArrayBuffer>, headers = {}) => {
    const authorization = `Bearer ${here.token()}`;
    return ask(`${here.url()}${path}`, { method: "POST", body, headers: { authorization, ...headers } });
  };
  return { there, here, send };
}

function expectSame(result: readonly number[], wanted: readonly number[]): void {
  expect(result).toHaveLength(wanted.length);
  expect(Math.max(...result.map((p, i) => Math.abs(p - (wanted[i] ?? Number.NaN))))).toBeLessThan(1e-6);
}

test("numbers, images and tensors give what the model itself gives", async () => {
  const { there, here, send } = await twoGateways({ resnet: resNet(network), two: twoInputs() });
  const numbers = scoreBody([2, 3, 32, 32], (i) => (i * 37) % 256);
  const pixels = Uint8Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * 29) % 256);
  const image = await sharp(pixels, { raw: { width: 40, height: 30, channels: 3 } })
    .png()
    .toBuffer();
  const wanted = await there.send("/score?model=resnet", numbers, json);
  const named = await there.send("/classify?model=resnet&k=10", Uint8Array.from(image));
  for (const model of ["score", "v2"]) {
    const scored = await send(`/score?model=${model}`, numbers, json);
    expect([model, scored.status]).toEqual([model, 200]);
    expectSame(scored.json.result.flat(), wanted.json.result.flat());
    const { json: found } = await send(`/classify?model=${model}&k=10`, Uint8Array.from(image));
    expect(found).toMatchObject({ model, image: { width: 40, height: 30 } });
    expect(found.labels.map(({ index }) => index)).toEqual(named.json.labels.map(({ index }) => index));
    expectSame(
      found.labels.map(({ probability }) => probability),
      named.json.labels.map(({ probability }) => probability),
    );
  }
  const tensor = (name: string) => ({ name, shape: [1, 4], datatype: "FP32", data: [1, 2, 3, 4.5] });
  const infer = JSON.stringify({ inputs: [tensor("a"), tensor("b")] });
  const direct = await there.send("/v2/models/two/infer", infer);
  const passed = await send("/v2/models/two/infer", infer);
  expect(passed.json.outputs).toEqual(direct.json.outputs);
  expect((await here.get("/v2/models/two")).json).toMatchObject({
    platform: "remote",
    inputs: [{ name: "a", datatype: "FP32", shape: [-1, 4] }, { name: "b" }],
  });
  expect(await send("/v2/models/score/infer", infer)).toMatchObject({
    status: 400,
    json: { code: "unsuitableModel" },
  });
  expect(here.gateway.status.models.v2).toMatchObject({ engine: "remote", counts: { scored: 2 } });
});

test("a gateway whose scorer is gone says so to whoever asks, and to whoever looks", async () => {
  const { there, here, send } = await twoGateways({ resnet: resNet(network), two: twoInputs() });
  const numbers = scoreBody([1, 3, 32, 32], () => 1);
  await there.stop();
  const lost = await send("/score?model=v2", numbers, json);
  expect(lost).toMatchObject({
    status: 503,
    json: { code: "lost", error: expect.stringContaining("/v2/models/resnet") },
  });
  expect(lost.headers.get("retry-after")).toBe("1");
  expect(await send("/score?model=v2", numbers, json)).toMatchObject({
    status: 503,
    json: { code: "notReady" },
  });
  expect(here.gateway.status.models.v2?.state).toBe("failed");
  expect((await here.get("/metrics")).text).toContain('headgate_model_ready{model="v2"} 0\n');
});

test("what the scorer refuses is told in its words", async () => {
  const { send } = await twoGateways({ resnet: resNet(network), two: twoInputs() });
  const input = (name: string, rows: number) => ({
    name,
    shape: [rows, 4],
    datatype: "FP32",
    data: new Array(4 * rows).fill(1),
  });
  const uneven = JSON.stringify({ inputs: [input("a", 2), input("b", 3)] });
  expect(await send("/v2/models/two/infer", uneven)).toMatchObject({
    status: 422,
    json: { code: "modelFailed", error: expect.stringContaining("answers 422: the model failed") },
  });
});

test("a scorer that fails is 502; one that has no room is 503, for as long as it says", async () => {
  let answer = { status: 200, text: '{"result":[1,0]}' };
  const { url } = await served((request, response) => {
    request
      .resume()
      .on("end", () => response.writeHead(answer.status, { "retry-after": "9" }).end(answer.text));
  });
  const remote = { protocol: "score", url, size: { width: 2, height: 2 } };
  const box = await startGateway(folder, { models: { m: { remote } } });
  await until("it is found", () => box.gateway.status.models.m?.state === "ready");
  const send = async () => {
    const headers = { ...json, authorization: `Bearer ${box.token()}` };
    const body = scoreBody([1, 3, 2, 2], () => 1);
    const told = await ask(`${box.url()}/score`, { method: "POST", headers, body });
    return { ...told, retryAfter: told.headers.get("retry-after") };
  };
  answer = { status: 500, text: '{"error":"no memory"}' };
  expect(await send()).toMatchObject({ status: 502, retryAfter: null, json: { code: "remoteFailed" } });
  answer = { status: 503, text: "" };
  expect(await send()).toMatchObject({ status: 503, retryAfter: "9", json: { code: "busy" } });
  const { counts, state } = box.gateway.status.models.m ?? {};
  expect([state, counts]).toEqual(["ready", { scored: 0, refused: 0, busy: 1, failed: 1, cancelled: 0 }]);
});
