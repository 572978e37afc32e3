import { rmSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import { createServer, request } from "../core/http.ts";
import type { Logger } from "../core/logger.ts";

/** Longest path of a unix socket on Linux, its ending NUL left out (unix(7)). */
const longestPath = 107;

export function statusSocketPath(storeFolder: string): string {
  return join(storeFolder, "status.sock");
}

/** What the socket tells, by path. */
export type SocketAnswers = Readonly<Record<"/status" | "/ledger", () => object>>;

/**
 * Answers `headgate status`, `headgate ledger` and the container's health check over a socket in the store's folder,
 * which only the daemon's user and group can reach. Without it the daemon still does its work.
 */
export class StatusSocket {
  readonly #path: string;
  readonly #answers: SocketAnswers;
  readonly #log: Logger;
  #server: Server | undefined;

  constructor(storeFolder: string, answers: SocketAnswers, log: Logger) {
    this.#path = statusSocketPath(storeFolder);
    this.#answers = answers;
    this.#log = log;
  }

  async start(): Promise<void> {
    if (this.#path.length > longestPath) {
      this.#log.warn(
        { path: this.#path },
        "the path is too long for a socket; `headgate status` and `ledger` will not be answered",
      );
      return;
    }
    // One that waits for the store of another must not take the other's place here.
    if (await isAnswered(this.#path)) {
      this.#log.warn({ path: this.#path }, "another gateway answers for this store");
      return;
    }
    // A socket that nobody answers was left by a process that is gone.
    rmSync(this.#path, { force: true });
    const server = createServer(({ url = "" }, response) => {
      const answers: Readonly<Record<string, () => object>> = this.#answers;
      const tell = Object.hasOwn(answers, url) ? answers[url] : undefined;
      response.writeHead(tell ? 200 : 404, { "content-type": "application/json" });
      response.end(`${JSON.stringify(tell?.() ?? { error: { code: "notFound" } })}\n`);
    });
    server.requestTimeout = 5_000;
    server.maxConnections = 16;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(this.#path, resolve);
      });
      this.#server = server;
    } catch (error) {
      this.#log.warn({ reason: messageOf(error) }, "`headgate status` and `ledger` will not be answered");
    }
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

/** Whether a gateway listens there. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The status of the daemon that has the store in `storeFolder`; rejects when none answers within the deadline. */
export async function askStatus(storeFolder: string, deadlineMs: number): Promise<Record<string, unknown>> {
  return await ask(storeFolder, "/status", deadlineMs);
}

/** Its books, a ledger report; rejects like `askStatus`. */
export async function askLedger(storeFolder: string, deadlineMs: number): Promise<Record<string, unknown>> {
  return await ask(storeFolder, "/ledger", deadlineMs);
}

async function ask(
  storeFolder: string,
  path: keyof SocketAnswers,
  deadlineMs: number,
): Promise<Record<string, unknown>> {
  return await new Promise((resolve, reject) => {
    const socketPath = statusSocketPath(storeFolder);
    const call = request({ socketPath, path, timeout: deadlineMs }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        text += part;
      });
      response.on("error", reject);
      response.on("end", () => {
        try {
          resolve(JSON.parse(text) as Record<string, unknown>);
        } catch (error) {
          reject(error);
        }
      });
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${deadlineMs} ms`)));
    call.on("error", reject);
    call.end();
  });
}
