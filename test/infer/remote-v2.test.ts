/** Servers of the V2 protocol, well-behaved and not: a real server that answers what the test says. */
import { beforeEach, expect, test, vi } from "vitest";
import { isRefusal } from "../../src/infer/refusal.ts";
import { readV2Metadata } from "../../src/infer/v2-client.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { served } from "../support/served.ts";
import { until } from "../support/until.ts";
import { impatientClock, probabilitiesOf, runningModel, scoreBody, scoreTask } from "./running-model.ts";

/** A model that is tried anew starts another thread, a dozen times in one test, on a busy machine. */
vi.setConfig({ testTimeout: 120_000 });

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

interface Script {
  ready: { readonly status: number; readonly body?: object };
  metadata: unknown;
  infer: unknown;
}

const images = { name: "images", datatype: "FP32", shape: [-1, 3, 2, 2] };
const scores = { name: "scores", datatype: "FP32", shape: [-1, 2] };
const boxes = { name: "boxes", datatype: "INT64", shape: [-1, 4] };
const answered = { name: "scores", datatype: "FP32", shape: [1, 2], data: [0, Math.log(3)] };
const found = { name: "boxes", datatype: "INT64", shape: [1, 4], data: [1, 2, 3, 4] };

/** A server with one model, `there`. */
async function server(more: Partial<Script> = {}) {
  const script: Script = {
    ready: { status: 200 },
    metadata: { name: "there", platform: "x", inputs: [images], outputs: [scores] },
    infer: { model_name: "there", outputs: [answered] },
    ...more,
  };
  const asked: { readonly path: string; readonly body: string }[] = [];
  const { url } = await served((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (text: string) => {
      body += text;
    });
    request.on("end", () => {
      const path = `${request.method} ${request.url}`;
      asked.push({ path, body });
      const tell = (value: unknown) => response.end(JSON.stringify(value));
      if (path === "GET /x/v2/models/there/ready") {
        const { status, body: said } = script.ready;
        response.writeHead(status).end(said && JSON.stringify(said));
      } else if (path === "GET /x/v2/models/there") tell(script.metadata);
      else if (path === "POST /x/v2/models/there/infer") tell(script.infer);
      else response.writeHead(404).end();
    });
  });
  return { url: `${url}/x`, script, asked };
}

const remote = (url: string, more: object = {}) => ({
  remote: { protocol: "v2", url, model: "there", ...more },
});
const half = [0.5, 0.5, 0.5];
const image = () =>
  scoreTask(
    scoreBody([1, 3, 2, 2], () => 255),
    {
      normalisation: { kind: "perChannel", mean: half, deviation: half },
    },
  );
const v2 = (body: object) => ({
  kind: "v2" as const,
  body: Buffer.from(JSON.stringify(body)),
  model: "here",
});
const inputs = [{ ...images, shape: [1, 3, 2, 2], data: new Array(12).fill(1) }];

test("gets tensors as a model here would, and the soft-max is made here", async () => {
  const { url, asked } = await server();
  const { model, state, ask } = runningModel(folder, remote(`${url}/`));
  await state("ready");
  expect(model.status).toMatchObject({
    engine: "remote",
    inputs: [{ name: "images", type: "float32", shape: ["?", 3, 2, 2] }],
    outputs: [{ name: "scores", type: "float32", shape: ["?", 2] }],
  });
  const probabilities = probabilitiesOf(await ask(image()));
  expect([...(probabilities as Float32Array)].map((p) => p.toFixed(6))).toEqual(["0.250000", "0.750000"]);
  expect(asked.map(({ path }) => path)).toEqual([
    "GET /x/v2/models/there/ready",
    "GET /x/v2/models/there",
    "POST /x/v2/models/there/infer",
    "POST /x/v2/models/there/infer",
  ]);
  expect(asked.slice(2).map(({ body }) => JSON.parse(body))).toEqual([
    { inputs: [{ ...images, shape: [1, 3, 2, 2], data: new Array(12).fill(0) }] },
    {
      inputs: [{ ...images, shape: [1, 3, 2, 2], data: new Array(12).fill(1) }],
      outputs: [{ name: "scores" }],
    },
  ]);
});

test("tensors of the caller go there and come back by the name of the model here", async () => {
  const outputs = [answered, found];
  const metadata = { inputs: [images], outputs: [scores, boxes] };
  const { url, asked, script } = await server({ metadata, infer: { outputs } });
  const { state, ask } = runningModel(folder, remote(url));
  await state("ready");
  const told = async (body: object) => {
    const answer = await ask(v2(body));
    if (isRefusal(answer)) return answer;
    return answer.outcome.kind === "v2" && JSON.parse(answer.outcome.json);
  };
  expect(await told({ id: "7", inputs })).toMatchObject({
    model_name: "here",
    id: "7",
    outputs: [{ ...answered, data: [0, expect.closeTo(Math.log(3), 6)] }, found],
  });
  script.infer = { outputs: [found] };
  expect(await told({ inputs, outputs: [{ name: "boxes" }] })).toMatchObject({ outputs: [found] });
  expect(JSON.parse(asked.at(-1)?.body ?? "")).toEqual({ inputs, outputs: [{ name: "boxes" }] });
  // What does not fit is refused here, and nobody asked.
  const before = asked.length;
  expect(await told({ inputs: [{ ...inputs[0], name: "pixels" }] })).toMatchObject({
    refusal: "unknownTensor",
  });
  expect(asked).toHaveLength(before);
});

test("the scores are where `output` says", async () => {
  const metadata = { inputs: [images], outputs: [boxes, scores] };
  const { url } = await server({ metadata, infer: { outputs: [found, answered] } });
  const first = runningModel(folder, remote(url));
  await first.state("ready");
  expect(probabilitiesOf(await first.ask(image()))).toBe("unsuitableModel");
  const named = runningModel(folder, remote(url, { output: "scores" }));
  await named.state("ready");
  expect(probabilitiesOf(await named.ask(image()))).toHaveLength(2);
  const wrong = runningModel(folder, remote(url, { output: "logits" }));
  await wrong.state("failed");
  expect(wrong.model.status.reason).toContain('no output "logits"');
});

test("a model whose metadata are none is not taken, and is when they are mended", async () => {
  const cases: [string, Partial<Script>, string][] = [
    ["not ready by status", { ready: { status: 400 } }, "answers 400"],
    ["not ready by word", { ready: { status: 200, body: { ready: false } } }, "not ready there"],
    ["no metadata", { metadata: [] }, "no object"],
    ["no inputs", { metadata: { inputs: [], outputs: [scores] } }, "`inputs` of the metadata"],
    ["no outputs", { metadata: { inputs: [images] } }, "`outputs` of the metadata"],
    [
      "a name without end",
      { metadata: { inputs: [images], outputs: [{ ...scores, name: "x".repeat(1_000) }] } },
      "outputs[0]",
    ],
    ["a nameless input", { metadata: { inputs: [{ ...images, name: 1 }], outputs: [scores] } }, "inputs[0]"],
    [
      "no shape",
      { metadata: { inputs: [{ ...images, shape: null }], outputs: [scores] } },
      "inputs[0].shape` of the metadata is no list",
    ],
    [
      "a shape beyond all measure",
      { metadata: { inputs: [{ ...images, shape: [1, 3, 2 ** 20, 2 ** 20] }], outputs: [scores] } },
      "inputs[0].shape` of the metadata is too large to be tried",
    ],
    [
      "texts",
      { metadata: { inputs: [{ ...images, datatype: "BYTES" }], outputs: [scores] } },
      "of type BYTES",
    ],
    ["an answer without outputs", { infer: {} }, "list `outputs`"],
  ];
  const { url, script } = await server({ ready: { status: 400 } });
  const { model, state } = runningModel(folder, remote(url), impatientClock);
  const whole = (await server()).script;
  for (const [what, more, reason] of cases) {
    Object.assign(script, whole, more);
    await until(`it is refused for ${what}`, () => model.status.reason?.includes(reason) === true);
    expect([what, model.status.state]).toEqual([what, "failed"]);
  }
  Object.assign(script, whole);
  await state("ready");
});

test("tensors that are too large together are not tried, either", () => {
  const many = (tensor: object, shape: readonly number[], count: number) =>
    Array.from({ length: count }, (_, i) => ({ ...tensor, name: `${i}`, shape }));
  const read = (inputs: object[], outputs: object[]) => readV2Metadata({ inputs, outputs });
  const [half, fourth] = [many(images, [1, 2, 2_048, 2_048], 3), many(scores, [-1, 4_194_304], 5)];
  expect(read(half, [scores])).toMatchObject({
    refusal: "badShape",
    message: expect.stringContaining("inputs[2].shape` of the metadata is too large to be tried"),
  });
  expect(read([images], fourth)).toMatchObject({
    refusal: "badShape",
    message: expect.stringContaining("outputs[4].shape` of the metadata is too large to be tried"),
  });
  expect(read(half.slice(1), fourth.slice(1))).not.toHaveProperty("refusal");
});

test("an answer that is none is told of, and the model asked again", async () => {
  const cases: [string, unknown, string][] = [
    ["no outputs", {}, "list `outputs`"],
    ["too few numbers", { outputs: [{ ...answered, data: [1] }] }, "has 1 elements"],
    ["null for NaN", { outputs: [{ ...answered, data: [null, 1] }] }, "is no FP32"],
    [
      "other images",
      { outputs: [{ ...answered, shape: [3, 2], data: [1, 2, 3, 4, 5, 6] }] },
      "3 rows of scores for 1 images",
    ],
  ];
  const { url, script } = await server();
  const { model, state, ask } = runningModel(folder, remote(url));
  await state("ready");
  const before = script.infer;
  for (const [what, infer, reason] of cases) {
    script.infer = infer;
    const refused = await ask(image());
    expect([what, refused]).toMatchObject([what, { refusal: "remoteFailed" }]);
    expect(isRefusal(refused) && refused.message).toContain(reason);
    script.infer = before;
    expect(probabilitiesOf(await ask(image()))).toHaveLength(2);
  }
  expect(model.status.state).toBe("ready");
});

test("an answer that does not fit the metadata is of another model, which is tried anew", async () => {
  const cases: [string, unknown, string][] = [
    ["another output", { outputs: [{ ...answered, name: "other" }] }, 'no output "scores"'],
    ["texts", { outputs: [{ ...answered, datatype: "BYTES", data: ["a", "b"] }] }, "is none of"],
  ];
  const { url, script } = await server();
  const { model, state, ask } = runningModel(folder, remote(url), impatientClock);
  await state("ready");
  const before = script.infer;
  for (const [what, infer, reason] of cases) {
    script.infer = infer;
    expect([what, await ask(image())]).toMatchObject([
      what,
      { refusal: "lost", message: expect.stringContaining(reason) },
    ]);
    script.infer = before;
    await state("ready");
  }
  script.metadata = { inputs: [images], outputs: [{ ...scores, shape: [-1, 3] }] };
  script.infer = { outputs: [{ ...answered, shape: [1, 3], data: [1, 2, 3] }] };
  expect(probabilitiesOf(await ask(image()))).toBe("lost");
  await state("ready");
  expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
  expect(model.status.outputs).toMatchObject([{ name: "scores", shape: ["?", 3] }]);
});

test("metadata that changed are found, although nobody asks; another order of tensors is no change", async () => {
  const metadata = { inputs: [images], outputs: [scores, boxes] };
  const infer = { outputs: [answered, found] };
  const { url, script, asked } = await server({ metadata, infer });
  const { model, log, state } = runningModel(folder, remote(url, { intervalMs: 100 }), impatientClock);
  await state("ready");
  script.metadata = { inputs: [images], outputs: [boxes, scores] };
  const before = asked.length;
  await until("it is looked at again and again", () => asked.length > before + 6);
  expect([model.status.state, log.lines.filter(({ level }) => level === "warn")]).toEqual(["ready", []]);
  script.infer = { outputs: [{ ...answered, shape: [1, 3], data: [1, 2, 3] }] };
  script.metadata = { inputs: [images], outputs: [{ ...scores, shape: [-1, 3] }] };
  await until("it is taken", () => model.status.outputs[0]?.shape[1] === 3);
  await state("ready");
});

test("a model that is not ready any more is told of, although nobody asks it", async () => {
  const { url, script } = await server();
  const { model, state } = runningModel(folder, remote(url, { intervalMs: 100 }), impatientClock);
  await state("ready");
  script.ready = { status: 200, body: { ready: false } };
  await state("failed");
  expect(model.status.reason).toContain("not ready there");
  script.ready = { status: 200, body: { ready: true } };
  await state("ready");
});

test("a model that is not ready is asked for, and for nothing else", async () => {
  const { url, asked } = await server({ ready: { status: 503 } });
  const { state } = runningModel(folder, remote(url), impatientClock);
  await state("failed");
  await until("it is asked again", () => asked.length > 2);
  expect(new Set(asked.map(({ path }) => path))).toEqual(new Set(["GET /x/v2/models/there/ready"]));
});
