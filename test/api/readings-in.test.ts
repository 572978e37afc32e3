/** Readings in over real HTTP: what is taken, what is refused, and what then stands in the books. */
import { connect } from "node:net";
import { beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { dsmr5 } from "../decode/telegrams.ts";
import { until } from "../support/until.ts";
import { expectNothingTaken, lines, ndjson, reading, startGateway, yard } from "./api-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

describe("what is taken is answered when it is stored", () => {
  test("an object, an array and lines", async () => {
    const { post, gateway, ingested } = await startGateway(folder);
    expect(await post(reading())).toMatchObject({ status: 200, json: { stored: 1 } });
    // Stored before it was answered: no waiting here.
    expect(ingested()).toBe(1);
    expect(await post([reading(), reading({ id: "d2" })])).toMatchObject({
      status: 200,
      json: { stored: 2 },
    });
    expect(
      await post(`${lines(reading(), reading())}\r\n  \n${JSON.stringify(reading())}`, ndjson),
    ).toMatchObject({
      status: 200,
      json: { stored: 3 },
    });
    expect(ingested()).toBe(6);
    // The array is one frame; blank lines are none.
    const book = gateway.status.store.books.yard;
    expect(book).toMatchObject({ frames: 5, decoded: 5, held: 6 });
    expect(book?.frameDiscards).toEqual({});
    expect(gateway.status.sources.yard).toEqual({ state: "open", reason: undefined });
  });

  test("requests at the same time share commits", async () => {
    const { post, gateway, ingested } = await startGateway(folder, { store: { minCommitMs: 300 } });
    const before = gateway.status.intake.commits;
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(reading())));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(ingested()).toBe(20);
    expect(gateway.status.intake.commits - before).toBeLessThan(20);
  });

  test("lines of csv, to the source that is named", async () => {
    const meter = { type: "http", decode: { format: "csv", columns: ["power", "energy"] }, device: "m1" };
    const { post, ingested } = await startGateway(folder, { sources: { yard, meter } });
    const text = { "content-type": "text/plain" };
    expect(await post("1,2\n3,4\n", text, "?source=meter")).toMatchObject({
      status: 200,
      json: { stored: 2 },
    });
    expect(ingested("meter")).toBe(2);
    expect(await post("1,2\n3\n", text, "?source=meter")).toMatchObject({
      status: 400,
      json: { error: { code: "columnCount", path: "line 2" } },
    });
  });

  test("CBOR, bytes and a telegram, each a body in whole", async () => {
    const http = (decode: JsonObject): JsonObject => ({ type: "http", decode, device: "d" });
    const { post, ingested } = await startGateway(folder, {
      sources: {
        cbor: http({ format: "cbor" }),
        bytes: http({ format: "binary", fields: { t: { offset: 0, type: "uint16" } } }),
        meter: http({ format: "dsmr" }),
      },
    });
    const send = (source: string, type: string, body: string | Uint8Array) =>
      post(body, { "content-type": type }, `?source=${source}`);
    // {"t": 10}, and two of them in an array.
    expect(await send("cbor", "application/cbor", Buffer.from("a161740a", "hex"))).toMatchObject({
      status: 200,
      json: { stored: 1 },
    });
    expect(await send("cbor", "application/cbor", Buffer.from("82a161740aa161740a", "hex"))).toMatchObject({
      json: { stored: 2 },
    });
    expect(await send("cbor", "application/cbor", Buffer.from("a16174", "hex"))).toMatchObject({
      status: 400,
      json: { error: { code: "malformed" } },
    });
    expect(await send("cbor", "application/json", "{}")).toMatchObject({ status: 415 });
    expect(await send("bytes", "application/octet-stream", Buffer.from("0a0d", "hex"))).toMatchObject({
      status: 200,
      json: { stored: 1 },
    });
    expect(await send("meter", "text/plain", dsmr5)).toMatchObject({ status: 200, json: { stored: 1 } });
    expect(["cbor", "bytes", "meter"].map((source) => ingested(source))).toEqual([3, 1, 1]);
  });

  test("what was stored is in the books of the next process", async () => {
    const first = await startGateway(folder);
    await first.post(reading());
    await first.stop();
    const { ingested } = await startGateway(folder);
    expect(ingested()).toBe(1);
  });
});

describe("what is bad is refused whole, with its place and the reason", () => {
  const future = () => Date.now() + 3_600_000;
  const cases: Record<
    string,
    [body: () => string, headers: Record<string, string>, code: string, path?: string]
  > = {
    "no JSON": [() => "{torn", {}, "malformed"],
    "an empty body": [() => "", {}, "empty"],
    "only blank lines": [() => " \n\r\n", ndjson, "empty"],
    "an empty array": [() => "[]", {}, "noChannels"],
    "no device": [() => JSON.stringify({ t: Date.now(), temperature: 1 }), {}, "noDevice"],
    "a device without a name": [() => JSON.stringify(reading({ id: "" })), {}, "badDevice"],
    "no time": [() => JSON.stringify({ id: "d1", temperature: 1 }), {}, "noTime"],
    "a time of 1970": [() => JSON.stringify(reading({ t: 1_000 })), {}, "noTime"],
    "a time from the future": [() => JSON.stringify(reading({ t: future() })), {}, "future"],
    "no number": [() => JSON.stringify({ id: "d1", t: Date.now(), state: "on" }), {}, "noChannels"],
    "a NUL byte": [() => "\0", {}, "nul"],
    "the second of an array": [
      () => JSON.stringify([reading(), reading({ t: future() })]),
      {},
      "future",
      "[1]",
    ],
    "something else in an array": [() => JSON.stringify([reading(), [reading()]]), {}, "malformed", "[1]"],
    "the third of the lines": [
      () => `${lines(reading())}\n{torn\n${lines(reading())}`,
      ndjson,
      "malformed",
      "line 3",
    ],
    "the second in an array on a line": [
      () => lines(reading(), [reading(), reading({ id: 7, t: 1 })]),
      ndjson,
      "noTime",
      "line 2[1]",
    ],
    "a value nested beyond all measure": [
      () => `[{"id":"d1","t":1,"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}]`,
      {},
      "noTime",
      "[0]",
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [body, headers, code, path]) => {
    const { post, gateway } = await startGateway(folder);
    const { status, json } = await post(body(), headers);
    expect({ status, json }).toEqual({
      status: 400,
      json: { error: { code, message: expect.any(String), ...(path === undefined ? {} : { path }) } },
    });
    expectNothingTaken(gateway);
  });

  test.each([
    [
      "an array of arrays",
      {},
      [
        ["a", 1],
        [null, 2],
        ["c", 3],
      ],
      "[1]",
    ],
    [
      "an array beside others",
      { items: "$[1]" },
      [
        "a",
        [
          ["a", 1],
          [null, 2],
        ],
      ],
      undefined,
    ],
  ])("a reading without a device in %s", async (_, more, body, path) => {
    const decode = { format: "json", fields: { id: "$[0]", temperature: "$[1]" }, ...more };
    const { post, gateway } = await startGateway(folder, { sources: { yard: { ...yard, decode } } });
    const { status, json } = await post(JSON.stringify(body));
    const error = { code: "noDevice", message: expect.any(String), ...(path === undefined ? {} : { path }) };
    expect({ status, json }).toEqual({ status: 400, json: { error } });
    expectNothingTaken(gateway);
  });

  test("bytes that are not UTF-8", async () => {
    const { post, gateway } = await startGateway(folder);
    expect(await post(new Uint8Array([0x7b, 0xff]))).toMatchObject({
      status: 400,
      json: { error: { code: "invalidUtf8" } },
    });
    expectNothingTaken(gateway);
  });

  test("a time from the future is taken as far as the source's maxAheadMs", async () => {
    const decode = { format: "json", time: { field: "t", maxAheadMs: 7_200_000 } };
    const { post } = await startGateway(folder, { sources: { yard: { ...yard, decode } } });
    expect(await post(reading({ t: future() }))).toMatchObject({ status: 200 });
  });
});

describe("which source", () => {
  const two = {
    sources: {
      yard,
      roof: yard,
      port: { type: "serial", path: "/dev/null-x", decode: { format: "json" }, device: "p" },
    },
  };
  test.each([
    ["?source=cellar", 404, "unknownSource"],
    ["?source=port", 404, "unknownSource"],
    ["?source=constructor", 404, "unknownSource"],
    ["", 400, "sourceMissing"],
  ])("%s is refused", async (query, status, code) => {
    const { post, gateway } = await startGateway(folder, two);
    expect(await post(reading(), {}, query)).toMatchObject({ status, json: { error: { code } } });
    expectNothingTaken(gateway);
  });

  test("a source that is off does not count", async () => {
    const { post, ingested } = await startGateway(folder, {
      sources: { yard, roof: { ...yard, state: "off" } },
    });
    expect(await post(reading())).toMatchObject({ status: 200 });
    expect(ingested()).toBe(1);
    expect(await post(reading(), {}, "?source=roof")).toMatchObject({ status: 404 });
  });
});

describe("bounds", () => {
  const api = { maxBodyBytes: 2_048 };
  /** More than the buffers on the way hold: the sender is still sending when it is refused. */
  const large = "x".repeat(12_000_000);

  test("a body that is too large, announced or not, is answered with 413", async () => {
    const { post, gateway, url, token } = await startGateway(folder, { api });
    expect(await post(large)).toMatchObject({ status: 413, json: { error: { code: "tooLarge" } } });
    const chunked = await fetch(`${url()}/api/readings`, {
      method: "POST",
      headers: { authorization: `Bearer ${token()}` },
      body: new Blob([large]).stream(),
      duplex: "half",
    } as RequestInit);
    expect(chunked.status).toBe(413);
    expectNothingTaken(gateway);
    expect(await post(reading())).toMatchObject({ status: 200 });
  });

  test("a caller who sends all of it before reading gets to see the answer", async () => {
    const { url, token } = await startGateway(folder, { api });
    const { hostname, port } = new URL(url());
    const socket = connect({ port: Number(port), host: hostname });
    const head = `POST /api/readings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token()}\r\n`;
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.write(`${head}content-length: ${large.length}\r\n\r\n${large}`, () => resolve());
    });
    let text = "";
    for await (const part of socket) text += part;
    expect(text).toMatch(/^HTTP\/1.1 413 /);
    expect(text).toContain('"code":"tooLarge"');
  });

  test("lines that can never find room together are too many, not busy", async () => {
    const { post, gateway } = await startGateway(folder, { store: { maxQueueBytes: 65_536 } });
    const many = lines(...Array.from({ length: 700 }, () => reading()));
    expect(many.length).toBeLessThan(65_536);
    expect(await post(many, ndjson)).toMatchObject({ status: 413, json: { error: { code: "tooLarge" } } });
    expectNothingTaken(gateway);
  });

  test("bodies on their way are bounded together, and their room is given back, whatever becomes of them", async () => {
    const { post, url, token, gateway, ingested } = await startGateway(folder, {
      store: { maxQueueBytes: 65_536 },
    });
    const body = JSON.stringify(reading({ note: "x".repeat(20_000) }));
    const { hostname, port } = new URL(url());
    const head = `POST /api/readings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token()}\r\n`;
    const slow = [1, 2].map(() => connect(Number(port), hostname));
    for (const socket of slow) socket.write(`${head}content-length: 40000\r\n\r\n${"x".repeat(30_000)}`);
    await until("there is no room", async () => (await post(body)).status === 503);
    expect(await post(body)).toMatchObject({ status: 503, json: { error: { code: "busy" } } });
    for (const socket of slow) socket.destroy();
    await until("they are counted", () => gateway.status.api.cutBodies === 2);
    const before = ingested();
    for (let i = 0; i < 5; i++) expect((await post(body)).status).toBe(200);
    for (let i = 0; i < 5; i++) expect((await post(`${body}x`)).status).toBe(400);
    expect((await post(body)).status).toBe(200);
    expect(ingested() - before).toBe(6);
  });

  test.each([
    ["another type", { "content-type": "application/xml" }],
    ["a form", { "content-type": "application/x-www-form-urlencoded" }],
    ["a compressed body", { "content-encoding": "gzip" }],
  ])("%s is answered with 415", async (_, headers) => {
    const { post, gateway } = await startGateway(folder);
    expect(await post(reading(), headers as Record<string, string>)).toMatchObject({ status: 415 });
    expectNothingTaken(gateway);
  });

  test("a body cut in the middle is not taken, and counted", async () => {
    const { gateway, url, token, get, post } = await startGateway(folder);
    const text = JSON.stringify(reading());
    const { hostname, port } = new URL(url());
    const head = `POST /api/readings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token()}\r\ncontent-length: `;
    const socket = connect(Number(port), hostname);
    // Whole as JSON, but not as a request: the length says that more was to come.
    socket.write(`${head}${text.length + 10}\r\n\r\n${text}`, () => socket.destroy());
    await until("it is counted", () => gateway.status.api.cutBodies === 1);
    expectNothingTaken(gateway);
    expect((await get("/metrics")).text).toContain("\nheadgate_api_cut_bodies_total 1\n");
    expect(await post(text)).toMatchObject({ status: 200 });
  });

  test("who asks before sending is refused before sending", async () => {
    const { url } = await startGateway(folder);
    const { hostname, port } = new URL(url());
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (part) => {
      text += part;
    });
    socket.write(
      "POST /api/readings HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 500\r\n\r\n",
    );
    await new Promise((resolve) => socket.once("close", resolve));
    expect(text).toMatch(/^HTTP\/1.1 401 /);
    expect(text).not.toContain("100 Continue");
  });

  test("who asks before sending, and may, is told to go on", async () => {
    const { url, token, ingested } = await startGateway(folder);
    const { hostname, port } = new URL(url());
    const body = JSON.stringify(reading());
    const socket = connect(Number(port), hostname);
    const answers = { text: "" };
    socket.on("data", (part) => {
      if (answers.text === "") socket.write(body);
      answers.text += part;
    });
    socket.write(
      `POST /api/readings HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${token()}\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.once("close", resolve));
    expect(answers.text).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
    expect(ingested()).toBe(1);
  });
});
