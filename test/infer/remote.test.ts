/** Scorers elsewhere, well-behaved and not: real servers on the loopback. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { isRefusal } from "../../src/infer/refusal.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import {
  impatientClock,
  modelConfig,
  probabilitiesOf,
  runningModel,
  scoreBody,
  scoreTask,
} from "./running-model.ts";
import { type Answer, good, image, json, never, remote, scorer } from "./scripted-scorer.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

describe("a scoring container", () => {
  test("gets the values as they came, over one connection, and its probabilities are passed on", async () => {
    const { url, asked, connections } = await scorer(good);
    const config = { ...remote(url, { token: { env: "TOKEN" } }), score: { normalisation: "perChannel" } };
    const { model, state, ask } = runningModel(folder, config, undefined, { TOKEN: "t0ken" });
    await state("ready");
    expect(model.status).toMatchObject({
      engine: "remote",
      sha256: undefined,
      threads: undefined,
      inputs: [{ name: "data", type: "float32", shape: ["N", 3, 2, 2] }],
      outputs: [{ name: "result", type: "float32", shape: ["N", 3] }],
    });
    const mean = [0.5, 0.5, 0.5];
    const task = { ...image(), normalisation: { kind: "perChannel", mean, deviation: mean } };
    expect(probabilitiesOf(await ask(task as never))).toEqual(Float32Array.of(0.25, 0.5, 0.25));
    const [zeros, values] = asked.map(({ body }) => JSON.parse(body));
    expect(zeros).toEqual({
      data: [
        [
          [
            [0, 0],
            [0, 0],
          ],
          [
            [0, 0],
            [0, 0],
          ],
          [
            [0, 0],
            [0, 0],
          ],
        ],
      ],
    });
    const planes = [
      [
        [0, 20],
        [40, 60],
      ],
      [
        [80, 100],
        [120, 140],
      ],
      [
        [160, 180],
        [200, 220],
      ],
    ];
    expect(values).toEqual({ data: [planes] });
    for (const { request, path } of asked) {
      expect(path).toBe("/score");
      expect(request.method).toBe("POST");
      expect(request.headers).toMatchObject({
        authorization: "Bearer t0ken",
        "content-type": "application/json",
      });
    }
    expect(connections()).toBe(1);
  });

  test("answers several images with a row each, and one with or without its row", async () => {
    const { url, answers } = await scorer(good);
    const { state, ask } = runningModel(folder, remote(url));
    await state("ready");
    const batch = scoreTask(scoreBody([2, 3, 2, 2], () => 1));
    answers(
      json({
        result: [
          [0.25, 0.5, 0.25],
          [1, 0, 0],
        ],
      }),
    );
    expect(probabilitiesOf(await ask(batch))).toEqual(Float32Array.of(0.25, 0.5, 0.25, 1, 0, 0));
    answers(json({ result: [[1, 0, 0]] }));
    expect(probabilitiesOf(await ask(image()))).toEqual(Float32Array.of(1, 0, 0));
    expect(probabilitiesOf(await ask(batch))).toBe("remoteFailed");
  });

  test("of other classes than there are labels is refused", async () => {
    const labels = join(folder, "labels.json");
    writeFileSync(labels, JSON.stringify({ 0: ["a", "ash"], 1: ["b", "beech"] }));
    const { url } = await scorer(good);
    const { model, state } = runningModel(folder, { ...remote(url), labels });
    await state("failed");
    expect(model.status.reason).toContain("2 labels, and the model has 3 classes");
  });

  test("of other classes than before is another one: it is tried anew, and with labels refused", async () => {
    const labels = join(folder, "labels.json");
    writeFileSync(labels, JSON.stringify({ 0: ["a", "ash"], 1: ["b", "beech"], 2: ["c", "cedar"] }));
    const { url, answers } = await scorer(good);
    const plain = runningModel(folder, remote(url), impatientClock);
    const labelled = runningModel(folder, { ...remote(url), labels }, impatientClock);
    for (const { state } of [plain, labelled]) await state("ready");
    answers(json({ result: [0.5, 0.5] }));
    for (const { ask } of [plain, labelled]) {
      const message = expect.stringMatching(/2 classes, and had 3 before$/);
      expect(await ask(image())).toMatchObject({ refusal: "lost", message });
    }
    await plain.state("ready");
    expect(probabilitiesOf(await plain.ask(image()))).toHaveLength(2);
    const reason = "there are 3 labels, and the model has 2 classes";
    await until("it is refused", () => labelled.model.status.reason === reason);
    expect(labelled.model.status.state).toBe("failed");
    answers(good);
    await labelled.state("ready");
  });

  test("does not speak V2", async () => {
    const { url } = await scorer(good);
    const { state, ask } = runningModel(folder, remote(url));
    await state("ready");
    const answer = await ask({ kind: "v2", body: Buffer.from('{"inputs":[]}'), model: "m" });
    expect(answer).toMatchObject({ refusal: "unsuitableModel" });
  });

  test("whose answers are none, or no success, is told of each time, and asked again", async () => {
    const page = "<!doctype html><title>It works!</title>";
    const result = (value: unknown) => json({ result: value });
    const cases: [string, Answer, string, RegExp][] = [
      [
        "an error with 200",
        json({ error: "CUDA is out of\n memory" }),
        "modelFailed",
        /: CUDA is out of memory$/,
      ],
      ["nothing", json(""), "remoteFailed", /is not JSON$/],
      ["a page", json(page), "remoteFailed", /is not JSON$/],
      ["no result", json({ time: 1 }), "remoteFailed", /no object with a list/],
      ["a list", json([0.5, 0.5]), "remoteFailed", /no object with a list/],
      ["Python's NaN", json('{"result":[NaN,0.5,0.5]}'), "remoteFailed", /is not JSON$/],
      ["null", result([null, 0.5, 0.5]), "remoteFailed", /`result\[0\]` is no number/],
      ["raw scores", result([3.5, 0.5, -1]), "remoteFailed", /3\.5, which is no probability/],
      ["less than nothing", result([0.5, 0.5, -1]), "remoteFailed", /-1, which is no probability/],
      ["infinity", json('{"result":[1e999,0,0]}'), "remoteFailed", /Infinity, which is no probability/],
      ["an image too many", result([[1], [1]]), "remoteFailed", /\[2,1\] for 1 images/],
      ["uneven rows", result([[0.5], [0.5, 0.5]]), "remoteFailed", /`result\[1\]` is 2/],
      ["no class", result([]), "remoteFailed", /`result` holds no number/],
      ["404", json(page, 404), "remoteFailed", /answers 404: <!doctype/],
      ["401", json({ error: "no token" }, 401), "remoteFailed", /answers 401: no token$/],
      ["500 with words without end", json("x".repeat(100_000), 500), "remoteFailed", /^.{200,300}$/],
      ["400", json({ error: "shape" }, 400), "modelFailed", /answers 400: shape$/],
      ["413", json("", 413), "modelFailed", /answers 413$/],
      ["429", json("", 429, { "retry-after": "7" }), "busy 7", /answers 429$/],
      ["503", json("", 503), "busy 1", /answers 503$/],
      ["503 for a year", json("", 503, { "retry-after": "31536000" }), "busy 60", /answers 503$/],
      ["502", json(page, 502), "busy 1", /answers 502: </],
      ["201", json({ result: [1, 0, 0] }, 201), "remoteFailed", /answers 201/],
    ];
    const { url, answers } = await scorer(good);
    const { model, state, ask } = runningModel(folder, remote(url));
    await state("ready");
    for (const [what, answer, refusal, message] of cases) {
      answers(answer);
      const refused = await ask(image());
      if (!isRefusal(refused)) throw new Error(`${what} is taken for an answer`);
      const { retryAfterS = "" } = refused;
      expect([what, `${refused.refusal} ${retryAfterS}`.trim()]).toEqual([what, refusal]);
      expect(refused.message).toMatch(message);
      answers(good);
      expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
    }
    expect(model.status).toMatchObject({ state: "ready", reason: undefined, inside: 0 });
  });

  test("that redirects is not followed", async () => {
    const other = await scorer(good);
    const { url, answers } = await scorer(good);
    const { state, ask } = runningModel(folder, remote(url));
    await state("ready");
    answers(json("", 307, { location: `${other.url}/score` }));
    const refused = await ask(image());
    expect(refused).toMatchObject({ refusal: "remoteFailed" });
    expect(isRefusal(refused) && refused.message).toContain("redirects are not followed");
    expect(other.asked).toEqual([]);
  });

  test("that sends without end is read no further than the bound", async () => {
    const { url, answers } = await scorer(good);
    const { state, ask } = runningModel(folder, remote(url));
    await state("ready");
    let sent = 0;
    let isClosed = false;
    answers((response) => {
      response.on("close", () => {
        isClosed = true;
      });
      const more = () => {
        while (!isClosed && response.write(Buffer.alloc(1_048_576, "1"))) sent++;
        sent++;
      };
      response.on("drain", more);
      more();
    });
    const refused = await ask(image());
    expect(isRefusal(refused) && refused.message).toContain("more than 67108864 bytes");
    await until("the connection is closed", () => isClosed);
    expect(sent).toBeLessThan(256);
    answers(good);
    expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
  });
});

test("a caller that goes away ends its request at the other end, and costs nothing else", async () => {
  const { url, answers, asked } = await scorer(good);
  const { model, state, ask } = runningModel(folder, remote(url));
  await state("ready");
  answers(never);
  const gone = new AbortController();
  const answer = ask(image(), gone.signal);
  await until("it is asked", () => asked.length === 2);
  gone.abort();
  expect(probabilitiesOf(await answer)).toBe("cancelled");
  await until("its request is over", () => asked[1]?.request.socket.destroyed === true);
  answers(good);
  expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
  expect(model.status).toMatchObject({
    state: "ready",
    inside: 0,
    counts: { cancelled: 1, failed: 0, scored: 1 },
  });
});

test("requests go one at a time, and no more wait than may", async () => {
  const { url, answers, asked } = await scorer(good);
  const { state, ask } = runningModel(folder, { ...remote(url), maxQueue: 1 });
  await state("ready");
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  answers((...call) => void opened.then(() => good(...call)));
  const both = Promise.all([ask(image()), ask(image())]);
  expect(probabilitiesOf(await ask(image()))).toBe("busy");
  await until("the first is asked", () => asked.length === 2);
  open();
  for (const answer of await both) expect(probabilitiesOf(answer)).toHaveLength(3);
  expect(asked).toHaveLength(3);
});

test("what another server says while it is tried does not reach the status", async () => {
  const { url } = await scorer(json("root:x:0:0", 400));
  const { model, state, log } = runningModel(folder, remote(url));
  await state("failed");
  expect(model.status.reason).toMatch(/answers 400$/);
  expect(JSON.stringify(log.lines)).not.toContain("root");
});

test("a token that cannot be read keeps it from use, and says which", async () => {
  const { url, asked } = await scorer(good);
  const { model, state } = runningModel(folder, remote(url, { token: { env: "NONE" } }));
  await state("failed");
  expect(model.status.reason).toContain("NONE");
  expect(asked).toEqual([]);
});

test("it takes the place of another model when it answers, and not before", async () => {
  const [one, two] = [await scorer(good), await scorer(json("", 500))];
  const { model, state, ask } = runningModel(folder, remote(one.url), impatientClock);
  await state("ready");
  model.configure(modelConfig({ ...remote(two.url) }));
  await until("it is refused", () => model.status.reason !== undefined);
  expect(model.status.state).toBe("ready");
  expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
  two.answers(json({ result: [1, 0] }));
  await until("it is content", () => model.status.reason === undefined);
  expect(probabilitiesOf(await ask(image()))).toEqual(Float32Array.of(1, 0));
});
