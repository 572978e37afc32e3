import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ServerCertificate } from "./certificates.ts";
import type { Counters } from "./counters.ts";

export interface ListenerLimits {
  readonly connectTimeoutMs: number;
  readonly maxConnections: number;
}

/** The TLS port of the broker. May stop and start again; the port stays the same. */
export class Listener {
  readonly #host: string;
  readonly #limits: ListenerLimits;
  readonly #counters: Counters;
  readonly #accept: (socket: TLSSocket) => void;
  #certificate: ServerCertificate;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();
  #port: number;

  constructor(options: {
    readonly host: string;
    readonly port: number;
    readonly certificate: ServerCertificate;
    readonly limits: ListenerLimits;
    readonly counters: Counters;
    readonly accept: (socket: TLSSocket) => void;
  }) {
    this.#host = options.host;
    this.#port = options.port;
    this.#certificate = options.certificate;
    this.#limits = options.limits;
    this.#counters = options.counters;
    this.#accept = options.accept;
  }

  get port(): number {
    return this.#port;
  }

  get isListening(): boolean {
    return this.#server !== undefined;
  }

  /** Used from the next TLS handshake on. */
  useCertificate(certificate: ServerCertificate): void {
    this.#certificate = certificate;
    this.#server?.setSecureContext({ key: certificate.privateKeyPem, cert: certificate.certificatePem });
  }

  /** @throws the listening error, for example EADDRINUSE */
  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({
      key: this.#certificate.privateKeyPem,
      cert: this.#certificate.certificatePem,
      minVersion: "TLSv1.2",
      handshakeTimeout: this.#limits.connectTimeoutMs,
    });
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
    server.on("secureConnection", (socket) => this.#accept(socket));
    server.listen(this.#port, this.#host);
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Cuts every connection. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
