import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Config } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { KeptPictures } from "../pictures/kept-pictures.ts";
import { ApiError } from "./api-error.ts";
import { ApiServer, type ApiServerStatus } from "./api-server.ts";
import { apiToken, tokenCheck } from "./api-token.ts";
import { Cors } from "./cors.ts";
import { type Answer, type Endpoint, jsonAnswer } from "./endpoint.ts";
import { PictureEndpoints } from "./picture-endpoints.ts";
import type { Readings } from "./readings.ts";
import { answer, BodyCut, BodyRoom, readBody } from "./request-body.ts";
import { type Scoring, ScoringEndpoints } from "./scoring-endpoints.ts";

/** What the endpoints that only tell something have to tell. */
export interface ApiViews {
  readonly status: () => object;
  readonly ledger: () => object;
  readonly deadLetters: () => Promise<object>;
  /** Prometheus text format. */
  readonly metrics: () => string;
}

export interface LocalApiOptions {
  readonly config: Config["api"];
  /** A body that is larger would never find room between the threads. */
  readonly maxQueueBytes: number;
  readonly storeFolder: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly readings: Readings;
  readonly scoring: Scoring;
  readonly pictures: KeptPictures;
  readonly views: ApiViews;
  readonly onStatus: (status: ApiServerStatus) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface ApiStatus extends ApiServerStatus {
  /** Answers per status code. */
  readonly answers: Readonly<Record<string, number>>;
  /** Requests whose body broke off; nothing of them was taken. */
  readonly cutBodies: number;
  /** Requests that an idempotency key showed to be repeats. */
  readonly repeats: number;
  readonly refusedConnections: number;
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
const prometheus = "text/plain; version=0.0.4; charset=utf-8";

/** Local HTTP: readings in; ledger, status and metrics out. */
export class LocalApi {
  readonly #options: LocalApiOptions;
  readonly #server: ApiServer;
  readonly #cors: Cors;
  readonly #room: BodyRoom;
  readonly #maxBodyBytes: number;
  readonly #endpoints: Readonly<Record<string, Endpoint>>;
  readonly #scoring: ScoringEndpoints;
  readonly #pictures: PictureEndpoints;
  readonly #answers: Record<string, number> = {};
  #cutBodies = 0;
  #stopping = false;

  constructor(options: LocalApiOptions) {
    this.#options = options;
    const { config, maxQueueBytes, scoring, pictures, views, clock, log, onStatus } = options;
    const { host, port, cors, maxScoringBytes } = config;
    this.#cors = new Cors(cors.origins);
    this.#maxBodyBytes = Math.min(config.maxBodyBytes, maxQueueBytes);
    // As much as may wait for a commit may also be on its way here.
    this.#room = new BodyRoom(maxQueueBytes);
    this.#scoring = new ScoringEndpoints(
      scoring,
      options.readings.texts,
      maxScoringBytes,
      new BodyRoom(2 * maxScoringBytes),
    );
    this.#pictures = new PictureEndpoints(pictures);
    this.#server = new ApiServer({ host, port, prepare: () => this.#prepare(), onStatus, clock, log });
    this.#endpoints = {
      "/api/readings": { method: "POST", answer: (...call) => this.#readings(...call) },
      "/api/ledger": { method: "GET", answer: () => jsonAnswer(views.ledger()) },
      "/api/status": { method: "GET", answer: () => jsonAnswer(views.status()) },
      "/api/dead-letters": { method: "GET", answer: async () => jsonAnswer(await views.deadLetters()) },
      "/metrics": { method: "GET", answer: () => ({ status: 200, type: prometheus, body: views.metrics() }) },
    };
  }

  get status(): ApiStatus {
    const off = { state: "off", reason: undefined, url: undefined } as const;
    return {
      ...(this.#options.config.state === "off" ? off : this.#server.status),
      answers: this.#answers,
      cutBodies: this.#cutBodies,
      repeats: this.#options.readings.repeats,
      refusedConnections: this.#server.refusedConnections,
    };
  }

  /** Resolves after the first attempt to listen, whatever became of it. */
  async start(): Promise<void> {
    if (this.#options.config.state === "on") await this.#server.start();
    else this.#options.onStatus(this.status);
  }

  /** Takes nothing more; who waits for a commit is answered, if it comes before the deadline. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true;
    this.#options.readings.stop();
    if (this.#options.config.state === "on") await this.#server.stop(deadline);
  }

  #prepare(): RequestListener {
    const { config, storeFolder, environment } = this.#options;
    const isAllowed = tokenCheck(apiToken(config.token, storeFolder, environment));
    return (request, response) => void this.#serve(request, response, isAllowed);
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    isAllowed: (authorization: string | undefined) => boolean,
  ): Promise<void> {
    let answered: Answer;
    try {
      answered = await this.#answer(request, response, isAllowed);
    } catch (error) {
      if (error instanceof BodyCut) {
        this.#cutBodies++;
        return;
      }
      const refusal = error instanceof ApiError ? error : this.#bug(error);
      answered = { ...jsonAnswer(refusal.body, refusal.status), headers: refusal.headers };
    }
    const { status, type, body, headers } = answered;
    this.#answers[status] = (this.#answers[status] ?? 0) + 1;
    // A connection that is kept would keep the stop waiting.
    const connection = this.#stopping ? { connection: "close" } : {};
    await answer(request, response, status, body, {
      "content-type": type,
      ...connection,
      ...this.#cors.headers(request),
      ...headers,
    });
  }

  /** @throws ApiError, BodyCut */
  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    isAllowed: (authorization: string | undefined) => boolean,
  ): Promise<Answer> {
    const url = URL.parse(request.url ?? "", "http://localhost");
    const preflight = this.#cors.preflight(request, (url && this.#endpoint(url)?.method) ?? "");
    if (preflight) return { ...jsonAnswer({}, 204), body: "", headers: preflight };
    const scoring = url && this.#scoring.find(url.pathname);
    const { config } = this.#options;
    // With a source, what comes goes into the store.
    const isOpenScoring = scoring && config.scoring === "open" && !url.searchParams.has("source");
    const isOpen = (url?.pathname === "/metrics" && config.metrics === "open") || isOpenScoring;
    if (!isOpen && !isAllowed(request.headers.authorization)) {
      const headers = { "www-authenticate": "Bearer" };
      throw new ApiError(401, "unauthorized", "send the token as `Authorization: Bearer …`", { headers });
    }
    if (!url) throw new ApiError(400, "badRequest", "the address is none");
    const endpoint = this.#endpoint(url);
    if (!endpoint) {
      const others = [...this.#scoring.paths, ...this.#pictures.paths];
      const known = [...Object.keys(this.#endpoints), ...others].join(", ");
      throw new ApiError(404, "notFound", `there is no ${url.pathname}, but ${known}`);
    }
    if (request.method !== endpoint.method) {
      const headers = { allow: endpoint.method };
      throw new ApiError(405, "methodNotAllowed", `${url.pathname} takes ${endpoint.method}`, { headers });
    }
    return await endpoint.answer(request, response, url);
  }

  #endpoint({ pathname }: URL): Endpoint | undefined {
    const own = Object.hasOwn(this.#endpoints, pathname) ? this.#endpoints[pathname] : undefined;
    return own ?? this.#scoring.find(pathname) ?? this.#pictures.find(pathname);
  }

  async #readings(request: IncomingMessage, response: ServerResponse, url: URL): Promise<Answer> {
    const body = await readBody(request, response, this.#maxBodyBytes, this.#room);
    try {
      const { "content-type": contentType, "idempotency-key": key } = request.headers;
      const stored = await this.#options.readings.post({
        source: url.searchParams.get("source") ?? undefined,
        contentType,
        key: Array.isArray(key) ? key.join() : key,
        body: body.bytes,
      });
      return jsonAnswer(stored);
    } finally {
      body.release();
    }
  }

  #bug(error: unknown): ApiError {
    this.#options.log.error({ reason: messageOf(error) }, "a request failed");
    return new ApiError(500, "internal", "the request failed; the log says why");
  }
}
