import { request } from "node:http";
import type { Pieces } from "../../bench/onnx/protobuf.ts";
import { modelFile } from "../infer/running-model.ts";
import { until } from "../support/until.ts";
import { type Sections, startGateway } from "./api-gateway.ts";

/** A whole gateway with models on threads of one, of which all are ready. */
export async function scoringGateway(
  folder: string,
  models: Readonly<Record<string, Pieces>>,
  settings: object = {},
  sections: Sections = {},
) {
  const entries = Object.entries(models).map(([name, pieces]) => {
    const { file } = modelFile(folder, `${name}.onnx`, pieces);
    return [name, { file, threads: 1, ...settings }] as const;
  });
  const box = await startGateway(folder, { models: Object.fromEntries(entries), ...sections });
  const { gateway } = box;
  await until("the models are ready", () =>
    Object.values(gateway.status.models).every(({ state }) => state === "ready"),
  );
  const send = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    ask(`${box.url()}${path}`, {
      method: "POST",
      body,
      headers: { authorization: `Bearer ${box.token()}`, ...headers },
    });
  return { ...box, send };
}

/** The fields of all answers together: a test reads those of the one that it asked for. */
interface Answer {
  readonly result: number[];
  readonly labels: {
    readonly index: number;
    readonly id: string;
    readonly label: string;
    readonly probability: number;
  }[];
  readonly times: Readonly<Record<string, number>>;
  readonly outputs: { readonly data: unknown }[];
  readonly code: unknown;
  readonly error: unknown;
}

export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Answer;
}

export async function ask(url: string, init: RequestInit): Promise<Told> {
  const response = await fetch(url, init);
  return { status: response.status, headers: response.headers, json: JSON.parse(await response.text()) };
}

/** Begins a request and gives the caller the means to leave. */
export function leavingCaller(url: string, token: string, headers: Record<string, string>, body: Uint8Array) {
  const call = request(url, { method: "POST", headers: { authorization: `Bearer ${token}`, ...headers } });
  call.on("error", () => call.destroy());
  call.end(body);
  return call;
}
