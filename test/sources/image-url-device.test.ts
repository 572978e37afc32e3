/** A camera that is a real HTTP server; the scores come from the test. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { imageUrlSource } from "../../src/config/image-source-schema.ts";
import { createServerCertificate } from "../../src/embedded-hub/certificates.ts";
import type { PictureScores } from "../../src/infer/picture-scores.ts";
import { ImageUrlDevice } from "../../src/sources/image-url-device.ts";
import { Unavailable } from "../../src/sources/unavailable.ts";

const { signal } = new AbortController();
const picture = Buffer.from("a picture");
const cat: PictureScores = { kind: "scored", scores: [["cat", 0.75]], missing: [] };
const serving: RequestListener = (_, response) => void response.end(picture);
/** To what nobody asked for. */
const switches: RequestListener = ({ socket }) =>
  void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");

async function camera(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/snapshot.jpg`;
}

/** Asks once. */
async function asked(url: string, more: object = {}, answer: () => PictureScores = () => cat) {
  const config = imageUrlSource.parse({ type: "imageUrl", device: "yard", model: "zoo", url, ...more });
  const seen = { scored: [] as string[], discards: [] as string[], isReady: true };
  const scorer = {
    unready: () =>
      seen.isReady ? undefined : ({ kind: "wait", isPassing: true, message: "it is loading" } as const),
    score: async (_: string, bytes: Uint8Array) => {
      seen.scored.push(Buffer.from(bytes).toString());
      return answer();
    },
  };
  const kept = { keep: async () => undefined };
  const device = new ImageUrlDevice("yard", config, { CAMERA: "secret" }, { scorer, kept });
  const ask = async () => {
    await device.open();
    const frame = await device.ask(signal, (reason, bytes) => void seen.discards.push(`${reason} ${bytes}`));
    return frame && (JSON.parse(Buffer.from(frame).toString("utf8")) as object);
  };
  return { seen, device, ask };
}

const failure = async (ask: () => Promise<unknown>) => {
  const error = await ask().catch((reason: unknown) => reason);
  if (!(error instanceof Unavailable)) throw new Error(`this is no failure: ${error}`);
  return `${error.state}: ${error.message}`;
};

test("a picture is asked for with user and password, and scored", async () => {
  const logins: (string | undefined)[] = [];
  const url = await camera((request, response) => {
    logins.push(request.headers.authorization);
    response.end(picture);
  });
  const { ask, seen } = await asked(url, { username: "viewer", password: { env: "CAMERA" } });
  expect(await ask()).toEqual({ cat: 0.75, $picture: expect.stringMatching(/^[0-9a-f]{32}$/) });
  expect(seen).toMatchObject({ scored: ["a picture"], discards: [] });
  expect(logins).toEqual([`Basic ${Buffer.from("viewer:secret").toString("base64")}`]);
  const plain = await asked(url);
  await plain.ask();
  expect(logins[1]).toBeUndefined();
});

test("a camera with a certificate of its own is believed when its authority is named", async () => {
  const folder = mkdtempSync(join(tmpdir(), "headgate-camera-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const { caPem, certificatePem, privateKeyPem } = await createServerCertificate(["localhost"], []);
  const server = createSecureServer({ key: privateKeyPem, cert: certificatePem }, serving);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const url = `https://localhost:${(server.address() as AddressInfo).port}/s`;
  const caFile = join(folder, "ca.pem");
  writeFileSync(caFile, caPem);
  const { ask } = await asked(url, { caFile });
  expect(await ask()).toMatchObject({ cat: 0.75 });
  const stranger = await asked(url);
  expect(await failure(stranger.ask)).toMatch(/^absent: .*(self.signed|unable to)/);
});

test("what is no picture in time, of its size and with status 200 is a failure that says why", async () => {
  const cases: [RequestListener, object, RegExp, string[]][] = [
    [(_, response) => void response.writeHead(401).end("no"), {}, /^failed: it answers 401$/, []],
    [
      (_, response) => void response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(),
      {},
      /^failed: it answers 302$/,
      [],
    ],
    [() => undefined, { timeoutMs: 100 }, /^absent: no whole picture within 100 ms$/, []],
    [(_, response) => void response.write("half"), { timeoutMs: 100 }, /^absent: no whole picture/, []],
    [
      (_, response) =>
        void response.writeHead(200, { "content-length": 100 }).end("half", () => response.destroy()),
      {},
      /^absent: /,
      [],
    ],
    [
      (_, response) => void response.end(Buffer.alloc(5_000_000)),
      { maxBytes: 1_024 },
      /^failed: the picture has more than 1024 bytes$/,
      [expect.stringMatching(/^overlong \d+$/)],
    ],
  ];
  for (const [listener, more, expected, discards] of cases) {
    const { ask, seen } = await asked(await camera(listener), more);
    expect(await failure(ask)).toMatch(expected);
    expect(seen).toMatchObject({ scored: [], discards });
  }
  const { ask } = await asked("http://127.0.0.1:1/s.jpg");
  expect(await failure(ask)).toMatch(/^absent: .*ECONNREFUSED/);
  const switching = await asked(await camera(switches), { timeoutMs: 20_000 });
  expect(await failure(switching.ask)).toMatch(/^absent: it switches to another protocol$/);
});

test("a picture that cannot be scored is a discard, and told", async () => {
  const url = await camera(serving);
  const bad = await asked(url, {}, () => ({ kind: "discard", reason: "badImage", message: "no image" }));
  expect([await bad.ask(), bad.seen.discards]).toEqual([undefined, ["badImage 9"]]);
  expect(bad.device.trouble).toContain("no image");
  const late = await asked(url, {}, () => ({ kind: "wait", isPassing: false, message: "it is lost" }));
  expect([await late.ask(), late.seen.discards]).toEqual([undefined, ["unscored 9"]]);
  expect(late.device.trouble).toContain("it is lost");
  const failing = await asked(url, {}, () => ({ kind: "failed", message: "no number" }));
  expect([await failing.ask(), failing.seen.discards]).toEqual([undefined, ["unscored 9"]]);
  expect(failing.device.trouble).toContain("no number");
});

test("labels that the model does not have are told, in few words", async () => {
  const missing = ["dog", ...Array.from({ length: 60 }, (_, i) => `label-${i}`)];
  const { ask, device } = await asked(await camera(serving), {}, () => ({ ...cat, missing }));
  expect(await ask()).toMatchObject({ cat: 0.75 });
  expect(device.trouble).toBe("the model has no label dog, nor 60 others of labels");
});

test("while the model cannot be asked, the camera is not", async () => {
  let requests = 0;
  const url = await camera((request, response) => {
    requests++;
    serving(request, response);
  });
  const { ask, seen, device } = await asked(url);
  seen.isReady = false;
  expect(await ask()).toBeUndefined();
  expect([requests, device.trouble, seen.discards]).toEqual([
    0,
    "pictures wait for the model zoo: it is loading",
    [],
  ]);
  seen.isReady = true;
  expect(await ask()).toMatchObject({ cat: 0.75 });
  expect([requests, device.trouble]).toEqual([1, undefined]);
});

test("a query is told to nobody", async () => {
  const { device } = await asked("http://127.0.0.1:1/s.jpg?password=secret");
  expect(device.name).toBe("http://127.0.0.1:1/s.jpg");
});
