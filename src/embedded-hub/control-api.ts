/**
 * The control interface: plain HTTP on 127.0.0.1, JSON in and out, no authentication.
 *
 * The IoT Hub service API, with its bodies, errors and If-Match rules:
 *
 * | method | path | body | answer |
 * |---|---|---|---|
 * | GET | /twins/{d}[/modules/{m}] | | the twin |
 * | PATCH, PUT | /twins/{d}[/modules/{m}] | `{tags?, properties?: {desired?}}`; merge, replace | the twin |
 * | POST | /twins/{d}[/modules/{m}]/methods | `{methodName, payload?, responseTimeoutInSeconds?, connectTimeoutInSeconds?}` | `{status, payload}` |
 * | GET | /devices | | array of devices, at most 1,000 |
 * | GET, PUT, DELETE | /devices/{d} | device | device; 204 |
 * | GET | /devices/{d}/modules | | array of modules |
 * | GET, PUT, DELETE | /devices/{d}/modules/{m} | module | module; 204 |
 *
 * The hub's own paths:
 *
 * | method | path | body | answer |
 * |---|---|---|---|
 * | GET | /hub/status | | connections, counters, takeovers and alarms, what is stored where |
 * | GET | /hub/messages?after=0&limit=100 | | `{messages, last}`: accepted messages with a sequence above `after` |
 * | GET | /hub/upstream?after=0&limit=100 | | `{state, stored, storedBytes, messages, last}` |
 * | PUT | /hub/upstream | `{"state": "on" or "off"}` | the state |
 * | PUT | /hub/listening | `{"state": "on" or "off", "sessions": "keep" or "drop"}` | `{listening}` |
 * | GET | /hub/faults | | the faults that are on |
 * | DELETE | /hub/faults | | 204; all are off |
 * | GET, PUT, DELETE | /hub/faults/{name} | its parameters | the fault; 204 |
 * | POST | /hub/connections/kill | `{"clientId"?}` | `{killed}` |
 * | POST | /hub/sessions/forget | | 204; connections stay, the next ones find no session |
 * | POST | /hub/inputs/{module}/{input}?waitMs= | see below | 202 `{queued}`; with waitMs 200 `{acknowledged}` |
 * | POST | /hub/devicebound/{device}?waitMs= | see below | the same |
 * | GET | /hub/environment/{module} | | the environment variables of that module |
 *
 * The fault `killConnections` strikes when it is set and is not listed.
 * A message to deliver: `{body? (any JSON), bodyText?, bodyBase64?, properties?, systemProperties?}`, one body.
 * Errors: `{"Message": "ErrorCode:{code};{text}", "ExceptionMessage": "{text}"}`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { z } from "zod";
import { HubRequestError } from "./errors.ts";
import { answer, type JsonAnswer, parseJson, readBody } from "./http-json.ts";
import { listenOn, stopListening } from "./http-listening.ts";
import { messageJson, type ReceivedMessage } from "./messages.ts";
import { checked, type ServiceApi } from "./service-api.ts";

/** A message to be delivered to a module's input or to a device. */
export interface OutgoingMessage {
  readonly body: Buffer;
  readonly properties: Readonly<Record<string, string>>;
  readonly systemProperties: Readonly<Record<string, string>>;
}

/** What the hub's own paths work on. */
export interface ControlledHub {
  status(): Record<string, unknown>;
  page(list: "accepted" | "upstream", after: number, limit: number): readonly ReceivedMessage[];
  upstreamStatus(): Record<string, unknown>;
  setUpstream(state: "on" | "off"): void;
  setListening(state: "on" | "off", sessions: "keep" | "drop"): Promise<boolean>;
  faults(): Record<string, unknown>;
  setFault(name: string, parameters: unknown): void;
  clearFault(name: string): void;
  clearFaults(): void;
  kill(clientId: string | undefined): number;
  forgetSessions(): void;
  deliver(
    target: { readonly moduleId: string; readonly input: string } | { readonly deviceId: string },
    message: OutgoingMessage,
  ): Promise<boolean>;
  environment(moduleId: string): Record<string, string>;
}

const maxBodyBytes = 1_000_000;
const bodyTimeoutMs = 30_000;
const maxWaitMs = 60_000;

const stringMap = z.record(z.string(), z.string());
const delivery = z
  .strictObject({
    body: z.unknown().optional(),
    bodyText: z.string().optional(),
    bodyBase64: z.base64().optional(),
    properties: stringMap.default({}),
    systemProperties: stringMap.default({}),
  })
  .refine(
    (value) =>
      [value.body, value.bodyText, value.bodyBase64].filter((part) => part !== undefined).length <= 1,
    {
      error: "give one of body, bodyText and bodyBase64",
    },
  );
const page = z.object({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
const upstreamBody = z.strictObject({ state: z.enum(["on", "off"]) });
const listeningBody = z.strictObject({
  state: z.enum(["on", "off"]),
  sessions: z.enum(["keep", "drop"]).default("keep"),
});
const killBody = z.strictObject({ clientId: z.string().optional() });
const waitQuery = z.object({ waitMs: z.coerce.number().int().min(1).max(maxWaitMs).optional() });

interface Call {
  readonly ids: readonly (string | undefined)[];
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly match: string | undefined;
}

type Action = (call: Call) => JsonAnswer | Promise<JsonAnswer>;

interface PathActions {
  readonly pattern: RegExp;
  readonly actions: Readonly<Record<string, Action>>;
}

function toMessage(body: unknown): OutgoingMessage {
  const given = checked(delivery, body ?? {});
  const { properties } = given;
  if (given.bodyBase64 !== undefined || given.bodyText !== undefined) {
    const bytes =
      given.bodyText === undefined
        ? Buffer.from(given.bodyBase64 ?? "", "base64")
        : Buffer.from(given.bodyText);
    return { body: bytes, properties, systemProperties: given.systemProperties };
  }
  const json = given.body === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(given.body));
  const systemProperties = {
    contentType: "application/json",
    contentEncoding: "utf-8",
    ...given.systemProperties,
  };
  return { body: json, properties, systemProperties };
}

async function waited(acknowledged: Promise<boolean>, query: URLSearchParams): Promise<JsonAnswer> {
  const { waitMs } = checked(waitQuery, Object.fromEntries(query));
  if (waitMs === undefined) return { status: 202, body: { queued: true } };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), waitMs);
  });
  const outcome = await Promise.race([acknowledged, late]);
  clearTimeout(timer);
  if (outcome === undefined)
    throw new HubRequestError(504, "GatewayTimeout", `no PUBACK within ${waitMs} ms`);
  return { status: 200, body: { acknowledged: outcome } };
}

function pathTable(service: ServiceApi, hub: ControlledHub): readonly PathActions[] {
  const messagePage = (list: "accepted" | "upstream", query: URLSearchParams) => {
    const { after, limit } = checked(page, Object.fromEntries(query));
    const messages = hub.page(list, after, limit);
    return { messages: messages.map(messageJson), last: messages.at(-1)?.sequence ?? after };
  };
  const id = ({ ids }: Call, index = 0): string => ids[index] ?? "";
  const fault = (call: Call): JsonAnswer => {
    const on = hub.faults()[id(call)];
    if (on === undefined) throw new HubRequestError(404, "FaultNotSet", `the fault ${id(call)} is off`);
    return { status: 200, body: on };
  };
  return [
    {
      pattern: /^\/twins\/([^/]+)(?:\/modules\/([^/]+))?$/,
      actions: {
        GET: (call) => service.getTwin(id(call), call.ids[1]),
        PATCH: (call) => service.changeTwin(id(call), call.ids[1], call.body, "merge", call.match),
        PUT: (call) => service.changeTwin(id(call), call.ids[1], call.body, "replace", call.match),
      },
    },
    {
      pattern: /^\/twins\/([^/]+)(?:\/modules\/([^/]+))?\/methods$/,
      actions: { POST: (call) => service.invokeMethod(id(call), call.ids[1], call.body) },
    },
    { pattern: /^\/devices\/?$/, actions: { GET: () => service.listDevices() } },
    {
      pattern: /^\/devices\/([^/]+)\/modules\/?$/,
      actions: { GET: (call) => service.listModules(id(call)) },
    },
    {
      pattern: /^\/devices\/([^/]+)(?:\/modules\/([^/]+))?$/,
      actions: {
        GET: (call) => service.getIdentity(id(call), call.ids[1]),
        PUT: (call) => service.putIdentity(id(call), call.ids[1], call.body, call.match),
        DELETE: (call) => service.deleteIdentity(id(call), call.ids[1], call.match),
      },
    },
    { pattern: /^\/hub\/status$/, actions: { GET: () => ({ status: 200, body: hub.status() }) } },
    {
      pattern: /^\/hub\/messages$/,
      actions: { GET: ({ query }) => ({ status: 200, body: messagePage("accepted", query) }) },
    },
    {
      pattern: /^\/hub\/upstream$/,
      actions: {
        GET: ({ query }) => ({
          status: 200,
          body: { ...hub.upstreamStatus(), ...messagePage("upstream", query) },
        }),
        PUT: ({ body }) => {
          hub.setUpstream(checked(upstreamBody, body).state);
          return { status: 200, body: hub.upstreamStatus() };
        },
      },
    },
    {
      pattern: /^\/hub\/listening$/,
      actions: {
        PUT: async ({ body }) => {
          const { state, sessions } = checked(listeningBody, body);
          return { status: 200, body: { listening: await hub.setListening(state, sessions) } };
        },
      },
    },
    {
      pattern: /^\/hub\/faults$/,
      actions: {
        GET: () => ({ status: 200, body: hub.faults() }),
        DELETE: () => {
          hub.clearFaults();
          return { status: 204 };
        },
      },
    },
    {
      pattern: /^\/hub\/faults\/([^/]+)$/,
      actions: {
        GET: fault,
        PUT: (call) => {
          hub.setFault(id(call), call.body ?? {});
          return { status: 200, body: hub.faults()[id(call)] ?? {} };
        },
        DELETE: (call) => {
          hub.clearFault(id(call));
          return { status: 204 };
        },
      },
    },
    {
      pattern: /^\/hub\/connections\/kill$/,
      actions: {
        POST: ({ body }) => ({
          status: 200,
          body: { killed: hub.kill(checked(killBody, body ?? {}).clientId) },
        }),
      },
    },
    {
      pattern: /^\/hub\/sessions\/forget$/,
      actions: {
        POST: () => {
          hub.forgetSessions();
          return { status: 204 };
        },
      },
    },
    {
      pattern: /^\/hub\/inputs\/([^/]+)\/([^/]+)$/,
      actions: {
        POST: (call) =>
          waited(hub.deliver({ moduleId: id(call), input: id(call, 1) }, toMessage(call.body)), call.query),
      },
    },
    {
      pattern: /^\/hub\/devicebound\/([^/]+)$/,
      actions: {
        POST: (call) => waited(hub.deliver({ deviceId: id(call) }, toMessage(call.body)), call.query),
      },
    },
    {
      pattern: /^\/hub\/environment\/([^/]+)$/,
      actions: { GET: (call) => ({ status: 200, body: hub.environment(id(call)) }) },
    },
  ];
}

function decodeSegment(segment: string | undefined): string | undefined {
  if (segment === undefined) return undefined;
  try {
    return decodeURIComponent(segment);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new HubRequestError(
      400,
      "ArgumentInvalid",
      `the path segment "${segment}" is not percent-encoded text`,
    );
  }
}

/** The HTTP server of the table above. */
export class ControlApi {
  readonly #paths: readonly PathActions[];
  readonly #server: Server;

  constructor(service: ServiceApi, hub: ControlledHub) {
    this.#paths = pathTable(service, hub);
    this.#server = createServer((request, response) => this.#serve(request, response));
    this.#server.maxConnections = 100;
  }

  /** Returns the port. */
  listen(port: number): Promise<number> {
    return listenOn(this.#server, port);
  }

  stop(): Promise<void> {
    return stopListening(this.#server);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.#dispatch(request).then(
      (result) => answer(response, result),
      (error: unknown) => {
        const known = error instanceof HubRequestError ? error : undefined;
        const text = error instanceof Error ? error.message : String(error);
        const body = {
          Message: `ErrorCode:${known?.code ?? "InternalServerError"};${text}`,
          ExceptionMessage: text,
        };
        answer(response, { status: known?.status ?? 500, body });
      },
    );
  }

  async #dispatch(request: IncomingMessage): Promise<JsonAnswer> {
    // A page in a browser can be made to send requests to 127.0.0.1, but not under this name.
    const host = (request.headers.host ?? "").replace(/:\d+$/, "");
    if (!["localhost", "127.0.0.1", "[::1]"].includes(host)) {
      throw new HubRequestError(403, "HostNotAllowed", "the control interface answers to localhost only");
    }
    const url = new URL(request.url ?? "/", "http://localhost");
    const method = request.method ?? "GET";
    for (const { pattern, actions } of this.#paths) {
      const match = pattern.exec(url.pathname);
      if (match === null) continue;
      const action = Object.hasOwn(actions, method) ? actions[method] : undefined;
      if (action === undefined) {
        throw new HubRequestError(
          405,
          "MethodNotAllowed",
          `${url.pathname} takes ${Object.keys(actions).join(", ")}`,
        );
      }
      const ids = match.slice(1).map(decodeSegment);
      const body = parseJson(await readBody(request, maxBodyBytes, bodyTimeoutMs));
      return await action({ ids, query: url.searchParams, body, match: request.headers["if-match"] });
    }
    throw new HubRequestError(404, "PathNotFound", `there is no ${url.pathname} here`);
  }
}
