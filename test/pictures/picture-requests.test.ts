/** What the direct methods for pictures take and answer; the receiver of uploads is a real HTTP server. */
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { PictureRequests } from "../../src/api/picture-requests.ts";
import { checkConfig } from "../../src/config/check.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonValue } from "../../src/core/json.ts";
import { createServerCertificate } from "../../src/embedded-hub/certificates.ts";
import { KeptPictures } from "../../src/pictures/kept-pictures.ts";
import { PictureUploads } from "../../src/pictures/picture-uploads.ts";
import type { PictureTaken } from "../../src/sources/source-set.ts";
import { good } from "../config/problems.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

const bytes = Uint8Array.from([0xff, 0xd8, 0xff, 1, 2, 3]);
const late: PictureTaken = { kind: "late" };
let kept: KeptPictures;
let name: string;

beforeEach(async () => {
  kept = new KeptPictures(temporaryFolder(), systemClock);
  await kept.keep(
    "gate",
    { maxFiles: 5, maxBytes: 10_000 },
    { bytes, identity: "a", scores: [["cat", 0.9]] },
  );
  name = (await kept.list("gate", undefined, 1))[0]?.name ?? "";
});

interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** A blob store that answers so; `hosts`: where pictures of `gate` may go, its own unless said otherwise. */
async function blobs(respond: RequestListener, more: { hosts?: string[]; deadlineMs?: number } = {}) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const { method, url, headers } = request;
    received.push({ method, url, headers, body: Buffer.concat(await request.toArray()) });
    respond(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const camera = { type: "imageFolder", model: "zoo", device: "c", keep: {} };
  const { config } = checkConfig({
    ...good,
    models: { zoo: { file: "/m.onnx" } },
    sources: {
      gate: { ...camera, folder: "/a", upload: { hosts: more.hosts ?? [host, "blobs.example"] } },
      yard: { ...camera, folder: "/b" },
    },
  });
  const log = recordingLog();
  const requests = new PictureRequests(
    async () => late,
    kept,
    () => config.sources,
    log,
  );
  const upload = (payload: object) => requests.upload({ source: "gate", picture: name, url: "", ...payload });
  const uploads = new PictureUploads(kept, () => config.sources, more.deadlineMs ?? 20_000, log);
  return { received, host, requests, upload, uploads, log, url: `http://${host}/box/a.jpg?sig=secret` };
}

const created: RequestListener = (_, response) => void response.writeHead(201, { etag: '"7"' }).end();

test("a kept picture is put as a blob, as it came, and the log has no signature", async () => {
  const { upload, received, url, log, requests } = await blobs(created);
  expect(await upload({ url })).toEqual({
    status: 200,
    payload: { source: "gate", picture: name, bytes: bytes.length, etag: '"7"' },
  });
  expect(received).toMatchObject([
    {
      method: "PUT",
      url: "/box/a.jpg?sig=secret",
      headers: { "x-ms-blob-type": "BlockBlob", "content-type": "image/jpeg", "content-length": "6" },
      body: Buffer.from(bytes),
    },
  ]);
  expect(JSON.stringify(log.lines)).toContain("127.0.0.1");
  expect(JSON.stringify(log.lines)).not.toMatch(/secret|box\/a/);
  expect(requests.uploads).toMatchObject({ uploaded: 1, forbidden: 0 });
});

test("nothing is sent where the configuration does not let it go, nor what is no request", async () => {
  const { upload, received, host, url } = await blobs(created);
  const status = async (payload: object) => (await upload(payload)).status;
  expect(await status({ url: "https://elsewhere.example/a" })).toBe(403);
  expect(await status({ url, source: "yard" })).toBe(403);
  expect(await status({ url, source: "nobody" })).toBe(403);
  expect(await status({ url, source: "constructor" })).toBe(403);
  expect(await status({ url: "http://127.0.0.1:1/a" })).toBe(403);
  expect(await status({ url: "http://blobs.example/a" })).toBe(400);
  expect(await status({ url: `http://me:pass@${host}/a` })).toBe(400);
  expect(await status({ url: "ftp://blobs.example/a" })).toBe(400);
  expect(await status({ url: "no url" })).toBe(400);
  expect(await status({ url, more: 1 })).toBe(400);
  expect(await status({ url, picture: 1 })).toBe(400);
  for (const picture of ["x.jpg", `../gate/${name}`, `${name}.json`, "../../headgate.db"])
    expect(await status({ url, picture })).toBe(404);
  expect(received).toEqual([]);
});

test("what the other end says, or does not say in time, is told and counted", async () => {
  const refusing = await blobs((_, response) => {
    response.writeHead(403, { "x-ms-error-code": "AuthenticationFailed" }).end("<Error/>");
  });
  expect(await refusing.upload({ url: refusing.url })).toEqual({
    status: 502,
    payload: { message: `${refusing.host} answers 403 (AuthenticationFailed)` },
  });
  const leading = await blobs((_, response) => {
    response.writeHead(307, { location: `http://${refusing.host}/` }).end();
  });
  expect(await leading.upload({ url: leading.url })).toMatchObject({ status: 502 });
  expect(refusing.received).toHaveLength(1);
  const gone = await blobs(created, { hosts: ["127.0.0.1:1"] });
  expect(await gone.upload({ url: "http://127.0.0.1:1/a" })).toMatchObject({ status: 503 });
  const switching = await blobs(({ socket }) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  });
  expect(await switching.upload({ url: switching.url })).toEqual({
    status: 503,
    payload: { message: `${switching.host}: it switches to another protocol` },
  });
  const silent = await blobs(() => undefined, { deadlineMs: 200 });
  expect(await silent.uploads.upload("gate", name, silent.url)).toMatchObject({ kind: "late" });
  expect(silent.uploads.counts).toMatchObject({ late: 1, uploaded: 0 });
});

test("over TLS the other end has to prove its name", async () => {
  let requests = 0;
  const { certificatePem: cert, privateKeyPem: key } = await createServerCertificate(["localhost"], []);
  const server = createSecureServer({ key, cert }, () => requests++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const host = `localhost:${(server.address() as AddressInfo).port}`;
  const { upload } = await blobs(created, { hosts: [host] });
  expect(await upload({ url: `https://${host}/a` })).toMatchObject({
    status: 503,
    payload: { message: expect.stringMatching(/certificate/) },
  });
  expect(requests).toBe(0);
});

test("what is kept is listed, of a source or of all, and so is what comes before", async () => {
  const { requests } = await blobs(created);
  const names = async (payload: object | null) => {
    const { status, payload: answer } = await requests.list(payload as JsonValue);
    return status === 200
      ? (answer as { pictures: { name: string }[] }).pictures.map((each) => each.name)
      : status;
  };
  expect(await requests.list({ source: "gate" })).toMatchObject({
    payload: { pictures: [{ source: "gate", name, bytes: 6, scores: { cat: 0.9 } }] },
  });
  expect([await names(null), await names({}), await names({ source: "yard" })]).toEqual([[name], [name], []]);
  expect(await names({ before: name })).toEqual([]);
  expect([await names({ source: 1 }), await names({ limit: 5 })]).toEqual([400, 400]);
});

test("of pictures with many scores no more are listed than fit into an answer, and the next ones behind them", async () => {
  const { requests } = await blobs(created);
  const scores = Array.from(
    { length: 84 },
    (_, i) => [`${"漢".repeat(61)}${100 + i}`, 0.123_456_789] as const,
  );
  for (let i = 0; i < 12; i++)
    await kept.keep("yard", { maxFiles: 20, maxBytes: 1_000_000 }, { bytes, identity: `${i}`, scores });
  const page = async (before: object) => {
    const { payload } = await requests.list({ source: "yard", ...before });
    expect(Buffer.byteLength(JSON.stringify(payload))).toBeLessThanOrEqual(128_000);
    return (payload as { pictures: { name: string }[] }).pictures.map((each) => each.name);
  };
  const first = await page({});
  const second = await page({ before: first.at(-1) });
  expect([first.length, second.length]).toEqual([7, 5]);
});

test("one picture is uploaded at a time", async () => {
  const { upload, url } = await blobs(created);
  const [first, second] = await Promise.all([upload({ url }), upload({ url })]);
  expect([first.status, second.status].sort()).toEqual([200, 503]);
  expect((await upload({ url })).status).toBe(200);
});

test("a picture that was asked for and does not come is answered all the same", async () => {
  const taking = (taken: PictureTaken) =>
    new PictureRequests(
      async () => taken,
      kept,
      () => ({}),
      recordingLog(),
    ).take({ source: "cam" });
  expect(await taking(late)).toMatchObject({ status: 504 });
  expect(await taking({ kind: "unknownSource" })).toMatchObject({ status: 404 });
  const message = "the store has no room for it";
  expect(await taking({ kind: "failed", message })).toEqual({ status: 503, payload: { message } });
});
