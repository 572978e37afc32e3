import type { ClientRequest, IncomingMessage } from "node:http";
import { unlessAborted } from "./deadline.ts";

/**
 * Node's own HTTP. Not imported, because an import looks at every export of the module, and one of them, `WebSocket`,
 * loads a client of the web's that nobody here uses: 10 MB of an empty process, and 40 ms of the start (Node 22).
 */
export const { createServer, get, request, Agent } = process.getBuiltinModule("node:http");

/** The client's half, by the scheme of a URL; TLS is loaded when it is wanted. */
export const clientFor = (url: string): { readonly request: typeof request; readonly Agent: typeof Agent } =>
  url.startsWith("https:") ? process.getBuiltinModule("node:https") : { request, Agent };

/**
 * What comes back of a request. Node tells of an answer with status 101 by neither response nor error, and the signal
 * that the request has ends it no more then. @throws the signal's reason, and what the system says
 */
export async function responseOf(request: ClientRequest, signal: AbortSignal): Promise<IncomingMessage> {
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    // Also what comes behind the end, which is of no interest, and must not be an unhandled event.
    request.on("error", reject);
    request.once("upgrade", (_, socket) => {
      socket.destroy();
      reject(new Error("it switches to another protocol"));
    });
  });
  return await unlessAborted(response, signal);
}
