import type { IncomingMessage, ServerResponse } from "node:http";
import { isRefusal } from "../infer/refusal.ts";
import type { TensorInfo } from "../infer/tensor.ts";
import { datatypeOf } from "../infer/v2-message.ts";
import { version } from "../version.ts";
import { ApiError } from "./api-error.ts";
import { type Answer, type Endpoint, jsonAnswer, withPlainErrors } from "./endpoint.ts";
import { type Models, modelNamed, ownBytes, refusalError, type ScoringBodies } from "./scoring-requests.ts";

/** `/v2/models/NAME`, `…/versions/VERSION`, and what is asked of it. */
const modelPath = /^\/v2\/models\/([^/]+)(?:\/versions\/[^/]+)?(\/ready|\/infer)?$/;

/** Of the extension for binary tensors. */
const headBytes = "inference-header-content-length";

/**
 * The V2 inference protocol, which Triton and KServe clients speak
 * (github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md). There are no versions of a
 * model here: any is the one in force. Not ready is 400, as Triton has it.
 */
export class V2Endpoints {
  readonly #models: Models;
  readonly #bodies: ScoringBodies;
  readonly #endpoints: Readonly<Record<string, Endpoint>>;

  constructor(models: Models, bodies: ScoringBodies) {
    this.#models = models;
    this.#bodies = bodies;
    const get = (answer: () => Answer): Endpoint => ({ method: "GET", answer });
    this.#endpoints = {
      "/v2": get(() => jsonAnswer({ name: "headgate", version, extensions: ["binary_tensor_data"] })),
      "/v2/health/live": get(() => jsonAnswer({ live: true })),
      "/v2/health/ready": get(() => this.#health()),
    };
  }

  find(pathname: string): Endpoint | undefined {
    if (Object.hasOwn(this.#endpoints, pathname)) return this.#endpoints[pathname];
    const [, encoded, action] = modelPath.exec(pathname) ?? [];
    // Names of entries need no escapes: one that has any is the name of none.
    if (encoded === undefined) return undefined;
    switch (action) {
      case "/ready":
        return withPlainErrors({ method: "GET", answer: () => this.#ready(encoded) });
      case "/infer":
        return withPlainErrors({
          method: "POST",
          answer: (request, response) => this.#infer(encoded, request, response),
        });
      default:
        return withPlainErrors({ method: "GET", answer: () => this.#metadata(encoded) });
    }
  }

  /** All models that are configured can be asked. */
  #health(): Answer {
    const ready = Object.values(this.#models.status).every(({ state }) => state === "ready");
    return jsonAnswer({ ready }, ready ? 200 : 400);
  }

  #ready(name: string): Answer {
    const [, model] = modelNamed(this.#models, name);
    const ready = model.status.state === "ready";
    return jsonAnswer({ name, ready }, ready ? 200 : 400);
  }

  #metadata(name: string): Answer {
    const [, model] = modelNamed(this.#models, name);
    const { state, reason, engine, inputs, outputs } = model.status;
    if (state !== "ready") {
      const message = reason === undefined ? `the model is ${state}` : reason;
      throw new ApiError(400, "notReady", message);
    }
    const told = (tensor: TensorInfo) => ({
      name: tensor.name,
      datatype: datatypeOf(tensor.type),
      // An open dimension is -1.
      shape: tensor.shape.map((size) => (typeof size === "number" ? size : -1)),
    });
    return jsonAnswer({
      name,
      platform: engine === "remote" ? "remote" : "onnxruntime_onnx",
      inputs: inputs.map(told),
      outputs: outputs.map(told),
    });
  }

  async #infer(name: string, request: IncomingMessage, response: ServerResponse): Promise<Answer> {
    const [, model] = modelNamed(this.#models, name);
    const jsonBytes = jsonBytesOf(request);
    return await this.#bodies.with(request, response, async (body, client) => {
      const { bytes, transfer } = ownBytes(body);
      const task = { kind: "v2", body: bytes, jsonBytes, model: name } as const;
      const answered = await model.ask(async () => ({ task, transfer }), client);
      if (isRefusal(answered)) throw refusalError(answered);
      const { outcome } = answered;
      if (outcome.kind !== "v2") throw new ApiError(500, "internal", "the answer is of another kind");
      const { json, binary } = outcome;
      if (!binary) return { ...jsonAnswer({}), body: `${json}\n` };
      const head = Buffer.from(json);
      return {
        status: 200,
        type: "application/octet-stream",
        body: Buffer.concat([head, binary]),
        headers: { [headBytes]: String(head.length) },
      };
    });
  }
}

/** How many bytes of a body are JSON, where tensors follow it as bytes. @throws ApiError */
function jsonBytesOf({ headers }: IncomingMessage): number | undefined {
  const text = headers[headBytes];
  if (text === undefined) return undefined;
  if (typeof text !== "string" || !/^\d{1,10}$/.test(text))
    throw new ApiError(400, "badRequest", `${headBytes} must be the number of bytes of the JSON`);
  return Number(text);
}
