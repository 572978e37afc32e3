import { z } from "zod";
import { day, ms, secret, state, urlOf } from "./field-schema.ts";

const image = z
  .strictObject({
    resize: z
      .enum(["stretch", "crop"])
      .default("stretch")
      .describe(
        "`stretch`: to the model's size, linearly, whatever becomes of the proportions; `crop`: the shorter side to 256/224 of the model's, then the middle of it",
      ),
    mean: z
      .array(z.number())
      .length(3)
      .default([0.485, 0.456, 0.406])
      .describe("Of red, green, blue, of values from 0 to 1"),
    deviation: z.array(z.number().positive()).length(3).default([0.229, 0.224, 0.225]),
    maxPixels: z
      .int()
      .min(10_000)
      .max(250_000_000)
      .default(50_000_000)
      .describe("An image of more pixels is refused before it is decoded"),
  })
  .prefault({})
  .describe("How an image becomes what the model takes");

const side = z.int().min(1).max(2_048).default(224);
const intervalMs = ms(100, day)
  .default(60_000)
  .describe("Time between looks whether it is still there, while nobody asks it");
const remoteToken = secret.optional().describe("Sent as `Authorization: Bearer`; without it nothing is sent");
const scorerUrl = urlOf(
  /^https?:\/\/[^@/?#\s]+(\/[^#\s]*)?$/,
  "must be http:// or https:// and hold no password",
).max(2_048);

const remote = z
  .discriminatedUnion("protocol", [
    z.strictObject({
      protocol: z
        .literal("score")
        .describe("A scoring container: it normalises the images, and answers with probabilities"),
      url: scorerUrl.describe("Where images are posted to, such as `http://127.0.0.1:5001/score`"),
      size: z
        .strictObject({ width: side, height: side })
        .prefault({})
        .describe("Of the images that it takes, which the protocol does not tell"),
      token: remoteToken,
      intervalMs,
    }),
    z.strictObject({
      protocol: z.literal("v2").describe("The V2 inference protocol: Triton, KServe, another Headgate"),
      url: scorerUrl.describe("What stands before `/v2`, such as `http://triton:8000`"),
      model: z.string().min(1).max(256).describe("Its name there"),
      output: z
        .string()
        .min(1)
        .max(256)
        .optional()
        .describe("The output that holds the scores; without it the first one"),
      token: remoteToken,
      intervalMs,
    }),
  ])
  .describe("A scorer elsewhere that is asked over HTTP");

/** One model, by the name that callers give. */
export const model = z.strictObject({
  state,
  file: z.string().min(1).max(4_096).optional().describe("ONNX file; this, `url` or `remote`"),
  url: urlOf(/^https?:\/\/[^@/?#]+\//, "must be http:// or https:// and hold no password")
    .max(2_048)
    .optional()
    .describe("Where the ONNX file is fetched from, once, into the store's folder; needs `sha256`"),
  remote: remote.optional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "must be 64 digits of 0-9 a-f")
    .optional()
    .describe("What the file must be"),
  maxBytes: z
    .int()
    .min(1_024)
    .max(4_000_000_000)
    .default(500_000_000)
    .describe("A larger file is refused; it is also what a download may take on the disk"),
  fetchTimeoutMs: ms(1_000, 86_400_000).default(3_600_000).describe("How long a download may take"),
  engine: z
    .enum(["auto", "native", "wasm"])
    .default("auto")
    .describe("`auto`: the native runtime, or WebAssembly where there is none (32-bit Arm)"),
  threads: z
    .int()
    .min(1)
    .max(64)
    .optional()
    .describe("Of one run; without it one less than there are cores, so that the gateway keeps one"),
  providers: z
    .array(z.enum(["cpu", "webgpu", "cuda", "tensorrt"]))
    .min(1)
    .default(["cpu"])
    .describe("Execution providers of the native runtime, the preferred first"),
  memoryArena: z
    .enum(["on", "off"])
    .default("on")
    .describe("`off`: memory of a run is given back behind it, for some of the speed"),
  labels: z
    .string()
    .min(1)
    .max(4_096)
    .optional()
    .describe('JSON file of the classes\' names, such as {"0": ["n01440764", "tench"]}'),
  image,
  score: z
    .strictObject({
      normalisation: z
        .enum(["perChannel", "firstAxis", "none"])
        .default("perChannel")
        .describe(
          "What `POST /score` does to its numbers: `perChannel`: `image.mean` and `image.deviation` of each channel; `firstAxis`: those of red for all of them, as older scoring containers do; `none`: nothing",
        ),
    })
    .prefault({}),
  maxQueue: z
    .int()
    .min(0)
    .max(256)
    .default(16)
    .describe("Requests that may wait while one is scored; what comes beyond is answered with 503"),
  maxBatch: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "Requests with images that wait while the model is at work are scored in one run, so many at most, where its first dimension is open",
    ),
  timeoutMs: ms(100, 600_000)
    .default(30_000)
    .describe("How long one request may wait, and how long a run may take for each request in it"),
});
