/** Who may ask the local API, what it tells, and what becomes of a port that is taken. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { expectNothingTaken, reading, startGateway, yard } from "./api-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
const paths = ["/api/status", "/api/ledger", "/api/dead-letters", "/metrics", "/nothing", "/"];

describe("the token", () => {
  test("is made once, for the user alone, and stays the same across restarts", async () => {
    const first = await startGateway(folder);
    const file = join(folder, "store", "api-token");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const token = first.token();
    expect(token).toMatch(/^[\w-]{43}$/);
    await first.stop();
    const { token: again, get } = await startGateway(folder);
    expect(again()).toBe(token);
    expect((await get("/api/status")).status).toBe(200);
    expect(JSON.stringify(first.log.lines)).not.toContain(token);
  });

  test("without it, or with a wrong one, nothing is told and nothing is taken", async () => {
    const { get, post, token, gateway } = await startGateway(folder);
    const wrong = [
      {},
      { authorization: "Bearer" },
      { authorization: "Bearer " },
      { authorization: `Bearer ${token()}x` },
      { authorization: `Bearer ${token().slice(1)}` },
      { authorization: `Basic ${token()}` },
      { authorization: token() },
    ] as Record<string, string>[];
    for (const headers of wrong) {
      for (const path of paths) {
        const { status, json, headers: answered } = await get(path, headers);
        expect([path, status]).toEqual([path, 401]);
        expect(json).toMatchObject({ error: { code: "unauthorized" } });
        expect(answered.get("www-authenticate")).toBe("Bearer");
      }
      expect(await post(reading(), { authorization: "", ...headers })).toMatchObject({ status: 401 });
    }
    expectNothingTaken(gateway);
  });

  test("comes from where the configuration says, and none is made then", async () => {
    const api = { token: { env: "API_TOKEN" } };
    const { get } = await startGateway(folder, { api }, { API_TOKEN: "schlüssel" });
    const bytes = Buffer.from("Bearer schlüssel", "utf8").toString("latin1");
    expect((await get("/api/status", { authorization: bytes })).status).toBe(200);
    expect((await get("/api/status", { authorization: "Bearer schlussel" })).status).toBe(401);
    expect(existsSync(join(folder, "store", "api-token"))).toBe(false);
  });

  test("that cannot be read keeps the API closed and the gateway running, until it can", async () => {
    const file = join(folder, "token");
    const { gateway, log, get } = await startGateway(folder, { api: { token: { file } } });
    expect(gateway.status.healthy).toBe(true);
    expect(gateway.status.api).toMatchObject({ state: "failed", reason: expect.stringContaining(file) });
    expect(gateway.status.sources.yard).toMatchObject({ state: "failed" });
    writeFileSync(file, "");
    await until("it is for another reason", () => gateway.status.api.reason?.includes("empty") === true);
    writeFileSync(file, "late\n");
    await until("it is open", () => gateway.status.api.state === "open");
    expect((await get("/api/status", { authorization: "Bearer late" })).status).toBe(200);
    expect(log.lines.filter(({ message }) => message.startsWith("the local API cannot"))).toHaveLength(1);
  });
});

describe("what it tells", () => {
  test("the status", async () => {
    const { get, gateway } = await startGateway(folder);
    const { json, headers } = await get("/api/status?x=1");
    expect(json).toMatchObject({ gateway: "box", healthy: true, configHash: gateway.status.configHash });
    expect(headers.get("cache-control")).toBe("no-store");
  });

  test("the books, and whether they add up", async () => {
    const { get, post, gateway } = await startGateway(folder, { sources: { yard, roof: yard } });
    await post([reading(), reading()], {}, "?source=yard");
    await post(reading(), {}, "?source=roof");
    expect((await get("/api/dead-letters")).json).toEqual({ deadLetters: [] });
    expect((await get("/api/ledger")).json).toEqual({
      storeId: gateway.status.store.storeId,
      addsUp: true,
      imbalances: [],
      totals: {
        frames: 2,
        decoded: 2,
        framesDiscarded: 0,
        ingested: 3,
        published: 0,
        held: 3,
        discarded: 0,
        gaps: { counted: 0, unknown: 0 },
      },
      sources: gateway.status.store.books,
    });
  });

  test("metrics in the format of Prometheus, every line of it", async () => {
    const windows = { w: { sizeMs: 3_600_000, devices: ["d1"] } };
    const gatewayName = 'line "4" \\ hall';
    const { get, post } = await startGateway(folder, { gateway: { name: gatewayName }, windows });
    await post([reading(), reading({ id: "nobody's" })]);
    await post("{torn");
    const { text, headers } = await get("/metrics");
    expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const label = String.raw`[a-z]+="(?:[^"\\]|\\\\|\\"|\\n)*"`;
    const line = new RegExp(
      String.raw`^(# HELP headgate_[a-z_]+ [^\n]+|# TYPE headgate_[a-z_]+ (counter|gauge)|headgate_[a-z_]+(\{${label}(,${label})*\})? -?[0-9.e+-]+)$`,
    );
    expect(
      text
        .trimEnd()
        .split("\n")
        .filter((l) => !line.test(l)),
    ).toEqual([]);
    for (const expected of [
      'headgate_ingested_readings_total{source="yard"} 2',
      'headgate_held_readings{source="yard"} 1',
      'headgate_discards_total{source="yard",stage="window",reason="unrouted"} 1',
      'headgate_frames_total{source="yard"} 1',
      'headgate_source_open{source="yard"} 1',
      'headgate_store_state{state="ok"} 1',
      'headgate_store_state{state="failing"} 0',
      'headgate_hub_connected{type="mqtt"} 0',
      'headgate_api_answers_total{code="400"} 1',
      "headgate_imbalances 0",
      "headgate_outbox_entries 0",
    ])
      expect(text).toContain(`\n${expected}\n`);
    expect(text).toContain(String.raw`gateway="line \"4\" \\ hall"`);
    for (const positive of ["free_ram_bytes", "free_disk_bytes", "commits_total"]) {
      expect(Number(new RegExp(`^headgate_${positive} (.*)$`, "m").exec(text)?.[1])).toBeGreaterThan(0);
    }
    // Of one name there is one type, and all of its lines stand together.
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test("metrics without a token only where the configuration opens them, and nothing else then", async () => {
    const { get } = await startGateway(folder, { api: { metrics: "open" } });
    const statuses = await Promise.all(paths.map(async (path) => (await get(path, {})).status));
    expect(statuses).toEqual([401, 401, 401, 200, 401, 401]);
  });

  test("what there is not, and how not to ask", async () => {
    const { get, url, token } = await startGateway(folder);
    expect(await get("/api/constructor")).toMatchObject({
      status: 404,
      json: { error: { code: "notFound" } },
    });
    const headers = { authorization: `Bearer ${token()}` };
    const { status, headers: answered } = await get("/api/readings");
    expect([status, answered.get("allow")]).toEqual([405, "POST"]);
    expect((await fetch(`${url()}/api/ledger`, { method: "DELETE", headers })).status).toBe(405);
  });

  test("headers beyond all measure are refused, and connections beyond the bound are closed", async () => {
    const { get, url, gateway } = await startGateway(folder);
    expect((await get("/api/status", { x: "y".repeat(10_000) })).status).toBe(431);
    const { hostname, port } = new URL(url());
    const sockets = Array.from({ length: 70 }, () => connect(Number(port), hostname));
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
    });
    await until("some are refused", () => gateway.status.api.refusedConnections > 0);
    for (const socket of sockets) socket.destroy();
    await until(
      "there is room again",
      async () => (await get("/api/status").catch(() => undefined))?.status === 200,
    );
  });
});

describe("listening", () => {
  test("a port that is taken stops nothing, is told once, and is taken over when it is free", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void other.close());
    const address = other.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const { gateway, log, post, ingested } = await startGateway(folder, { api: { port } });
    expect(gateway.status).toMatchObject({
      healthy: true,
      api: { state: "failed", reason: expect.stringContaining("EADDRINUSE") },
      sources: { yard: { state: "failed" } },
    });
    // Long enough for several attempts.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(log.lines.filter(({ message }) => message.startsWith("the local API cannot"))).toHaveLength(1);
    await new Promise<void>((resolve) => other.close(() => resolve()));
    await until("it is open", () => gateway.status.sources.yard?.state === "open", 60_000);
    expect((await post(reading())).status).toBe(200);
    expect(ingested()).toBe(1);
  });

  test("an API that is off listens nowhere and makes no token", async () => {
    const { gateway } = await startGateway(folder, { sources: {}, api: { state: "off" } });
    expect(gateway.status.api).toMatchObject({ state: "off", url: undefined });
    expect(existsSync(join(folder, "store", "api-token"))).toBe(false);
  });

  test("a stop does not wait for callers that keep their connection or never end their body", async () => {
    const { stop, url, token, post, gateway } = await startGateway(folder);
    await post(reading());
    const { hostname, port } = new URL(url());
    const socket = connect(Number(port), hostname);
    socket.on("error", () => socket.destroy());
    socket.write(
      `POST /api/readings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token()}\r\ncontent-length: 9\r\n\r\n{`,
    );
    await new Promise((resolve) => socket.once("ready", resolve));
    await stop();
    expect(gateway.status.api.state).toBe("stopped");
    await expect(fetch(url())).rejects.toThrow();
  });

  test("callers that wait for a commit while the gateway stops are answered", async () => {
    const { stop, post, gateway } = await startGateway(folder, { store: { minCommitMs: 400 } });
    await post(reading());
    const answer = post(reading());
    await until("it is taken", () => gateway.status.intake.queuedBytes > 0);
    const [{ status, headers }] = await Promise.all([answer, stop()]);
    expect([status, headers.get("connection")]).toEqual([200, "close"]);
    expect(readFileSync(join(folder, "store", "api-token"), "utf8")).not.toBe("");
  });
});
