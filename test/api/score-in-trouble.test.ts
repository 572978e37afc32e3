/** Requests to models that are none: each is told why, and none leaves anything behind. */
import { request } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeEach, expect, test } from "vitest";
import { identityOfImage } from "../../bench/onnx/small-models.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { scoreBody } from "../infer/running-model.ts";
import { until } from "../support/until.ts";
import { scoringGateway } from "./scoring-gateway.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const json = { "content-type": "application/json" };
const good = () => scoreBody([1, 3, 2, 2], (i) => i);
/** An image has a type of its own. */
const headersOf = (path: string) => (path === "/classify" ? { "content-type": "image/png" } : json);
const mebibyte = 1_048_576;

/** What this process holds on to: values, and bytes beside them. */
function heldBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test("numbers that are none, and rows that are uneven, are refused with the place", async () => {
  const { send } = await scoringGateway(folder, { m: identityOfImage(2) });
  for (const [body, code, place] of [
    // As Python writes it, and as JavaScript does.
    ['{"data":[[[[1,NaN],[3,4]]]]}', "malformed", "not JSON"],
    ['{"data":[[[[1,null],[3,4]]]]}', "notANumber", "data[0][0][0][1]"],
    ['{"data":[[[[1,2],[3]]]]}', "ragged", "data[0][0][1]"],
    ['{"data":[[[[1,2],3]]]}', "ragged", "data[0][0][1]"],
  ] as const) {
    const answer = await send("/score", body, json);
    expect(answer).toMatchObject({ status: 400, json: { code, error: expect.stringContaining(place) } });
  }
});

/** Sends the same bytes again and again, until there is an answer or all are sent, and holds none of them. */
async function sendLarge(url: string, token: string, bytes: number, headers: Record<string, string>) {
  const call = request(url, { method: "POST", headers: { authorization: `Bearer ${token}`, ...headers } });
  // Whoever sends on into a connection that is closed behind the answer.
  call.on("error", () => call.destroy());
  const status = new Promise<number | undefined>((resolve) => {
    call.once("response", (response) => resolve(response.resume().statusCode));
    call.once("close", () => resolve(undefined));
  });
  let isAnswered = false;
  void status.then(() => {
    isAnswered = true;
  });
  const chunk = Buffer.alloc(65_536, "1");
  for (let sent = 0; sent < bytes && !isAnswered; sent += chunk.length)
    await new Promise<void>((resolve) => call.write(chunk, () => resolve()));
  call.end();
  return await status;
}

test("a body of 100 MB is refused by the bound that holds unless another is set, and not kept", async () => {
  const { send, url, token } = await scoringGateway(folder, { m: identityOfImage(2) });
  expect((await send("/score", good(), json)).status).toBe(200);
  const before = heldBytes();
  const bytes = 1_526 * 65_536;
  for (const path of ["/score", "/classify", "/v2/models/m/infer"]) {
    const large = (headers: Record<string, string>) => sendLarge(`${url()}${path}`, token(), bytes, headers);
    expect([path, await large({ "content-length": String(bytes) })]).toEqual([path, 413]);
    // Without its length, as much of it is read as may be.
    expect([path, await large({ "transfer-encoding": "chunked" })]).toEqual([path, 413]);
    // What was read of it may stay until the connection is closed, and no longer.
    await until("nothing of it is held", () => heldBytes() - before < 8 * mebibyte);
  }
  expect((await send("/score", good(), json)).status).toBe(200);
}, 120_000);

test("three hundred bad requests leave the memory as it was", async () => {
  const { send, gateway } = await scoringGateway(folder, { m: identityOfImage(2) });
  const padding = " ".repeat(mebibyte / 2);
  const bad: [string, string][] = [
    ["/score", `{"data":[[[[1,NaN]]]]}${padding}`],
    ["/score", `{"data":[[[[1,2],[3]]]]}${padding}`],
    ["/score", `{"data":[[1,2]]}${padding}`],
    ["/classify", padding],
    ["/v2/models/m/infer", `{"inputs":[]}${padding}`],
  ];
  const round = async () => {
    const answers = bad.map(([path, body]) => send(path, body, headersOf(path)));
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(bad.map(() => 400));
  };
  for (let i = 0; i < 6; i++) await round();
  const [held, resident] = [heldBytes(), process.memoryUsage.rss()];
  for (let i = 0; i < 60; i++) await round();
  // Half a mebibyte of each would be 150 of them.
  expect(heldBytes() - held).toBeLessThan(32 * mebibyte);
  expect(process.memoryUsage.rss() - resident).toBeLessThan(100 * mebibyte);
  expect(gateway.status.models.m).toMatchObject({ state: "ready", inside: 0 });
  expect((await send("/score", good(), json)).status).toBe(200);
}, 120_000);
