/** `POST /classify`: an image in, names out; what is no image is refused, and the service goes on. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import { beforeEach, describe, expect, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { twoInputs } from "../../bench/onnx/small-models.ts";
import { formParts } from "../../src/api/multipart.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { scoringGateway } from "./scoring-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const network = { width: 4, seed: 9, size: 64, classes: 10 };
const own = (bytes: Uint8Array) => Uint8Array.from(bytes) as Uint8Array<ArrayBuffer>;
const jpeg = async (width = 320, height = 200) => {
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i) % 251);
  return own(
    await sharp(pixels, { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer(),
  );
};

async function labelled() {
  const labels = join(folder, "labels.json");
  const names = Array.from({ length: 10 }, (_, i) => [i, [`n${i}`, `name ${i}`]]);
  writeFileSync(labels, JSON.stringify(Object.fromEntries(names)));
  return await scoringGateway(folder, { zoo: resNet(network) }, { labels });
}

describe("an image", () => {
  test("is answered with the most probable names, sizes and times, and as /score has them", async () => {
    const { send } = await labelled();
    const image = await jpeg();
    const { status, json } = await send("/classify?k=10", image, { "content-type": "image/jpeg" });
    expect(status).toBe(200);
    expect(json).toMatchObject({ model: "zoo", image: { width: 320, height: 200 } });
    for (const time of ["decodeMs", "scoreMs", "runMs"]) expect(json.times[time]).toBeGreaterThan(0);
    const probabilities = json.labels.map(({ probability }) => probability);
    expect(probabilities).toEqual([...probabilities].sort((a, b) => b - a));
    for (const { index, id, label } of json.labels)
      expect([id, label]).toEqual([`n${index}`, `name ${index}`]);
    const pixels = await sharp(image).resize(64, 64, { fit: "fill", kernel: "linear" }).raw().toBuffer();
    const planes = own(pixels.map((_, i) => pixels[(i % 4_096) * 3 + Math.floor(i / 4_096)] ?? 0));
    const headers = {
      "content-type": "application/octet-stream",
      "tensor-shape": "1,3,64,64",
      "tensor-type": "uint8",
    };
    const { json: scored } = await send("/score", planes, headers);
    for (const { index, probability } of json.labels)
      expect(scored.result[index]).toBeCloseTo(probability, 6);
  });

  test("comes as it is or in a form, and five names are told unless another number is asked for", async () => {
    const { send, url, token } = await labelled();
    const image = await jpeg();
    const plain = await send("/classify", image);
    expect(plain.json.labels).toHaveLength(5);
    expect((await send("/classify?k=1", image)).json.labels).toEqual(plain.json.labels.slice(0, 1));
    const form = new FormData();
    form.append("note", "before it");
    form.append("image", new Blob([image], { type: "image/jpeg" }), "a.jpg");
    const response = await fetch(`${url()}/classify`, {
      method: "POST",
      body: form,
      headers: { authorization: `Bearer ${token()}` },
    });
    expect(((await response.json()) as { labels: unknown }).labels).toEqual(plain.json.labels);
    for (const k of ["0", "-1", "1.5", "x", "1001"])
      expect((await send(`/classify?k=${k}`, image)).status).toBe(400);
  });

  test("for a model that takes none is refused, as is what is no image; the model goes on", async () => {
    const models = { zoo: resNet(network), two: twoInputs() };
    const { send, gateway } = await scoringGateway(folder, models, { image: { maxPixels: 100_000 } });
    const image = await jpeg();
    const type = { "content-type": "image/jpeg" };
    const cases: [string, Uint8Array<ArrayBuffer> | string, Record<string, string>, number, string][] = [
      ["two", image, type, 400, "unsuitableModel"],
      ["zoo", "I am a text named holiday.jpg", type, 400, "badImage"],
      ["zoo", image.slice(0, image.length >> 1), type, 400, "badImage"],
      ["zoo", new Uint8Array(0), type, 400, "badImage"],
      ["zoo", await jpeg(400, 300), type, 413, "imageTooLarge"],
      ["zoo", "{}", { "content-type": "application/json" }, 415, "unsupportedMediaType"],
      ["zoo", "x", { "content-type": "multipart/form-data" }, 400, "malformed"],
      ["zoo", "--b\r\n\r\nx", { "content-type": "multipart/form-data; boundary=b" }, 400, "malformed"],
      ["zoo", "--b--", { "content-type": "multipart/form-data; boundary=b" }, 400, "noData"],
    ];
    for (const [model, body, headers, status, code] of cases) {
      const answer = await send(`/classify?model=${model}`, body, headers);
      expect(answer, code).toMatchObject({ status, json: { error: { code } } });
    }
    expect((await send("/classify?model=zoo", image, type)).status).toBe(200);
    expect(gateway.status.models.zoo).toMatchObject({ state: "ready", inside: 0 });
  });

  test("GET /models tells what there is", async () => {
    const { get } = await labelled();
    expect((await get("/models")).json).toMatchObject({
      models: {
        zoo: {
          state: "ready",
          engine: "native",
          sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
          inputs: [{ name: "data", type: "float32", shape: ["N", 3, 64, 64] }],
          outputs: [{ type: "float32", shape: ["N", 10] }],
        },
      },
    });
  });
});

describe("parts of a form", () => {
  const type = "multipart/form-data; boundary=xyz";
  const part = (name: string, bytes: Uint8Array) =>
    Buffer.concat([
      Buffer.from(`--xyz\r\nContent-Disposition: form-data; name="${name}"; filename="a"\r\n\r\n`),
      bytes,
      Buffer.from("\r\n"),
    ]);

  test("any bytes come out as they went in", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array(), { maxLength: 5 }), (values) => {
        fc.pre(!values.some((bytes) => Buffer.from(bytes).includes("\r\n--xyz")));
        const body = Buffer.concat([
          ...values.map((bytes, i) => part(`p${i}`, bytes)),
          Buffer.from("--xyz--"),
        ]);
        const parts = formParts(type, body);
        expect(parts?.map(({ name }) => name)).toEqual(values.map((_, i) => `p${i}`));
        expect(parts?.map(({ bytes }) => [...bytes])).toEqual(values.map((bytes) => [...bytes]));
      }),
    );
  });

  test("a form that is cut off anywhere is none", () => {
    const body = Buffer.concat([
      part("a", Buffer.from("one")),
      part("b", Buffer.alloc(9)),
      Buffer.from("--xyz--"),
    ]);
    expect(formParts(type, body)).toHaveLength(2);
    for (let length = 0; length < body.length; length++)
      expect([length, formParts(type, body.subarray(0, length))]).toEqual([length, undefined]);
  });

  test("any bytes end soon", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        formParts(type, bytes);
        formParts(type, Buffer.concat([Buffer.from("--xyz\r\n"), bytes, Buffer.from("\r\n--xyz--")]));
      }),
    );
  });
});
