import type { IncomingMessage, ServerResponse } from "node:http";
import { served } from "../support/served.ts";
import { scoreBody, scoreTask } from "./running-model.ts";

export type Answer = (response: ServerResponse, body: string, request: IncomingMessage) => void;

export const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, headers).end(typeof value === "string" ? value : JSON.stringify(value));
export const good = json({ result: [0.25, 0.5, 0.25], time: 0.1 });
export const never: Answer = () => undefined;

/** A scorer that answers what the test wants at the time, and keeps what it was asked. */
export async function scorer(first: Answer, port = 0) {
  const asked: { readonly path: string; readonly body: string; readonly request: IncomingMessage }[] = [];
  const box = { answer: first };
  let connections = 0;
  const {
    url,
    server,
    port: taken,
  } = await served((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (text: string) => {
      body += text;
    });
    request.on("end", () => {
      asked.push({ path: request.url ?? "", body, request });
      box.answer(response, body, request);
    });
  }, port);
  server.on("connection", () => {
    connections++;
  });
  return {
    url,
    port: taken,
    asked,
    server,
    answers: (answer: Answer) => {
      box.answer = answer;
    },
    connections: () => connections,
    away: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const size = { width: 2, height: 2 };
export const remote = (url: string, more: object = {}) => ({
  remote: { protocol: "score", url: `${url}/score`, size, ...more },
});
export const image = () => scoreTask(scoreBody([1, 3, 2, 2], (i) => i * 20));
