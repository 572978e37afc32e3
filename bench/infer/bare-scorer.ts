/**
 * What a program needs at least that answers `/score`: a plain HTTP server, `JSON.parse`, one call of the runtime.
 * It prints its port when it is ready.
 */
import { createServer } from "node:http";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [file = "", threads = "1"] = process.argv.slice(2);
process.env.ORT_DISABLE_TELEMETRY = "1";
const session = await InferenceSession.create(file, { intraOpNumThreads: Number(threads) });
const shape = [1, 3, 224, 224];
const mean = [0.485, 0.456, 0.406];
const deviation = [0.229, 0.224, 0.225];

function normalised(data: Float32Array): Float32Array {
  const plane = data.length / 3;
  for (let i = 0; i < data.length; i++) {
    const channel = Math.floor(i / plane);
    data[i] = ((data[i] ?? 0) / 255 - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
  }
  return data;
}

function softmax(scores: Float32Array): number[] {
  const greatest = scores.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(scores, (score) => Math.exp(score - greatest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const isJson = request.headers["content-type"] === "application/json";
  const data = isJson
    ? Float32Array.from((JSON.parse(body.toString("utf8")) as { data: number[][][][] }).data.flat(3))
    : Float32Array.from(body);
  const beganMs = performance.now();
  const input = new Tensor("float32", normalised(data), shape);
  const [output] = Object.values(await session.run({ [session.inputNames[0] ?? ""]: input }));
  const result = softmax((output?.data ?? new Float32Array(1)) as Float32Array);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ result, time: (performance.now() - beganMs) / 1_000 }));
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`${typeof address === "object" ? address?.port : 0}\n`);
});
