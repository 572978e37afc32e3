import { createServer, type Server, type Socket } from "node:net";
import { Aedes, type AedesOptions, type AedesPublishPacket, type Client } from "aedes";

/** A real broker (aedes) with a record of what it sends and of what it is answered. */
export class TestBroker {
  readonly aedes: Aedes;
  readonly sockets = new Set<Socket>();
  /** Payload of the message that each PUBACK answers, in order, as the broker understood them. */
  readonly acknowledged: string[] = [];
  /** Client id of each connection, in order. */
  readonly clientIds: string[] = [];
  readonly #server: Server;
  port = 0;

  constructor(options: Partial<AedesOptions> = {}) {
    this.aedes = new Aedes(options);
    this.aedes.on("ack", (packet, _client: Client) => {
      if (packet && "payload" in packet)
        this.acknowledged.push(String((packet as AedesPublishPacket).payload));
    });
    this.aedes.on("client", ({ id }) => this.clientIds.push(id));
    this.#server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      this.aedes.handle(socket);
    });
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<this> {
    await this.aedes.listen();
    await this.listen();
    return this;
  }

  /** After the first time on the same port. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.port, "127.0.0.1", resolve));
    const address = this.#server.address();
    this.port = typeof address === "object" && address ? address.port : 0;
  }

  /** Resolves when the broker has it, which is before anybody else does. */
  publish(topic: string, payload: string | Buffer, qos: 0 | 1 = 1, retain = false): Promise<void> {
    return new Promise((resolve, reject) => {
      const packet = { cmd: "publish" as const, topic, payload, qos, retain, dup: false };
      this.aedes.publish(packet, (error) => (error ? reject(error) : resolve()));
    });
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** The port is closed; sessions are kept. */
  async unlisten(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  async stop(): Promise<void> {
    if (this.#server.listening) await this.unlisten();
    await new Promise<void>((resolve) => this.aedes.close(() => resolve()));
  }
}
