import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { EmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";

/** The cable between a gateway and a hub: it can be cut in the middle of a packet. */
export class TearableLink {
  readonly #server: Server;
  readonly #hubPort: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** Bytes to the hub that still pass before it is cut. */
  #left = Number.POSITIVE_INFINITY;
  #tears = 0;

  static async to(hub: EmbeddedHub): Promise<TearableLink> {
    const link = new TearableLink(hub.port);
    await new Promise<void>((resolve) => link.#server.listen(0, "127.0.0.1", resolve));
    return link;
  }

  private constructor(hubPort: number) {
    this.#hubPort = hubPort;
    this.#server = createServer((gateway) => this.#join(gateway));
  }

  /** The hub's environment for a module, by way of this link. */
  environment(hub: EmbeddedHub, moduleId: string): Record<string, string> {
    const { port } = this.#server.address() as AddressInfo;
    return { ...hub.environment(moduleId), IOTEDGE_GATEWAYHOSTNAME: `localhost:${port}` };
  }

  /** How often it was cut. */
  get tears(): number {
    return this.#tears;
  }

  /** Cuts the connection when so many more bytes have gone to the hub: of the packet they end in, a part arrives. */
  tearAfter(bytes: number): void {
    this.#left = bytes;
  }

  async stop(): Promise<void> {
    this.#cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #join(gateway: Socket): void {
    const hub = connect(this.#hubPort, "127.0.0.1");
    const pair = [gateway, hub] as const;
    this.#pairs.add(pair);
    for (const socket of pair) {
      const end = () => {
        this.#pairs.delete(pair);
        gateway.destroy();
        hub.destroy();
      };
      socket.on("error", end);
      socket.on("close", end);
    }
    hub.on("data", (bytes) => gateway.write(bytes));
    gateway.on("data", (bytes) => {
      if (bytes.length < this.#left) {
        this.#left -= bytes.length;
        hub.write(bytes);
        return;
      }
      // `end` hands on what was written; `destroy` alone might throw it away.
      hub.end(bytes.subarray(0, this.#left));
      gateway.destroy();
      this.#left = Number.POSITIVE_INFINITY;
      this.#tears++;
    });
  }

  #cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }
}
