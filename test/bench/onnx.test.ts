/** The generator of ONNX files, judged by the runtime that reads them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Pieces } from "../../bench/onnx/protobuf.ts";
import { resNet } from "../../bench/onnx/resnet.ts";
import { identityOfImage, opsetTooNew, twoInputs, wrongShape } from "../../bench/onnx/small-models.ts";
import { writeModel } from "../../bench/onnx/write-model.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

const load = (pieces: Pieces) => InferenceSession.create(Buffer.concat(pieces));

describe("a network of the shape of ResNet50", () => {
  test("has the shapes, the layers and, in full width, the parameters of ResNet50", async () => {
    const pieces = resNet({ width: 64, seed: 1 });
    // 25.6 million parameters of 4 bytes (arXiv:1512.03385, table 1), and what holds them together.
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    expect(bytes / 4 / 1e6).toBeCloseTo(25.6, 1);
    const session = await load(resNet({ width: 2, seed: 1 }));
    expect(session.inputMetadata).toMatchObject([
      { name: "data", type: "float32", shape: ["N", 3, 224, 224] },
    ]);
    expect(session.outputMetadata).toMatchObject([{ type: "float32", shape: ["N", 1000] }]);
    await session.release();
  });

  test("gives finite scores that depend on every image of a batch", async () => {
    const session = await load(resNet({ width: 4, seed: 3, size: 32, classes: 10 }));
    const image = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
    const dark = new Float32Array(image.length);
    const run = async (...images: Float32Array[]) => {
      const data = new Float32Array(images.flatMap((pixels) => [...pixels]));
      const out = await session.run({ data: new Tensor("float32", data, [images.length, 3, 32, 32]) });
      const [scores] = Object.values(out);
      return [...((scores?.data ?? []) as Float32Array)];
    };
    const [one, other, both] = [await run(image), await run(dark), await run(image, dark)];
    expect(one.every(Number.isFinite)).toBe(true);
    expect(one).not.toEqual(other);
    expect(both).toHaveLength(20);
    for (const [i, score] of both.entries()) expect(score).toBeCloseTo([...one, ...other][i] ?? 0, 4);
    await session.release();
  });

  test("is the same file for the same seed, and another for another", () => {
    const file = (seed: number) => Buffer.concat(resNet({ width: 2, seed, size: 32, classes: 3 }));
    expect(file(1).equals(file(1))).toBe(true);
    expect(file(1).equals(file(2))).toBe(false);
  });

  test("is written whole, and its digest is that of the file", async () => {
    const path = join(temporaryFolder(), "model.onnx");
    const pieces = resNet({ width: 2, seed: 1, size: 32, classes: 3 });
    const { sha256, bytes } = writeModel(path, pieces);
    const file = readFileSync(path);
    expect(file.equals(Buffer.concat(pieces))).toBe(true);
    expect(bytes).toBe(file.length);
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
  });
});

test("the small models do what they say", async () => {
  const same = await load(identityOfImage(2));
  const data = Float32Array.from({ length: 12 }, (_, i) => i / 8);
  const out = await same.run({ data: new Tensor("float32", data, [1, 3, 2, 2]) });
  expect(out.same).toMatchObject({ dims: [1, 12], data });
  expect((await load(twoInputs())).inputNames).toEqual(["a", "b"]);
  await expect(load(wrongShape())).rejects.toThrow(/dimension/i);
  await expect(load(opsetTooNew())).rejects.toThrow(/opset/i);
});
