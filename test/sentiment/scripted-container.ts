import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What a test has the container do with a call. */
export type Behaviour = (call: Call, response: ServerResponse) => void;

/** A real HTTP server that does to each request what the test says; `behave` changes it. */
export async function scriptedContainer(behaviour: Behaviour, port = 0) {
  let behave = behaviour;
  const calls: Call[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const call = { method, path: url, headers, body: Buffer.concat(chunks).toString("utf8") };
      calls.push(call);
      behave(call, response);
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  onTestFinished(stop);
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    calls,
    posts: () => calls.filter(({ method }) => method === "POST"),
    behave: (next: Behaviour) => {
      behave = next;
    },
    stop,
  };
}

export function reply(response: ServerResponse, status: number, body: string | object, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

interface Sent {
  readonly documents: readonly { readonly id: string; readonly text: string; readonly language: string }[];
}
export const sentIn = ({ body }: Call): Sent["documents"] => {
  const value = JSON.parse(body) as Sent & { analysisInput?: Sent };
  return (value.analysisInput ?? value).documents;
};

/** A container of v3.1 that finds everything 0.9 positive; other paths are not there. */
export const v31: Behaviour = (call, response) => {
  if (call.path === "/ready") return reply(response, 200, "ok");
  if (call.path !== "/text/analytics/v3.1/sentiment") return reply(response, 404, "");
  return reply(response, 200, v31Answer(call));
};

export function v31Answer(call: Call) {
  const confidenceScores = { positive: 0.9, neutral: 0.06, negative: 0.04 };
  const documents = sentIn(call).map(({ id }) => ({
    id,
    sentiment: "positive",
    confidenceScores,
    sentences: [],
    warnings: [],
  }));
  return { documents, errors: [] as object[], modelVersion: "2022-06-01" };
}
