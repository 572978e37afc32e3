import { once } from "node:events";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect } from "node:tls";

export interface StreamTarget {
  readonly host: string;
  readonly port: number;
  /** PEM; undefined: the authorities that Node trusts. */
  readonly ca: string | undefined;
}

/** `host` or `host:port`. @throws TypeError when it is neither */
export function streamTarget(dial: string, defaultPort: number, ca: string | undefined): StreamTarget {
  const { hostname, port } = new URL(`mqtts://${dial}`);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: port === "" ? defaultPort : Number(port), ca };
}

/** A TLS connection whose other end has proved its name; destroyed when the signal aborts before it stands. */
export async function openStream(target: StreamTarget, signal: AbortSignal): Promise<Duplex> {
  const { host, port, ca } = target;
  const socket = connect({
    host,
    port,
    // An address is no server name (RFC 6066 section 3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
  });
  try {
    await once(socket, "secureConnect", { signal });
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw error;
  }
  return socket;
}
