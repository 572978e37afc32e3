import { parentPort } from "node:worker_threads";
import { InvariantError, messageOf, PermanentError, TransientError } from "../core/errors.ts";
import type { ReplyMessage, RequestMessage, SerializedError } from "./protocol.ts";
import { StoreKeeper } from "./store-keeper.ts";

/** Entry of the store thread: one request after the other, each answered. */
const port = parentPort;
if (!port) throw new InvariantError("store-thread.ts runs only as a worker");

let store: StoreKeeper | undefined;

port.on("message", (request: RequestMessage) => {
  const transfer: ArrayBuffer[] = [];
  let reply: ReplyMessage;
  try {
    const result = serve(request);
    if (result && "body" in result && result.body instanceof Uint8Array) transfer.push(result.body.buffer);
    reply = { id: request.id, result };
  } catch (error) {
    reply = { id: request.id, error: serialize(error) };
    if (request.name === "commit") {
      // The batch goes back to its owner, who repeats the commit: it holds the only copy of these bytes.
      const { batch } = request.argument;
      const status = store?.status;
      reply = { ...reply, batch, ...(status ? { status } : {}) };
      if (batch.buffer instanceof ArrayBuffer) transfer.push(batch.buffer);
    }
  }
  port.postMessage(reply, transfer);
  if (request.name === "commit") store?.tidy();
});

function serve(request: RequestMessage) {
  if (request.name === "open") {
    const { folder, settings } = request.argument;
    store = new StoreKeeper(folder, settings, (opened) => {
      port?.postMessage({ opened } satisfies ReplyMessage);
    });
    store.open();
    return undefined;
  }
  if (request.name === "close") {
    store?.close();
    store = undefined;
    return undefined;
  }
  if (!store) throw new InvariantError(`${request.name} before open`);
  switch (request.name) {
    case "commit":
      return store.commit(request.argument);
    case "next":
      return store.next(request.argument.done, request.argument.isBackfillWanted);
    case "configure":
      store.configure(request.argument);
      return undefined;
    case "deadLetters":
      return store.deadLetters();
    case "texts":
      return store.texts(request.argument.after);
    case "audit":
      return store.audit();
    default:
      return request satisfies never;
  }
}

function serialize(error: unknown): SerializedError {
  const kind =
    error instanceof TransientError ? "transient" : error instanceof PermanentError ? "permanent" : "bug";
  return {
    kind,
    code: error instanceof TransientError || error instanceof PermanentError ? error.code : "INVARIANT",
    message: messageOf(error),
    stack: error instanceof Error ? error.stack : undefined,
  };
}
