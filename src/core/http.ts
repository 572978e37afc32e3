/**
 * Node's own HTTP. Not imported, because an import looks at every export of the module, and one of them, `WebSocket`,
 * loads a client of the web's that nobody here uses: 10 MB of an empty process, and 40 ms of the start (Node 22).
 */
export const { createServer, get, request, Agent } = process.getBuiltinModule("node:http");

/** The client's half, by the scheme of a URL; TLS is loaded when it is wanted. */
export const clientFor = (url: string): { readonly request: typeof request; readonly Agent: typeof Agent } =>
  url.startsWith("https:") ? process.getBuiltinModule("node:https") : { request, Agent };
