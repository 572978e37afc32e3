import type { RequestListener, Server } from "node:http";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { createServer } from "../core/http.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";

export interface ApiServerStatus {
  /** `failed`: the address cannot be listened on, or there is no token; tried again for ever. */
  readonly state: "off" | "opening" | "open" | "failed" | "stopped";
  readonly reason: string | undefined;
  /** Where callers reach it; undefined while they cannot. */
  readonly url: string | undefined;
}

export interface ApiServerOptions {
  readonly host: string;
  readonly port: number;
  /** Makes what answers, before each attempt to listen: what it needs may be missing for a while. */
  readonly prepare: () => RequestListener;
  readonly onStatus: (status: ApiServerStatus) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

const listenRetry: RetrySchedule = { baseMs: 1_000, maxMs: 30_000, healthyMs: 0 };
const maxConnections = 64;
/** The whole request must be here by then, its headers sooner; checked every few seconds. */
const requestTimeoutMs = 30_000;
const headersTimeoutMs = 10_000;
const limits = { maxHeaderSize: 8_192, connectionsCheckingInterval: 2_000, keepAliveTimeout: 5_000 };

/** Listens, and keeps trying where it cannot: whatever holds the port, the gateway does its work. */
export class ApiServer {
  readonly #options: ApiServerOptions;
  readonly #stop = new AbortController();
  #server: Server | undefined;
  #status: ApiServerStatus = { state: "opening", reason: undefined, url: undefined };
  #refusedConnections = 0;
  #running: Promise<void> | undefined;

  constructor(options: ApiServerOptions) {
    this.#options = options;
  }

  get status(): ApiServerStatus {
    return this.#status;
  }

  /** Connections refused because too many were open. */
  get refusedConnections(): number {
    return this.#refusedConnections;
  }

  /** Resolves after the first attempt, whatever became of it. */
  async start(): Promise<void> {
    if (this.#running || this.#stop.signal.aborted) return;
    const first = this.#attempt();
    this.#running = first.then((isOpen) => (isOpen ? undefined : this.#retry()));
    await first;
  }

  /** Takes no new connections; answers under way are finished until the deadline. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const server = this.#server;
    this.#server = undefined;
    if (server) await closed(server, deadline);
    this.#tell({ state: "stopped", reason: undefined, url: undefined });
  }

  async #retry(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; attempt++) {
      await clock.sleep(100 + backoffMs(listenRetry, attempt, Math.random()), signal).catch(() => undefined);
      if (signal.aborted || (await this.#attempt())) return;
    }
  }

  async #attempt(): Promise<boolean> {
    const { host, port, prepare } = this.#options;
    try {
      const server = createServer(limits, prepare());
      server.on("checkContinue", (request, response) => server.emit("request", request, response));
      server.on("drop", () => {
        this.#refusedConnections++;
      });
      server.maxConnections = maxConnections;
      server.maxHeadersCount = 64;
      server.requestTimeout = requestTimeoutMs;
      server.headersTimeout = headersTimeoutMs;
      await listening(server, host, port);
      this.#server = server;
      this.#tell({ state: "open", reason: undefined, url: urlOf(server) });
      return true;
    } catch (error) {
      this.#tell({ state: "failed", reason: messageOf(error), url: undefined });
      return false;
    }
  }

  #tell(status: ApiServerStatus): void {
    const { log, onStatus } = this.#options;
    const before = this.#status;
    this.#status = status;
    if (status.state === before.state && status.reason === before.reason) return;
    // A repetition for another reason is no news for the log.
    if (status.state !== before.state) {
      const { reason, url } = status;
      if (status.state === "failed")
        log.warn({ reason }, "the local API cannot be reached; it is tried again");
      else log.info({ url }, `local API ${status.state}`);
    }
    onStatus(status);
  }
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") return "";
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

async function closed(server: Server, deadline: AbortSignal): Promise<void> {
  const cut = () => server.closeAllConnections();
  if (deadline.aborted) cut();
  else deadline.addEventListener("abort", cut, { once: true });
  // Since Node 19 this closes idle connections, too; each of the others is closed behind its answer.
  await new Promise<void>((resolve) => server.close(() => resolve()));
  deadline.removeEventListener("abort", cut);
}
