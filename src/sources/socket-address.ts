import { InvariantError } from "../core/errors.ts";

export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Of `tcp://host:port`, an IPv6 address in brackets, or `unix:/path`.
 * @throws InvariantError for a text that no schema lets through
 */
export function socketAddress(text: string): SocketAddress {
  if (text.startsWith("unix:")) return { path: text.slice("unix:".length) };
  const [, v6, name, port] = /^tcp:\/\/(?:\[(.+)\]|(.+)):(\d+)$/.exec(text) ?? [];
  const host = v6 ?? name;
  if (host === undefined) throw new InvariantError(`${text} is no address of a socket`);
  return { host, port: Number(port) };
}
