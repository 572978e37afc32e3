import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { createWebSocketStream, WebSocket } from "ws";
import type { Connection } from "./coalesced-stream.ts";

const readBytes = 65_536;

/** PEM. */
export interface Certificates {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/**
 * Connects to a broker by `mqtt:`, `mqtts:`, `ws:` or `wss:`; a certificate of our own makes it secure in any case.
 * Hands a piece of what comes in to `received` when it is told to read on, and for TLS perhaps several.
 */
export function openBroker(
  url: string,
  certificates: Certificates,
  received: (bytes: Buffer) => void,
): Connection {
  const { protocol, hostname, port } = new URL(url);
  const hasOwn = certificates.cert !== undefined && certificates.key !== undefined;
  if (protocol.startsWith("ws"))
    return openWebSocket(hasOwn ? url.replace(/^ws:/, "wss:") : url, certificates, received);
  const isSecure = hasOwn || protocol === "mqtts:";
  // A URL writes an address of IPv6 in brackets, a connection takes it without.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const onread: OnReadOpts = {
    buffer: Buffer.allocUnsafeSlow(readBytes),
    callback: (count, buffer) => {
      received(Buffer.from(buffer.subarray(0, count)));
      return false;
    },
  };
  const to = { host, port: Number(port) || (isSecure ? 8_883 : 1_883), onread };
  if (!isSecure) return ofSocket(connectTcp(to));
  // An address is no server name (RFC 6066 section 3). Its types leave `onread` out.
  const secure = { ...to, ...certificates, ...(isIP(host) === 0 ? { servername: host } : {}) };
  return ofSocket(connectTls(secure as ConnectionOptions));
}

const ofSocket = (stream: Socket): Connection => ({ stream, readOn: () => stream.resume() });

function openWebSocket(
  url: string,
  certificates: Certificates,
  received: (bytes: Buffer) => void,
): Connection {
  const socket = new WebSocket(url, ["mqtt"], { ...certificates, perMessageDeflate: false });
  const stream = createWebSocketStream(socket);
  let isWanted = false;
  const readOn = () => {
    const bytes: Buffer | null = stream.read();
    isWanted = bytes === null;
    if (bytes) received(bytes);
  };
  stream.on("readable", () => {
    if (isWanted) readOn();
  });
  return { stream, readOn };
}
