/** A client that is given up while the workload API is still answering: it must not take the identity afterwards. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { TransientError } from "../../src/core/errors.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { until } from "../support/until.ts";
import { clientOf, clients } from "./subjects.ts";

let hub: EmbeddedHub;
beforeAll(async () => {
  hub = await startEmbeddedHub();
});
afterAll(async () => {
  await hub.stop();
});

/** Stands before a module's workload socket and holds the answers to the requests whose path ends so. */
async function slowWorkloadApi(target: string, heldPath: string) {
  // A short path: a socket's has at most 107 bytes.
  const folder = mkdtempSync(join(tmpdir(), "hg-"));
  const path = join(folder, "w.sock");
  const waiting: (() => void)[] = [];
  const seen = { held: 0, answered: 0 };
  let open = false;
  const server = createServer((incoming, response) => {
    const forwarded = request(
      { socketPath: target, path: incoming.url, method: incoming.method, headers: incoming.headers },
      (answer) => {
        const pass = () => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
          response.on("finish", () => seen.answered++);
        };
        const held = incoming.url?.split("?", 1)[0]?.replace(/\/$/, "").endsWith(heldPath);
        if (open || !held) return pass();
        seen.held++;
        waiting.push(pass);
      },
    );
    forwarded.on("error", () => response.destroy());
    incoming.pipe(forwarded);
  });
  server.listen(path);
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    uri: `unix://${path}`,
    seen,
    release() {
      open = true;
      for (const pass of waiting.splice(0)) pass();
    },
  };
}

test.each(clients.flatMap((name) => ["sign", "trust-bundle"].map((heldPath) => [name, heldPath] as const)))(
  "a client (%s) closed while %s is not answered yet never connects, and its successor does",
  async (name, heldPath) => {
    const id = `${name}-of-${heldPath}`;
    hub.createModule("edge", id);
    const environment = hub.environment(id);
    const target = environment.IOTEDGE_WORKLOADURI?.replace("unix://", "") ?? "";
    const workload = await slowWorkloadApi(target, heldPath);
    const made = () => {
      const client = clientOf(
        name,
        undefined,
        undefined,
        {
          connectTimeoutMs: 10_000,
          sendTimeoutMs: 5_000,
          environment: { ...environment, IOTEDGE_WORKLOADURI: workload.uri },
        },
        { lost: () => undefined, desired: () => undefined },
      );
      onTestFinished(() => client.close());
      return client;
    };

    const givenUp = made();
    const outcome = givenUp.connect().then(
      () => "connected",
      (error: unknown) => error,
    );
    await until("the request waits for its answer", () => workload.seen.held > 0);
    await givenUp.close();
    const connects = hub.counter("connects");
    const before = workload.seen.answered;
    workload.release();
    await until("the answer is given", () => workload.seen.answered > before);
    // The connection that must not come takes milliseconds; the wait makes it likely to be seen, not the test to pass.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(hub.isConnected("edge", id)).toBe(false);
    expect(hub.counter("connects")).toBe(connects);

    await made().connect();
    expect(hub.isConnected("edge", id)).toBe(true);
    expect(hub.counter("connects")).toBe(connects + 1);
    expect(await outcome).toBeInstanceOf(TransientError);
  },
);
