/** The V2 inference protocol, by its specification (kserve/open-inference-protocol, inference_rest.md). */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { countsAndFlags, doubling, twoInputs } from "../../bench/onnx/small-models.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { startGateway } from "./api-gateway.ts";
import { scoringGateway } from "./scoring-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const input = (name: string, data: unknown, more: object = {}) => ({
  name,
  shape: [1, 4],
  datatype: "FP32",
  data,
  ...more,
});
const infer = (body: object) => JSON.stringify(body);

test("health, server and model are told as the protocol has them", async () => {
  const { get } = await scoringGateway(folder, { two: twoInputs() });
  expect(await get("/v2/health/live")).toMatchObject({ status: 200, json: { live: true } });
  expect(await get("/v2/health/ready")).toMatchObject({ status: 200, json: { ready: true } });
  expect((await get("/v2")).json).toEqual({
    name: "headgate",
    version: expect.any(String),
    extensions: ["binary_tensor_data"],
  });
  const metadata = {
    name: "two",
    platform: "onnxruntime_onnx",
    inputs: [
      { name: "a", datatype: "FP32", shape: [-1, 4] },
      { name: "b", datatype: "FP32", shape: [-1, 4] },
    ],
    outputs: [
      { name: "sum", datatype: "FP32", shape: [-1, 4] },
      { name: "difference", datatype: "FP32", shape: [-1, 4] },
    ],
  };
  expect((await get("/v2/models/two")).json).toEqual(metadata);
  expect((await get("/v2/models/two/versions/1")).json).toEqual(metadata);
  expect(await get("/v2/models/two/ready")).toMatchObject({ status: 200, json: { ready: true } });
  for (const path of ["/v2/models/none", "/v2/models/none/ready", "/v2/models/__proto__"])
    expect(await get(path)).toMatchObject({ status: 404, json: { error: expect.any(String) } });
  for (const path of ["/v2/models", "/v2/models/two/x", "/v2/models//infer"])
    expect((await get(path)).status).toBe(404);
  expect((await get("/v2/models/two/infer")).status).toBe(405);
});

test("a model that cannot be asked is not ready, and says why", async () => {
  const file = join(folder, "m.onnx");
  writeFileSync(file, "no model");
  const { get, gateway } = await startGateway(folder, { models: { m: { file } } });
  await until("it failed", () => gateway.status.models.m?.state === "failed");
  expect(gateway.status.healthy).toBe(true);
  expect(await get("/v2/health/live")).toMatchObject({ status: 200 });
  expect(await get("/v2/health/ready")).toMatchObject({ status: 400, json: { ready: false } });
  expect(await get("/v2/models/m/ready")).toMatchObject({ status: 400, json: { ready: false } });
  const { status, json } = await get("/v2/models/m");
  expect([status, json?.error]).toEqual([400, expect.stringContaining("does not take the model")]);
});

test("two inputs give two outputs, flat or nested, all or those that are wanted", async () => {
  const { send } = await scoringGateway(folder, { two: twoInputs() });
  const [a, b] = [
    [1, 2, 3, 4],
    [10, 20, 30, 40.5],
  ];
  const all = await send("/v2/models/two/infer", infer({ id: "42", inputs: [input("b", b), input("a", a)] }));
  expect(all).toMatchObject({ status: 200 });
  expect(all.json).toEqual({
    model_name: "two",
    id: "42",
    outputs: [
      { name: "sum", shape: [1, 4], datatype: "FP32", data: [11, 22, 33, 44.5] },
      { name: "difference", shape: [1, 4], datatype: "FP32", data: [-9, -18, -27, -36.5] },
    ],
  });
  const nested = {
    inputs: [input("a", [a, a], { shape: [2, 4] }), input("b", [b, b], { shape: [2, 4] })],
    outputs: [{ name: "sum" }],
  };
  const { json } = await send("/v2/models/two/versions/3/infer", infer(nested));
  expect(json).toEqual({
    model_name: "two",
    outputs: [{ name: "sum", shape: [2, 4], datatype: "FP32", data: [11, 22, 33, 44.5, 11, 22, 33, 44.5] }],
  });
});

test("what Triton's client sends when it is told to do without binary tensors is answered in JSON", async () => {
  const { send } = await scoringGateway(folder, { m: doubling() });
  const inputs = [input("x", [1, 2, 3, 4])];
  // InferRequestedOutput with binary_data=False.
  for (const more of [
    { outputs: [{ name: "y", parameters: { binary_data: false } }] },
    {
      outputs: [{ name: "y", parameters: { binary_data: false } }],
      parameters: { binary_data_output: true },
    },
    { parameters: { binary_data_output: false } },
  ]) {
    const { status, json } = await send("/v2/models/m/infer", infer({ inputs, ...more }));
    expect(status).toBe(200);
    expect(json.outputs).toEqual([{ name: "y", shape: [1, 4], datatype: "FP32", data: [2, 4, 6, 8] }]);
  }
});

/** A request as Triton's client for Python sends it: JSON, and behind it the tensors' bytes. */
async function inferBytes(
  { url, token }: { readonly url: () => string; readonly token: () => string },
  model: string,
  request: object | string,
  bytes: Uint8Array,
  headBytes?: string,
) {
  const head = Buffer.from(typeof request === "string" ? request : JSON.stringify(request));
  const response = await fetch(`${url()}/v2/models/${model}/infer`, {
    method: "POST",
    body: Buffer.concat([head, bytes]),
    headers: {
      authorization: `Bearer ${token()}`,
      "content-type": "application/octet-stream",
      "inference-header-content-length": headBytes ?? String(head.length),
    },
  });
  const answer = Buffer.from(await response.arrayBuffer());
  const length = response.headers.get("inference-header-content-length");
  const json = JSON.parse(answer.subarray(0, length === null ? answer.length : Number(length)).toString());
  const behind = answer.subarray(length === null ? answer.length : Number(length));
  return { status: response.status, type: response.headers.get("content-type"), json, behind };
}
const floats = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer);
const inBytes = (name: string, more: object = {}) => ({
  name,
  shape: [1, 4],
  datatype: "FP32",
  parameters: { binary_data_size: 16 },
  ...more,
});

describe("tensors as bytes", () => {
  test("what Triton's client sends by itself is answered in bytes", async () => {
    const box = await scoringGateway(folder, { m: doubling() });
    const inputs = [inBytes("x")];
    for (const more of [
      { outputs: [{ name: "y", parameters: { binary_data: true } }] },
      { parameters: { binary_data_output: true } },
    ]) {
      const request = { id: "7", inputs, ...more };
      const { status, type, json, behind } = await inferBytes(box, "m", request, floats(1, 2.5, -3, 1e30));
      expect([status, type]).toEqual([200, "application/octet-stream"]);
      expect(json).toEqual({
        model_name: "m",
        id: "7",
        outputs: [{ name: "y", shape: [1, 4], datatype: "FP32", parameters: { binary_data_size: 16 } }],
      });
      expect(behind).toEqual(floats(2, 5, -6, 2e30));
    }
  });

  test("bytes and JSON go together, in and out, in any order", async () => {
    const box = await scoringGateway(folder, { two: twoInputs() });
    const { json, behind } = await inferBytes(
      box,
      "two",
      {
        inputs: [input("b", [10, 20, 30, 40]), inBytes("a")],
        outputs: [{ name: "difference" }, { name: "sum", parameters: { binary_data: true } }],
      },
      floats(1, 2, 3, 4),
    );
    const of = new Map(json.outputs.map((output: { name: string }) => [output.name, output]));
    expect(of.get("difference")).toMatchObject({ data: [-9, -18, -27, -36] });
    expect(of.get("sum")).toMatchObject({ parameters: { binary_data_size: 16 } });
    expect(behind).toEqual(floats(11, 22, 33, 44));
    const both = { inputs: [inBytes("b"), inBytes("a")], parameters: { binary_data_output: true } };
    const answer = await inferBytes(box, "two", both, floats(10, 20, 30, 40, 1, 2, 3, 4));
    expect(answer.json.outputs.map(({ name }: { name: string }) => name)).toEqual(["sum", "difference"]);
    expect(answer.behind).toEqual(floats(11, 22, 33, 44, -9, -18, -27, -36));
  });

  test("whole numbers of 64 bits are exact, and what is no number stays that", async () => {
    const box = await scoringGateway(folder, { counts: countsAndFlags(), m: doubling() });
    const counts = Buffer.from(BigInt64Array.of(2n ** 63n - 1n, -(2n ** 53n) - 1n).buffer);
    const request = {
      inputs: [{ name: "counts", shape: [1, 2], datatype: "INT64", parameters: { binary_data_size: 16 } }],
      parameters: { binary_data_output: true },
    };
    expect((await inferBytes(box, "counts", request, counts)).behind).toEqual(counts);
    const none = { inputs: [inBytes("x")], parameters: { binary_data_output: true } };
    const { behind } = await inferBytes(box, "m", none, floats(Number.NaN, Number.POSITIVE_INFINITY, 0, 1));
    const doubled = new Float32Array(Uint8Array.from(behind).buffer);
    expect(Array.from(doubled)).toEqual([Number.NaN, Number.POSITIVE_INFINITY, 0, 2]);
  });

  test("bytes that do not fit are refused with a text that names them, and the model goes on", async () => {
    const box = await scoringGateway(folder, { m: doubling() });
    const x = (more: object = {}) => ({ inputs: [inBytes("x", more)] });
    const sized = (size: unknown) => x({ parameters: { binary_data_size: size } });
    const four = floats(1, 2, 3, 4);
    const cases: [string, object | string, Buffer, code?: string | undefined, headBytes?: string][] = [
      ["fewer than said", x(), floats(1, 2, 3)],
      ["more than said", x(), floats(1, 2, 3, 4, 5)],
      ["fewer than the shape", sized(12), floats(1, 2, 3)],
      ["a negative size", sized(-4), four],
      ["a size that is a text", sized("16"), four],
      ["a size beyond all measure", sized(2 ** 53), four],
      ["none said", { inputs: [input("x", [1, 2, 3, 4])] }, four],
      ["a JSON longer than the body", x(), four, undefined, "1000000"],
      ["a JSON that is cut", x(), four, "malformed", "20"],
      ["a length that is none", x(), four, "badRequest", "1e3"],
      ["data twice", x({ data: [1, 2, 3, 4] }), four, "malformed"],
      ["another type", x({ datatype: "FP16" }), four, "badType"],
      ["another type of the size", x({ datatype: "INT32" }), four, "badType"],
      [
        "a classification",
        { ...x(), outputs: [{ name: "y", parameters: { classification: 1 } }] },
        four,
        "badType",
      ],
    ];
    for (const [what, request, bytes, code = "badLength", headBytes] of cases) {
      const { status, json } = await inferBytes(box, "m", request, bytes, headBytes);
      expect([what, status, json.code]).toEqual([what, 400, code]);
      expect(json.error).toBeTypeOf("string");
    }
    expect((await inferBytes(box, "m", x(), four)).json.outputs[0].data).toEqual([2, 4, 6, 8]);
    expect(box.gateway.status.models.m).toMatchObject({ state: "ready", inside: 0 });
  });
});

test("whole numbers of 64 bits come and go as numbers, as far as JSON holds them", async () => {
  const { send } = await scoringGateway(folder, { counts: countsAndFlags() });
  const counts = (data: unknown) =>
    infer({ inputs: [{ name: "counts", shape: [1, 2], datatype: "INT64", data }] });
  const { json } = await send("/v2/models/counts/infer", counts([-(2 ** 53 - 1), 7]));
  expect(json.outputs).toEqual([
    { name: "same", shape: [1, 2], datatype: "INT64", data: [-(2 ** 53 - 1), 7] },
  ]);
  for (const data of [
    [2 ** 53, 0],
    [0.5, 1],
    ["1", 2],
    [true, 1],
  ])
    expect(await send("/v2/models/counts/infer", counts(data))).toMatchObject({
      status: 400,
      json: { code: "notANumber" },
    });
});

test("what does not fit is refused with a text that names it, and the model goes on", async () => {
  const { send, gateway } = await scoringGateway(folder, { m: doubling(), two: twoInputs() });
  const x = (more: object, data: unknown = [1, 2, 3, 4]) => ({ inputs: [input("x", data, more)] });
  const cases: [string, string, object | string, number, string][] = [
    ["m", "no JSON", "{", 400, "malformed"],
    ["m", "no inputs", {}, 400, "noData"],
    ["m", "an input without a name", { inputs: [{ shape: [1, 4] }] }, 400, "malformed"],
    ["m", "an input that there is not", { inputs: [input("z", [1, 2, 3, 4])] }, 400, "unknownTensor"],
    ["m", "an input twice", { inputs: [...x({}).inputs, ...x({}).inputs] }, 400, "unknownTensor"],
    ["two", "an input too few", { inputs: [input("a", [1, 2, 3, 4])] }, 400, "unknownTensor"],
    ["m", "another type", x({ datatype: "INT32" }), 400, "badType"],
    ["m", "no type", x({ datatype: "FP8" }), 400, "badType"],
    ["m", "a type of every object", x({ datatype: "constructor" }), 400, "badType"],
    ["m", "another shape", x({ shape: [4, 1] }), 400, "badShape"],
    ["m", "a negative size", x({ shape: [-1, 4] }), 400, "badShape"],
    ["m", "sizes beyond all measure", x({ shape: [2 ** 30, 4] }), 400, "badLength"],
    ["m", "too few numbers", x({}, [1, 2, 3]), 400, "badLength"],
    ["m", "no numbers", x({}, "1234"), 400, "noData"],
    ["m", "null", x({}, [1, 2, 3, null]), 400, "notANumber"],
    ["m", "a number that is too large", x({}, [1, 2, 3, 1e39]), 400, "notANumber"],
    ["m", "an output that there is not", { ...x({}), outputs: [{ name: "z" }] }, 400, "unknownTensor"],
    [
      "two",
      "batches of two sizes",
      {
        inputs: [
          input("a", new Array(8).fill(1), { shape: [2, 4] }),
          input("b", new Array(12).fill(1), { shape: [3, 4] }),
        ],
      },
      422,
      "modelFailed",
    ],
  ];
  for (const [model, what, body, status, code] of cases) {
    const text = typeof body === "string" ? body : infer(body);
    const answer = await send(`/v2/models/${model}/infer`, text);
    expect([what, answer.status, answer.json.code]).toEqual([what, status, code]);
    expect(answer.json.error).toBeTypeOf("string");
  }
  const good = await send("/v2/models/m/infer", infer(x({})));
  expect(good.json.outputs[0]?.data).toEqual([2, 4, 6, 8]);
  expect(gateway.status.models.m).toMatchObject({ state: "ready", inside: 0 });
});
