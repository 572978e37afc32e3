import { once } from "node:events";
import { request as httpsRequest } from "node:https";
import { isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect } from "node:tls";
import { createWebSocketStream, WebSocket } from "ws";
import { request as httpRequest } from "../core/http.ts";
import { hostOf } from "../core/url-host.ts";

/** Why an HTTP proxy did not open a tunnel. */
const proxySays = (status: number | undefined) => new Error(`the proxy answered CONNECT with ${status}`);

export type HubTransport = "mqtt" | "websocket";

export interface StreamTarget {
  readonly transport: HubTransport;
  readonly host: string;
  readonly port: number;
  /** PEM; undefined: the authorities that Node trusts. */
  readonly ca: string | undefined;
  /** `http://` or `https://`; undefined: straight. */
  readonly proxy: URL | undefined;
}

/** The well-known ports of both hubs. */
const defaultPorts: Readonly<Record<HubTransport, number>> = { mqtt: 8_883, websocket: 443 };

/** Host and port of `host` or `host:port`. @throws TypeError when it is neither */
export function addressOf(dial: string, transport: HubTransport): { host: string; port: number } {
  const url = new URL(`mqtts://${dial}`);
  return { host: hostOf(url), port: url.port === "" ? defaultPorts[transport] : Number(url.port) };
}

/**
 * The proxy that the environment names for HTTPS, unless NO_PROXY names the host: whole names, or the ends of names
 * with or without a leading dot, or `*`.
 */
export function environmentProxy(environment: NodeJS.ProcessEnv, host: string): URL | undefined {
  const url = environment.HTTPS_PROXY || environment.https_proxy;
  const excluded = (environment.NO_PROXY || environment.no_proxy || "").split(",").map((name) => name.trim());
  const isExcluded = excluded.some(
    (name) => name === "*" || (name !== "" && `.${host}`.endsWith(`.${name.replace(/^\./, "")}`)),
  );
  return url && !isExcluded ? new URL(url) : undefined;
}

/**
 * A stream for MQTT over TLS, whose other end has proved its name: bare, or in a WebSocket.
 * Nothing is left of it when the signal aborts before it stands.
 */
export async function openStream(target: StreamTarget, signal: AbortSignal): Promise<Duplex> {
  const { transport, host, port, ca, proxy } = target;
  const tunnel = proxy && (await openTunnel(proxy, host, port, signal));
  const socket = connect({
    host,
    port,
    // An address is no server name (RFC 6066 section 3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(tunnel ? { socket: tunnel } : {}),
  });
  try {
    await once(socket, "secureConnect", { signal });
    if (transport === "mqtt") return socket;
    const name = isIP(host) === 6 ? `[${host}]` : host;
    const webSocket = new WebSocket(`wss://${name}:${port}/$iothub/websocket`, ["mqtt"], {
      createConnection: () => socket,
      perMessageDeflate: false,
    });
    // An abort ends it with the socket.
    webSocket.on("error", () => undefined);
    await once(webSocket, "open", { signal });
    const stream = createWebSocketStream(webSocket);
    // It stays half open by itself; what was received before is read first.
    stream.on("end", () => stream.destroy());
    return stream;
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    tunnel?.destroy();
    throw error;
  }
}

/** RFC 9110 section 9.3.6. */
async function openTunnel(proxy: URL, host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const { username, password } = proxy;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization =
    username === "" ? {} : { "proxy-authorization": `Basic ${Buffer.from(credentials).toString("base64")}` };
  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const request = proxy.protocol === "https:" ? httpsRequest : httpRequest;
  const outgoing = request({
    hostname: hostOf(proxy),
    port: proxy.port,
    method: "CONNECT",
    path: target,
    headers: { host: target, ...authorization },
    agent: false,
    signal,
  });
  return await new Promise((resolve, reject) => {
    outgoing.on("connect", ({ statusCode }, socket: Socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(proxySays(statusCode));
    });
    outgoing.on("response", ({ statusCode }) => {
      outgoing.destroy();
      reject(proxySays(statusCode));
    });
    outgoing.on("error", (cause) => reject(new Error(`the proxy: ${cause.message}`, { cause })));
    outgoing.end();
  });
}
