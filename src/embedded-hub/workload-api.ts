import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { z } from "zod";
import type { Counters } from "./counters.ts";
import { HubRequestError } from "./errors.ts";
import type { Faults } from "./faults.ts";
import { answer, parseJson, readBody } from "./http-json.ts";
import { stopListening } from "./http-listening.ts";
import type { Registry } from "./registry.ts";
import { clientIdOf } from "./registry.ts";
import { signature } from "./sas.ts";

/** Of aziot-edged (edgelet-http version.rs). */
const apiVersions: ReadonlySet<string> = new Set([
  "2018-06-28",
  "2019-01-30",
  "2019-10-22",
  "2019-11-05",
  "2020-07-07",
  "2021-12-07",
  "2022-08-03",
]);

const signRequest = z.object({ keyId: z.string(), algo: z.string(), data: z.base64() });
const signPath = /^\/modules\/([^/]+)\/genid\/([^/]+)\/sign$/;
/** aziot-edged closes what comes on top. */
const maxConnections = 10;
const maxBodyBytes = 64 * 1024;
const bodyTimeoutMs = 5_000;

function isUnder(path: string, pattern: string): boolean {
  return path === pattern || path === `${pattern}/`;
}

/**
 * The IoT Edge workload API: the trust bundle, and signatures with a module's key. Each module has its own
 * unix socket, because the caller cannot be told by its process id as on a device; a shared HTTP port is optional.
 */
export class WorkloadApi {
  readonly #registry: Registry;
  readonly #faults: Faults;
  readonly #counters: Counters;
  readonly #deviceId: string;
  readonly #caPem: string;
  readonly #folder: string;
  readonly #sockets = new Map<string, { readonly path: string; readonly server: Server }>();
  #made = 0;
  #httpServer: Server | undefined;

  constructor(options: {
    readonly registry: Registry;
    readonly faults: Faults;
    readonly counters: Counters;
    readonly deviceId: string;
    readonly caPem: string;
    /** A private folder with a short path: a socket path has at most 107 bytes. */
    readonly folder: string;
  }) {
    this.#registry = options.registry;
    this.#faults = options.faults;
    this.#counters = options.counters;
    this.#deviceId = options.deviceId;
    this.#caPem = options.caPem;
    this.#folder = options.folder;
  }

  /** Opens the socket of a module. */
  async open(moduleId: string): Promise<void> {
    if (this.#sockets.has(moduleId)) return;
    const server = this.#createServer(moduleId);
    server.maxConnections = maxConnections;
    const path = join(this.#folder, `w${++this.#made}.sock`);
    this.#sockets.set(moduleId, { path, server });
    server.listen(path);
    await once(server, "listening");
  }

  close(moduleId: string): void {
    const socket = this.#sockets.get(moduleId);
    this.#sockets.delete(moduleId);
    socket?.server.close();
    socket?.server.closeAllConnections();
  }

  uri(moduleId: string): string {
    const path = this.#sockets.get(moduleId)?.path;
    if (path === undefined)
      throw new HubRequestError(404, "ModuleNotFound", `module ${moduleId} has no workload socket`);
    return `unix://${path}`;
  }

  /** The same API for all modules on a loopback port. Returns the port. */
  async listen(port: number): Promise<number> {
    const server = this.#createServer(undefined);
    this.#httpServer = server;
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const servers = Array.from(this.#sockets.values(), ({ server }) => server);
    if (this.#httpServer !== undefined) servers.push(this.#httpServer);
    this.#sockets.clear();
    this.#httpServer = undefined;
    await Promise.all(servers.map(stopListening));
  }

  #createServer(caller: string | undefined): Server {
    return createServer((request, response) => {
      this.#serve(request, response, caller).catch((error: unknown) => {
        this.#counters.add("workloadErrors");
        const status = error instanceof HubRequestError ? error.status : 500;
        answer(response, {
          status,
          body: { message: error instanceof Error ? error.message : String(error) },
        });
      });
    });
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    caller: string | undefined,
  ): Promise<void> {
    this.#counters.add("workloadRequests");
    const url = new URL(request.url ?? "/", "http://localhost");
    const version = url.searchParams.get("api-version");
    if (version === null) throw new HubRequestError(400, "BadRequest", "api-version not specified");
    if (!apiVersions.has(version)) {
      throw new HubRequestError(400, "BadRequest", `api-version ${version} is not supported`);
    }
    const sign = signPath.exec(url.pathname);
    if (isUnder(url.pathname, "/trust-bundle")) {
      this.#requireMethod(request, "GET");
      this.#trustBundle(response);
    } else if (isUnder(url.pathname, "/manifest-trust-bundle") && version >= "2020-07-07") {
      this.#requireMethod(request, "GET");
      answer(response, { status: 200, body: { certificate: "" } });
    } else if (sign?.[1] !== undefined) {
      this.#requireMethod(request, "POST");
      await this.#sign(request, response, decodeURIComponent(sign[1]), caller);
    } else {
      throw new HubRequestError(404, "NotFound", `not found: ${url.pathname}`);
    }
  }

  /** aziot-edged answers 400, not 405. */
  #requireMethod(request: IncomingMessage, method: string): void {
    if (request.method !== method)
      throw new HubRequestError(400, "BadRequest", `method ${request.method} not allowed`);
  }

  #trustBundle(response: ServerResponse): void {
    const body = JSON.stringify({ certificate: this.#caPem });
    const type =
      this.#faults.hit("trustBundleNoContentType") === undefined
        ? { "content-type": "application/json" }
        : {};
    response.writeHead(200, { ...type, "content-length": Buffer.byteLength(body) });
    response.end(body);
  }

  async #sign(
    request: IncomingMessage,
    response: ServerResponse,
    moduleId: string,
    caller: string | undefined,
  ): Promise<void> {
    const type = (request.headers["content-type"] ?? "application/json")
      .split(";", 1)[0]
      ?.trim()
      .toLowerCase();
    if (type !== "application/json")
      throw new HubRequestError(415, "UnsupportedMediaType", "a JSON body is expected");
    const body = parseJson(await readBody(request, maxBodyBytes, bodyTimeoutMs));
    if (caller !== undefined && caller !== moduleId) throw new HubRequestError(403, "Forbidden", "forbidden");
    const fault = this.#faults.hit("signFails");
    if (fault !== undefined)
      throw new HubRequestError(fault.status, "Fault", "signing failed (fault signFails)");
    const parsed = signRequest.safeParse(body);
    if (!parsed.success) {
      throw new HubRequestError(
        422,
        "UnprocessableEntity",
        parsed.error.issues.map((issue) => issue.message).join("; "),
      );
    }
    const identity = this.#registry.find(clientIdOf(this.#deviceId, moduleId));
    if (identity === undefined) throw new HubRequestError(404, "NotFound", `module ${moduleId} not found`);
    this.#counters.add("workloadSignatures");
    const digest = signature(identity.keys.primaryKey, Buffer.from(parsed.data.data, "base64"));
    answer(response, { status: 200, body: { digest } });
  }
}
