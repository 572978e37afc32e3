import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { domainToASCII } from "node:url";
import { createWebSocketStream, WebSocket } from "ws";
import { hostOf } from "../core/url-host.ts";
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
  const target = new URL(url);
  const hasOwn = certificates.cert !== undefined && certificates.key !== undefined;
  if (target.protocol.startsWith("ws"))
    return openWebSocket(hasOwn ? url.replace(/^ws:/, "wss:") : url, certificates, received);
  const isSecure = hasOwn || target.protocol === "mqtts:";
  const address = hostOf(target);
  // What is no scheme of the web, such as `mqtt:`, leaves a name of other letters as it is.
  const host = isIP(address) > 0 ? address : domainToASCII(decodeURIComponent(address));
  const onread: OnReadOpts = {
    buffer: Buffer.allocUnsafeSlow(readBytes),
    callback: (count, buffer) => {
      received(Buffer.from(buffer.subarray(0, count)));
      return false;
    },
  };
  const to = { host, port: Number(target.port) || (isSecure ? 8_883 : 1_883), onread };
  if (!isSecure) return ofSocket(connectTcp(to));
  // An address is no server name (RFC 6066 section 3). Its types leave `onread` out.
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const secure = { ...to, ...certificates, ...servername, rejectUnauthorized: true };
  return ofSocket(connectTls(secure as ConnectionOptions));
}

const ofSocket = (stream: Socket): Connection => ({ stream, readOn: () => stream.resume() });

function openWebSocket(
  url: string,
  certificates: Certificates,
  received: (bytes: Buffer) => void,
): Connection {
  const options = { ...certificates, perMessageDeflate: false, rejectUnauthorized: true };
  const socket = new WebSocket(url.replace(/#.*/, ""), ["mqtt"], options);
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
  // Its socket may be gone, for whose end it would wait.
  stream.on("end", () => stream.destroy());
  return { stream, readOn };
}
