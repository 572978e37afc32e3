/** Scorers elsewhere that are not there, or not any more: real servers on the loopback. */
import { createServer } from "node:net";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/core/clock.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { impatientClock, probabilitiesOf, runningModel } from "./running-model.ts";
import { good, image, json, never, remote, scorer } from "./scripted-scorer.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

describe("a scorer that cannot be reached", () => {
  test("is waited for, says why, and who asks meanwhile does not wait", async () => {
    const { port, away } = await scorer(good);
    await away();
    let pauses = 0;
    const clock: Clock = {
      ...impatientClock,
      sleep: (ms, signal) => {
        pauses++;
        return impatientClock.sleep(ms, signal);
      },
    };
    const { model, state, ask, log } = runningModel(folder, remote(`http://localhost:${port}`), clock);
    await state("failed");
    await until("it is tried again and again", () => pauses > 3);
    // That it failed; after the first time it is news no more.
    expect(log.lines).toHaveLength(1);
    expect(model.status.reason).toMatch(/^http:\/\/localhost:\d+\/score: .*ECONNREFUSED/);
    expect(probabilitiesOf(await ask(image()))).toBe("notReady");
    await scorer(good, port);
    await state("ready");
    expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
  });

  test("any more costs the request, is told, and is found again", async () => {
    const there = await scorer(good);
    const { model, state, ask } = runningModel(folder, remote(there.url), impatientClock);
    await state("ready");
    await there.away();
    expect(await ask(image())).toMatchObject({
      refusal: "lost",
      message: expect.stringContaining("ECONNREFUSED"),
    });
    expect(model.status).toMatchObject({ state: "failed", engine: undefined });
    expect(model.status.reason).toContain("ECONNREFUSED");
    await scorer(good, there.port);
    await state("ready");
    expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
    expect(model.status.counts).toMatchObject({ scored: 1, failed: 1 });
  });

  test("because its answer breaks off is asked anew from the start", async () => {
    const { url, answers, asked } = await scorer(good);
    const { state, ask } = runningModel(folder, remote(url), impatientClock);
    await state("ready");
    answers((response) => {
      answers(good);
      response.writeHead(200, { "content-length": 1_000 });
      response.write('{"result":[0.', () => response.destroy());
    });
    expect(probabilitiesOf(await ask(image()))).toBe("lost");
    await state("ready");
    // It was tried again, and the request not.
    expect(asked).toHaveLength(3);
  });

  test("speaks no HTTP, or speaks of another protocol, and is none", async () => {
    const server = createServer((socket) => socket.on("error", () => socket.destroy()).end("220 ESMTP\r\n"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => server.close() && undefined);
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const { model, state } = runningModel(folder, remote(`http://127.0.0.1:${port}`), impatientClock);
    await state("failed");
    expect(model.status.reason).toContain("/score: ");
    const switching = await scorer(json("", 101, { upgrade: "websocket", connection: "upgrade" }));
    const { state: other } = runningModel(folder, remote(switching.url), impatientClock);
    await other("failed");
  });

  test("has closed an idle connection just when a request sets out: the request takes another one", async () => {
    const { url, answers, connections } = await scorer(good);
    const { model, state, ask } = runningModel(folder, remote(url));
    await state("ready");
    answers((_, __, request) => {
      answers(good);
      request.socket.destroy();
    });
    expect(probabilitiesOf(await ask(image()))).toHaveLength(3);
    expect(connections()).toBe(2);
    expect(model.status.counts).toMatchObject({ scored: 1, failed: 0 });
  });

  test("in time is given up, and its connection closed", async () => {
    const { url, answers, asked } = await scorer(good);
    const { model, state, ask } = runningModel(folder, { ...remote(url), timeoutMs: 500 }, impatientClock);
    await state("ready");
    answers(never);
    expect(probabilitiesOf(await ask(image()))).toBe("lost");
    expect(model.status.reason).toContain("500 ms");
    await until("it is closed", () => asked[1]?.request.socket.destroyed === true);
    await until("it is tried", () => asked.length > 2);
    await state("failed");
    answers(good);
    await state("ready");
  });
});

test("a scorer that is gone is told of, although nobody asks it", async () => {
  const there = await scorer(good);
  const { model, state } = runningModel(folder, remote(there.url, { intervalMs: 100 }), impatientClock);
  await state("ready");
  // What it answers to that does not matter.
  there.answers(json("", 405));
  await until(
    "it is looked at",
    () => there.asked.filter(({ request }) => request.method === "GET").length > 2,
  );
  expect(model.status.state).toBe("ready");
  await there.away();
  await state("failed");
  expect(model.status.reason).toContain("ECONNREFUSED");
  await scorer(good, there.port);
  await state("ready");
});

test("a stop while it is waited for ends the waiting", async () => {
  const { url, asked } = await scorer(never);
  const { model } = runningModel(folder, remote(url));
  await until("it is asked", () => asked.length === 1);
  await model.stop();
  await until("nobody waits", () => asked[0]?.request.socket.destroyed === true);
  expect(model.status.state).toBe("stopped");
});
