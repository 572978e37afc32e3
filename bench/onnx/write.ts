/**
 * Writes an ONNX file of the shape of ResNet50 version 2, with random weights from a seed, for tries and measurements
 * without the real one.
 *
 *     node bench/onnx/write.ts FILE [--width 64] [--seed 1] [--size 224] [--classes 1000]
 */
import { parseArgs } from "node:util";
import { resNet } from "./resnet.ts";
import { writeModel } from "./write-model.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: "string", default: "64" },
    seed: { type: "string", default: "1" },
    size: { type: "string", default: "224" },
    classes: { type: "string", default: "1000" },
  },
});
const [file] = positionals;
if (file === undefined) throw new Error("name the file to write");
const { sha256, bytes } = writeModel(
  file,
  resNet({
    width: Number(values.width),
    seed: Number(values.seed),
    size: Number(values.size),
    classes: Number(values.classes),
  }),
);
process.stdout.write(`${file}: ${bytes} bytes, sha256 ${sha256}\n`);
