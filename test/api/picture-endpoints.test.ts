/** Kept pictures on their way to clients that read, and to those that do not: a real server and real connections. */
import { request as ask } from "node:http";
import { connect, type Socket } from "node:net";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { ApiError } from "../../src/api/api-error.ts";
import { PictureEndpoints } from "../../src/api/picture-endpoints.ts";
import { answer } from "../../src/api/request-body.ts";
import { systemClock } from "../../src/core/clock.ts";
import { KeptPictures } from "../../src/pictures/kept-pictures.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { served } from "../support/served.ts";
import { until } from "../support/until.ts";

let kept: KeptPictures;
beforeEach(() => {
  kept = new KeptPictures(temporaryFolder(), systemClock);
});

const mebibyte = 1_048_576;

/** Serves one picture; tells the statuses that were answered, whether anybody read them or not. */
async function pictureOf(mebibytes: number, patienceMs?: number) {
  const picture = { bytes: new Uint8Array(mebibytes * mebibyte).fill(0xff), identity: "a", scores: [] };
  await kept.keep("gate", { maxFiles: 1, maxBytes: 1_000 * mebibyte }, picture);
  const [{ name = "" } = {}] = await kept.list("gate", undefined, 1);
  const endpoints = new PictureEndpoints(kept, patienceMs);
  const statuses: number[] = [];
  const { url, port } = await served(async (request, response) => {
    const { pathname } = new URL(request.url ?? "", "http://localhost");
    const found = endpoints.find(pathname);
    const { status, body } = await Promise.resolve(
      found?.answer(request, response, new URL(pathname, "http://localhost")),
    ).then(
      (given) => given ?? { status: 404, body: "" },
      (error) => {
        if (!(error instanceof ApiError)) throw error;
        return { status: error.status, body: JSON.stringify(error.headers) };
      },
    );
    statuses.push(status);
    await answer(request, response, status, body, {});
  });
  const path = `/api/pictures/gate/${name}`;
  /** A client that asks so often, and reads nothing. */
  const stalls = (times: number): Socket => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.pause().write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(times));
    });
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    return socket;
  };
  const get = async () => {
    const response = await fetch(`${url}${path}`);
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
  };
  return { get, stalls, statuses, url, path };
}

test("clients that do not read hold only so much, and what they held is there again when they are gone", async () => {
  const { get, stalls, statuses } = await pictureOf(10);
  // Twice: of answers that wait behind others, Node does not tell that they are over.
  for (let round = 0; round < 2; round++) {
    statuses.length = 0;
    const socket = stalls(6);
    await until("all are answered", () => statuses.length === 6);
    expect(statuses.sort()).toEqual([200, 200, 200, 503, 503, 503]);
    expect(await get()).toMatchObject({ status: 503, body: Buffer.from('{"retry-after":"1"}') });
    socket.destroy();
    await until("there is room", async () => (await get()).status === 200);
  }
  // All of it, and as often as one likes.
  for (let i = 0; i < 4; i++) expect((await get()).status).toBe(200);
});

test("a client that takes nothing is cut off", async () => {
  const { get, stalls, statuses } = await pictureOf(12, 300);
  stalls(2);
  await until("both are answered", () => statuses.length === 2);
  expect((await get()).status).toBe(503);
  await until("there is room", async () => (await get()).status === 200);
});

test("one that is larger than all the room goes alone", async () => {
  const { get, stalls, statuses } = await pictureOf(33);
  const socket = stalls(1);
  await until("it is answered", () => statuses.length === 1);
  expect(statuses).toEqual([200]);
  expect((await get()).status).toBe(503);
  socket.destroy();
  await until("it comes whole", async () => (await get()).body.length === 33 * mebibyte);
});

test("a request with a body that is still coming is refused", async () => {
  const { url, path, get } = await pictureOf(1);
  const status = await new Promise((resolve, reject) => {
    const request = ask(`${url}${path}`, { headers: { "content-length": 10 } }, (response) => {
      resolve(response.resume().statusCode);
      request.end("0123456789");
    });
    request.on("error", reject).flushHeaders();
  });
  expect([status, (await get()).status]).toEqual([400, 200]);
});
