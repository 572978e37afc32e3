/**
 * What scoring costs beside bare calls of the same runtime, measured one after the other in the same round.
 *
 *     node bench/infer.ts [--width 64] [--rounds 9] [--seconds 6] [--threads 1] [--json]
 *
 * The model is one of the shape of ResNet50 with random weights. Figures are medians; a bound is one that a quiet
 * machine should keep, and MISSED is told, not an error. Exit code 0 when everything was measured.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";
import { normalise, planesOf } from "../src/infer/normalisation.ts";
import { scanNumbers } from "../src/infer/number-scanner.ts";
import { Children } from "../test/faults/soak/children.ts";
import { figuresOf } from "../test/faults/soak/process-figures.ts";
import { sleep } from "../test/faults/time.ts";
import { randomFrom, shuffled } from "../test/support/random.ts";
import { type Call, send, sensorP99, throughput, timed } from "./infer/clients.ts";
import { startBare, startGateway } from "./infer/scorers.ts";
import { resNet } from "./onnx/resnet.ts";
import { writeModel } from "./onnx/write-model.ts";
import { median } from "./statistics.ts";

const { values } = parseArgs({
  options: {
    width: { type: "string", default: "64" },
    rounds: { type: "string", default: "9" },
    seconds: { type: "string", default: "6" },
    threads: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const [width, rounds, seconds, threads] = [values.width, values.rounds, values.seconds, values.threads].map(
  Number,
) as [number, number, number, number];

interface Line {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly atMost?: number;
  readonly atLeast?: number;
}
const lines: Line[] = [];
function tell(line: Line): void {
  lines.push(line);
  const { name, value, unit, atMost, atLeast } = line;
  const bound = atMost !== undefined ? `, at most ${atMost.toFixed(2)}` : `, at least ${atLeast?.toFixed(2)}`;
  const isMet = (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast);
  const hasBound = atMost !== undefined || atLeast !== undefined;
  const verdict = hasBound ? `${isMet ? "met" : "MISSED"}${bound}` : "";
  const told = `${name.padEnd(58)} ${value.toFixed(2).padStart(9)} ${unit.padEnd(5)} ${verdict}\n`;
  (values.json ? process.stderr : process.stdout).write(told);
}

/** A picture as cameras make it: smooth, with some noise. */
function picture(wide: number, high: number): Uint8Array {
  const random = randomFrom(1);
  return Uint8Array.from({ length: wide * high * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % wide, Math.floor(i / 3 / wide)];
    return 127 + 100 * Math.sin((6 * x) / wide + (i % 3)) * Math.cos((4 * y) / high) + 12 * random();
  });
}

const size = 224;
/** Short ones, often in turn: the machine's own speed changes within seconds. */
const sliceMs = (seconds * 1_000) / 3;
const mean = [0.485, 0.456, 0.406];
const deviation = [0.229, 0.224, 0.225];
const pixels = picture(size, size);
const planes = planesOf(pixels, size, size).data as Float32Array;
const rowsOf = (plane: Float32Array) =>
  Array.from({ length: size }, (_, y) => [...plane.subarray(y * size, (y + 1) * size)]);
const nested = [0, 1, 2].map((channel) =>
  rowsOf(planes.subarray(channel * size * size, (channel + 1) * size * size)),
);
const json: Call = {
  path: "/score",
  type: "application/json",
  body: Buffer.from(JSON.stringify({ data: [nested] })),
};
const binary: Call = {
  path: "/score",
  type: "application/octet-stream",
  headers: { "tensor-shape": "1,3,224,224", "tensor-type": "uint8" },
  body: Uint8Array.from(planes),
};

const folder = mkdtempSync(join(tmpdir(), "headgate-infer-"));
const children = new Children();
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

function measureParsing(): void {
  const [scans, parses]: [number[], number[]] = [[], []];
  for (let i = 0; i < 100; i++) {
    const buffer = Buffer.from(json.body);
    let beganMs = performance.now();
    scanNumbers(buffer);
    scans.push(performance.now() - beganMs);
    beganMs = performance.now();
    JSON.parse(buffer.toString("utf8"));
    parses.push(performance.now() - beganMs);
  }
  tell({ name: "reading the 150,528 numbers of a request", value: median(scans), unit: "ms" });
  const ratio = median(parses.map((parse, i) => parse / (scans[i] ?? 1)));
  tell({ name: "JSON.parse of the same body, over that", value: ratio, unit: "×", atLeast: 1.5 });
}

type Way = "bare" | "json" | "bareJson" | "binary" | "bareBinary" | "bareImage" | "image";
type Times = Readonly<Record<Way, readonly number[]>>;

/** How long single requests take, and bare calls of the runtime, in ms by round. */
async function requestTimes(model: string, url: string, bareUrl: string, count: number): Promise<Times> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: threads });
  const shape = [1, 3, size, size];
  const normalised = (data: Float32Array) =>
    normalise(data, shape, { kind: "perChannel", mean, deviation }) ?? data;
  const tensor = new Tensor("float32", normalised(Float32Array.from(planes)), shape);
  const run = async (given: Tensor) => await session.run({ [session.inputNames[0] ?? ""]: given });
  const camera = { raw: { width: 1_920, height: 1_080, channels: 3 } } as const;
  const jpeg = await sharp(picture(1_920, 1_080), camera).jpeg({ quality: 90 }).toBuffer();
  const image: Call = { path: "/classify", type: "image/jpeg", body: jpeg };
  sharp.concurrency(1);
  const bareClassify = async () => {
    const resized = sharp(jpeg)
      .autoOrient()
      .resize(size, size, { fit: "fill", kernel: "linear" })
      .removeAlpha();
    const found = planesOf(await resized.raw().toBuffer(), size, size).data as Float32Array;
    return await run(new Tensor("float32", normalised(found), shape));
  };
  const agent = new Agent({ keepAlive: true });
  const ways: Record<Way, () => Promise<unknown>> = {
    bare: () => run(tensor),
    json: () => send(agent, url, json),
    bareJson: () => send(agent, bareUrl, json),
    binary: () => send(agent, url, binary),
    bareBinary: () => send(agent, bareUrl, binary),
    bareImage: bareClassify,
    image: () => send(agent, url, image),
  };
  const names = Object.keys(ways) as Way[];
  const times = Object.fromEntries(names.map((way) => [way, [] as number[]])) as Record<Way, number[]>;
  const random = randomFrom(2);
  // The first warm up.
  for (let round = -2; round < count; round++) {
    // By chance, and after a rest: garbage that one leaves behind is collected beside what comes next.
    for (const way of shuffled(names, random)) {
      await sleep(50);
      const ms = await timed(ways[way]);
      if (round >= 0) times[way].push(ms);
    }
  }
  agent.destroy();
  await session.release();
  return times;
}

async function measureRequests(model: string, url: string, bareUrl: string): Promise<void> {
  // A single request is short, so that noise is large beside what is asked: five times the rounds.
  const times = await requestTimes(model, url, bareUrl, 5 * rounds);
  const ratio = (a: Way, b: Way) => median(times[a].map((ms, i) => ms / (times[b][i] ?? Number.NaN)));
  tell({ name: "a bare run", value: median(times.bare), unit: "ms" });
  tell({ name: "/score with JSON, over that", value: ratio("json", "bare"), unit: "×", atMost: 1.25 });
  tell({ name: "/score with bytes, over that", value: ratio("binary", "bare"), unit: "×", atMost: 1.03 });
  tell({ name: "  of a bare HTTP server: JSON", value: ratio("bareJson", "bare"), unit: "×" });
  tell({ name: "  of a bare HTTP server: bytes", value: ratio("bareBinary", "bare"), unit: "×" });
  tell({ name: "bare decoding of a 1080p JPEG and run", value: median(times.bareImage), unit: "ms" });
  tell({
    name: "/classify of the same, over that",
    value: ratio("image", "bareImage"),
    unit: "×",
    atMost: 1.1,
  });
}

/** What a request takes beside the run: of a model so small that the machine's noise in its run does not hide it. */
async function measureOverhead(): Promise<void> {
  const small = join(folder, "small.onnx");
  writeModel(small, resNet({ width: 4, seed: 1 }));
  const gateway = await startGateway(join(folder, "small"), { file: small, threads }, children);
  const bare = await startBare(small, threads, children);
  const times = await requestTimes(small, gateway.url, bare.url, 10 * rounds);
  await Promise.all([gateway.stop(), bare.stop()]);
  const more = (a: Way, b: Way) => median(times[a].map((ms, i) => ms - (times[b][i] ?? Number.NaN)));
  tell({ name: "what /score with JSON takes beside the run", value: more("json", "bare"), unit: "ms" });
  tell({ name: "  of a bare HTTP server", value: more("bareJson", "bare"), unit: "ms" });
  tell({ name: "what /score with bytes takes beside the run", value: more("binary", "bare"), unit: "ms" });
  tell({ name: "  of a bare HTTP server", value: more("bareBinary", "bare"), unit: "ms" });
  tell({
    name: "what /classify takes beside decoding and run",
    value: more("image", "bareImage"),
    unit: "ms",
  });
}

async function measureThroughput(bare: string, gateway: string): Promise<void> {
  for (const clients of [1, 4, 16]) {
    const ratios: number[] = [];
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const of = await throughput(bare, json, clients, sliceMs);
      const our = await throughput(gateway, json, clients, sliceMs);
      rates.push(our);
      ratios.push(our / of);
    }
    tell({ name: `requests/s of ${clients} clients`, value: median(rates), unit: "/s" });
    const name = `  over those of a bare server, ${clients} clients`;
    tell({ name, value: median(ratios), unit: "×", atLeast: 0.95 });
  }
}

/** Of requests with bytes, which leave nearly all of the time to the model. */
async function measureBatching(plain: string, batching: string): Promise<void> {
  for (const clients of [4, 16]) {
    const ratios: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const alone = await throughput(plain, binary, clients, sliceMs);
      ratios.push((await throughput(batching, binary, clients, sliceMs)) / alone);
    }
    const name = `requests/s with maxBatch 8 over those without, ${clients} clients`;
    tell({ name, value: median(ratios), unit: "×" });
  }
}

async function measureSensors(url: string): Promise<void> {
  const idle = await sensorP99(url, seconds * 1_000);
  const load = throughput(url, binary, 4, seconds * 1_000 + 500);
  const busy = await sensorP99(url, seconds * 1_000);
  await load;
  tell({ name: "a reading until it is durable, idle, 99th percentile", value: idle, unit: "ms" });
  tell({
    name: "  while four clients are scored",
    value: busy,
    unit: "ms",
    atMost: 2 * idle + 10,
  });
}

process.env.ORT_DISABLE_TELEMETRY = "1";
const model = join(folder, "model.onnx");
writeModel(model, resNet({ width, seed: 1 }));
measureParsing();
await measureOverhead();
const empty = await startGateway(join(folder, "empty"), undefined, children);
const emptyMb = figuresOf(empty.pid).rssBytes / 1e6;
await empty.stop();
const gateway = await startGateway(join(folder, "gateway"), { file: model, threads }, children);
tell({ name: "memory of a gateway without a model", value: emptyMb, unit: "MB" });
tell({ name: "memory with the model loaded", value: figuresOf(gateway.pid).rssBytes / 1e6, unit: "MB" });
const bare = await startBare(model, threads, children);
await measureRequests(model, gateway.url, bare.url);
await measureThroughput(bare.url, gateway.url);
await bare.stop();
const batching = await startGateway(
  join(folder, "batching"),
  { file: model, threads, maxBatch: 8 },
  children,
);
await measureBatching(gateway.url, batching.url);
await batching.stop();
await measureSensors(gateway.url);
tell({ name: "memory after all that", value: figuresOf(gateway.pid).rssBytes / 1e6, unit: "MB" });
await gateway.stop();
if (values.json) process.stdout.write(`${JSON.stringify({ width, threads, rounds, lines })}\n`);
process.exit(0);
