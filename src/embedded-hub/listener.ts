import { once } from "node:events";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createServer, type Server } from "node:tls";
import { createWebSocketStream, WebSocketServer } from "ws";
import type { ServerCertificate } from "./certificates.ts";
import type { Counters } from "./counters.ts";

export interface ListenerLimits {
  readonly connectTimeoutMs: number;
  readonly maxConnections: number;
}

/** Where IoT Hub and edge hub serve MQTT over WebSocket, on their port 443. */
const webSocketPath = "/$iothub/websocket";

/** The TLS ports of the broker: MQTT, and if asked for MQTT over WebSocket. May stop and start again; the ports stay. */
export class Listener {
  readonly #host: string;
  readonly #limits: ListenerLimits;
  readonly #counters: Counters;
  readonly #accept: (stream: Duplex) => void;
  #certificate: ServerCertificate;
  #servers: readonly Server[] = [];
  readonly #sockets = new Set<Socket>();
  #port: number;
  #webSocketPort: number | undefined;

  constructor(options: {
    readonly host: string;
    readonly port: number;
    /** 0 takes a free one; undefined: no WebSocket. */
    readonly webSocketPort: number | undefined;
    readonly certificate: ServerCertificate;
    readonly limits: ListenerLimits;
    readonly counters: Counters;
    readonly accept: (stream: Duplex) => void;
  }) {
    this.#host = options.host;
    this.#port = options.port;
    this.#webSocketPort = options.webSocketPort;
    this.#certificate = options.certificate;
    this.#limits = options.limits;
    this.#counters = options.counters;
    this.#accept = options.accept;
  }

  get port(): number {
    return this.#port;
  }

  get webSocketPort(): number | undefined {
    return this.#webSocketPort;
  }

  get isListening(): boolean {
    return this.#servers.length > 0;
  }

  /** Used from the next TLS handshake on. */
  useCertificate(certificate: ServerCertificate): void {
    this.#certificate = certificate;
    const context = { key: certificate.privateKeyPem, cert: certificate.certificatePem };
    for (const server of this.#servers) server.setSecureContext(context);
  }

  /** @throws the listening error, for example EADDRINUSE */
  async start(): Promise<void> {
    if (this.isListening) return;
    const tlsOptions = {
      key: this.#certificate.privateKeyPem,
      cert: this.#certificate.certificatePem,
      minVersion: "TLSv1.2",
      handshakeTimeout: this.#limits.connectTimeoutMs,
    } as const;
    const server = createServer(tlsOptions);
    server.on("secureConnection", (socket) => {
      socket.setNoDelay(true);
      this.#accept(socket);
    });
    this.#port = await this.#listen(server, this.#port);
    this.#servers = [server];
    if (this.#webSocketPort === undefined) return;
    const https = createHttpsServer(tlsOptions);
    const webSockets = new WebSocketServer({
      server: https,
      path: webSocketPath,
      // MQTT 3.1.1 section 6: without its subprotocol there is no MQTT.
      handleProtocols: (offered) => (offered.has("mqtt") ? "mqtt" : false),
    });
    webSockets.on("connection", (socket) => {
      if (socket.protocol !== "mqtt") return socket.close(1002);
      const stream = createWebSocketStream(socket);
      // It stays half open by itself.
      stream.on("end", () => stream.destroy());
      this.#accept(stream);
    });
    this.#webSocketPort = await this.#listen(https, this.#webSocketPort);
    this.#servers = [server, https];
  }

  async #listen(server: Server, port: number): Promise<number> {
    server.maxConnections = this.#limits.maxConnections;
    server.on("drop", () => this.#counters.add("connectionsDroppedTooMany"));
    server.on("tlsClientError", (_error, socket) => {
      this.#counters.add("tlsHandshakesFailed");
      socket.destroy();
    });
    // Also the sockets that are still in their handshake: a closing server waits for them too.
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    server.listen(port, this.#host);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  /** Cuts every connection. */
  async stop(): Promise<void> {
    const servers = this.#servers;
    this.#servers = [];
    const closed = servers.map((server) => once(server, "close"));
    for (const server of servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }
}
