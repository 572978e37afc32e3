/** `POST /score` as clients of scoring containers send it, and in the forms beside it. */
import { connect } from "node:net";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { beforeEach, describe, expect, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { identityOfImage, twoInputs } from "../../bench/onnx/small-models.ts";
import { softmax } from "../../src/infer/softmax.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { scoreBody } from "../infer/running-model.ts";
import { until } from "../support/until.ts";
import { leavingCaller, scoringGateway } from "./scoring-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const json = { "content-type": "application/json" };
const network = { width: 4, seed: 9, size: 224, classes: 1_000 };
const value = (i: number) => (i * 31) % 256;
const mean = [0.485, 0.456, 0.406];
const deviation = [0.229, 0.224, 0.225];

/** What the model zoo's script computes, with the mean and deviation of `by(image, channel)`. */
async function reference(images: number, by: (image: number, channel: number) => number) {
  const plane = 224 * 224;
  const data = Float32Array.from({ length: images * 3 * plane }, (_, i) => {
    const at = by(Math.floor(i / (3 * plane)), Math.floor(i / plane) % 3);
    return (value(i) / 255 - (mean[at] ?? 0)) / (deviation[at] ?? 1);
  });
  const session = await InferenceSession.create(Buffer.concat(resNet(network)));
  const [out] = Object.values(
    await session.run({ data: new Tensor("float32", data, [images, 3, 224, 224]) }),
  );
  await session.release();
  return [...softmax((out?.data ?? new Float32Array()) as Float32Array, 1_000)];
}

function expectClose(result: number[], wanted: readonly number[], tolerance = 1e-5): void {
  expect(result).toHaveLength(wanted.length);
  const worst = Math.max(...wanted.map((p, i) => Math.abs(p - (result[i] ?? Number.NaN))));
  expect(worst).toBeLessThan(tolerance);
}

describe("the contract of scoring containers", () => {
  test("a raw request is answered with 1,000 probabilities and seconds, normalised by channel", async () => {
    const { url, token } = await scoringGateway(folder, { resnet: resNet(network) });
    const body = scoreBody([1, 3, 224, 224], value);
    const { hostname, port } = new URL(url());
    const head = [
      "POST /score HTTP/1.1",
      "Host: localhost:5001",
      "User-Agent: Go-http-client/1.1",
      `Content-Length: ${body.length}`,
      "Content-Type: application/json",
      "Accept-Encoding: gzip",
      `Authorization: Bearer ${token()}`,
      "Connection: close",
    ];
    const socket = connect(Number(port), hostname);
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    socket.write(body);
    let text = "";
    for await (const chunk of socket.setEncoding("utf8")) text += chunk;
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const answer = JSON.parse(text.slice(text.indexOf("\r\n\r\n"))) as { result: number[]; time: number };
    expect(Object.keys(answer)).toEqual(["result", "time"]);
    expect(answer.time).toBeGreaterThan(0);
    expectClose(answer.result, await reference(1, (_, channel) => channel));
  });

  test("the old behaviour is there by name: the mean and deviation of red for all channels", async () => {
    const settings = { score: { normalisation: "firstAxis" } };
    const { send } = await scoringGateway(folder, { resnet: resNet(network) }, settings);
    const one = await send("/score", scoreBody([1, 3, 224, 224], value), json);
    expectClose(one.json.result, await reference(1, () => 0));
    const two = await send("/score", scoreBody([2, 3, 224, 224], value), json);
    expectClose(two.json.result.flat(), await reference(2, (image) => image));
    const many = await send("/score", scoreBody([4, 3, 224, 224], value), json);
    expect(many).toMatchObject({ status: 400, json: { code: "badShape" } });
  });

  test("a batch is answered with a row for each image", async () => {
    const { send } = await scoringGateway(folder, { resnet: resNet(network) });
    const { json: answer } = await send("/score", scoreBody([2, 3, 224, 224], value), json);
    expect(answer.result).toHaveLength(2);
    expectClose(answer.result.flat(), await reference(2, (_, channel) => channel));
  });

  test("an API that is open to scoring asks no token of it, and of the rest still does", async () => {
    const sections = { api: { scoring: "open" } };
    const { send, get } = await scoringGateway(folder, { m: identityOfImage(2) }, {}, sections);
    const body = scoreBody([1, 3, 2, 2], value);
    expect((await send("/score", body, { ...json, authorization: "" })).status).toBe(200);
    expect((await get("/v2/health/live", {})).status).toBe(200);
    for (const path of ["/api/status", "/api/ledger", "/metrics", "/nothing"])
      expect((await get(path, {})).status).toBe(401);
  });

  test("without a token nothing is scored", async () => {
    const { send, get } = await scoringGateway(folder, { m: identityOfImage(2) });
    for (const path of ["/score", "/classify", "/v2/models/m/infer"])
      expect((await send(path, "{}", { authorization: "" })).status).toBe(401);
    for (const path of ["/models", "/v2", "/v2/health/live", "/v2/models/m"])
      expect((await get(path, {})).status).toBe(401);
  });
});

describe("binary forms", () => {
  const floats = Float32Array.from({ length: 12 }, (_, i) => i / 4);
  const bytes = Uint8Array.from({ length: 12 }, (_, i) => i);
  const asIs = { score: { normalisation: "none" } };
  const npy = (descr: string, shape: string, data: Uint8Array, fortran = "False") => {
    const dict = `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;
    // The header is padded so that the data begins at a multiple of 64 (numpy.lib.format).
    const text = `${dict.padEnd(128 - 11 - 0)}\n`;
    const head = Buffer.alloc(10);
    head.write("\x93NUMPY\x01\x00", "latin1");
    head.writeUInt16LE(text.length, 8);
    return new Uint8Array(Buffer.concat([head, Buffer.from(text), data]));
  };
  const raw = (array: Float32Array) => new Uint8Array(array.buffer.slice(0) as ArrayBuffer);

  test("a tensor with its shape in a header, and NumPy files, give what JSON gives", async () => {
    const { send } = await scoringGateway(folder, { m: identityOfImage(2) }, asIs);
    const octets = { "content-type": "application/octet-stream" };
    const shape = { "tensor-shape": "1,3,2,2" };
    const wanted = [...softmax(floats, 12)];
    const results = await Promise.all([
      send("/score", JSON.stringify({ data: [nest([...floats])] }), json),
      send("/score", raw(floats), { ...octets, ...shape }),
      send("/score", npy("<f4", "(1, 3, 2, 2)", raw(floats)), { "content-type": "application/x-npy" }),
      send("/score", npy("<f4", "(1, 3, 2, 2)", raw(floats)), octets),
    ]);
    for (const { status, json: answer } of results) {
      expect(status).toBe(200);
      expectClose(answer.result, wanted, 1e-7);
    }
    const whole = [...softmax(Float32Array.from(bytes), 12)];
    const types = { ...octets, ...shape, "tensor-type": "uint8" };
    expectClose((await send("/score", bytes, types)).json.result, whole, 1e-7);
    expectClose((await send("/score", npy("|u1", "(1,3,2,2)", bytes), octets)).json.result, whole, 1e-7);
  });

  function nest(values: number[]): number[][][] {
    return [0, 1, 2].map((c) => [0, 1].map((y) => values.slice(c * 4 + y * 2, c * 4 + y * 2 + 2)));
  }

  test("what is cut off, of another type, order or shape is refused by name", async () => {
    const { send, gateway } = await scoringGateway(folder, { m: identityOfImage(2) }, asIs);
    const octets = { "content-type": "application/octet-stream" };
    const nan = raw(floats.map((v, i) => (i === 3 ? Number.NaN : v)));
    const shaped = (shape: string) => ({ ...octets, "tensor-shape": shape });
    const cases: [Uint8Array<ArrayBuffer>, Record<string, string>, number, string][] = [
      [raw(floats), octets, 400, "badShape"],
      [raw(floats), shaped("1,3,x"), 400, "badShape"],
      [raw(floats), shaped("1,3,2,4"), 400, "badLength"],
      [raw(floats).slice(0, 47), shaped("1,3,2,2"), 400, "badLength"],
      [raw(floats), shaped("1,12"), 400, "badShape"],
      [raw(floats), shaped("999999999,999999999"), 400, "badLength"],
      [nan, shaped("1,3,2,2"), 400, "notFinite"],
      [raw(floats), { ...shaped("1,3,2,2"), "tensor-type": "float16" }, 400, "badType"],
      [raw(floats), { "content-type": "image/jpeg" }, 415, "unsupportedMediaType"],
      [npy("<f4", "(1, 3, 2, 2)", raw(floats)).slice(0, 100), octets, 400, "malformed"],
      [npy("<f4", "(1, 3, 2, 2)", raw(floats).slice(0, 40)), octets, 400, "badLength"],
      [npy("<f4", "(999999999, 999999999)", raw(floats)), octets, 400, "badLength"],
      [npy(">f4", "(1, 3, 2, 2)", raw(floats)), octets, 400, "badType"],
      [npy("<c8", "(1, 3, 2, 2)", raw(floats)), octets, 400, "badType"],
      [npy("<f4", "(1, 3, 2, 2)", raw(floats), "True"), octets, 400, "badShape"],
      [npy("<f4", "__import__('os')", raw(floats)), octets, 400, "malformed"],
    ];
    for (const [body, headers, status, code] of cases) {
      const answer = await send("/score", body, headers);
      expect([code, answer.status, answer.json.code]).toEqual([code, status, code]);
      expect(answer.json.error).toBeTypeOf("string");
    }
    expect((await send("/score", raw(floats), shaped("1,3,2,2"))).status).toBe(200);
    expect(gateway.status.models.m).toMatchObject({ state: "ready", inside: 0 });
  });
});

describe("which model", () => {
  test("one alone need not be named; of several one must be, and only one that there is", async () => {
    const models = { a: identityOfImage(2), b: twoInputs() };
    const { send } = await scoringGateway(folder, models);
    const body = scoreBody([1, 3, 2, 2], value);
    expect(await send("/score", body, json)).toMatchObject({ status: 400, json: { code: "modelMissing" } });
    expect((await send("/score?model=a", body, json)).status).toBe(200);
    const none = await send("/score?model=constructor", body, json);
    expect(none).toMatchObject({ status: 404, json: { code: "unknownModel" } });
    const other = await send("/score?model=b", body, json);
    expect(other).toMatchObject({ status: 400, json: { code: "unsuitableModel" } });
  });

  test("without any there is no model to ask, and one that failed says why", async () => {
    const { send, gateway } = await scoringGateway(folder, {});
    expect((await send("/score", "{}", json)).status).toBe(404);
    expect(gateway.status.models).toEqual({});
  });
});

describe("bounds", () => {
  const heavy = { width: 16, seed: 5, size: 128, classes: 10 };
  /** Long at work, and short on its way. */
  const batch = new Uint8Array(128 * 3 * 128 * 128).map((_, i) => value(i));
  const octets = { "content-type": "application/octet-stream", "tensor-type": "uint8" };
  const many = { ...octets, "tensor-shape": "128,3,128,128" };
  const one = { ...octets, "tensor-shape": "1,3,128,128" };
  const image = batch.slice(0, 3 * 128 * 128);

  test("a body beyond the bound is refused before it is read, whether it says so or not", async () => {
    const { send, url, token } = await scoringGateway(
      folder,
      { m: identityOfImage(2) },
      {},
      { api: { maxScoringBytes: 4_096 } },
    );
    const large = new Uint8Array(100_000_000);
    expect(await send("/score", large, json)).toMatchObject({ status: 413, json: { code: "tooLarge" } });
    const stream = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
    });
    const headers = { authorization: `Bearer ${token()}`, ...json };
    const answer = await fetch(`${url()}/score`, {
      method: "POST",
      body: stream,
      headers,
      duplex: "half",
    } as RequestInit).catch(() => undefined);
    // A client that sends for ever may meet the closed connection before it reads the answer.
    if (answer) expect(answer.status).toBe(413);
    expect((await send("/score", scoreBody([1, 3, 2, 2], value), json)).status).toBe(200);
  });

  test("who finds no place gets 503 with Retry-After; who goes away gives his place back", async () => {
    const { send, get, url, token, gateway } = await scoringGateway(
      folder,
      { m: resNet(heavy) },
      { maxQueue: 1 },
    );
    const inside = () => gateway.status.models.m?.inside ?? 0;
    const first = send("/score", batch, many);
    await until("the first is at work", () => inside() === 1);
    const call = leavingCaller(`${url()}/score`, token(), one, image);
    await until("the second waits", () => inside() === 2);
    const third = await send("/score", image, one);
    expect([third.status, third.headers.get("retry-after"), third.json.code]).toEqual([503, "1", "busy"]);
    call.destroy();
    await until("the second is gone", () => gateway.status.models.m?.counts.cancelled === 1);
    expect((await first).status).toBe(200);
    expect((await send("/score", image, one)).status).toBe(200);
    expect(gateway.status.models.m?.counts).toMatchObject({ scored: 2, busy: 1, cancelled: 1, failed: 0 });
    const { text } = await get("/metrics");
    expect(text).toContain('headgate_model_ready{model="m"} 1\n');
    expect(text).toContain("headgate_model_threads_leaving 0\n");
    expect(text).toContain('headgate_model_requests_total{model="m",outcome="busy"} 1\n');
  });

  test("the gateway answers others while it scores", async () => {
    const { send, get } = await scoringGateway(folder, { m: resNet(heavy) });
    let isDone = false;
    const scoring = send("/score", batch, many).then(() => {
      isDone = true;
    });
    let answers = 0;
    while (!isDone) {
      expect((await get("/api/ledger")).status).toBe(200);
      answers++;
    }
    await scoring;
    expect(answers).toBeGreaterThan(3);
  });
});
