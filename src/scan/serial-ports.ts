import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { namesIn, type Roots, textIn } from "./folder.ts";

export interface FoundPort {
  /** The one that stays the same across unplugging and restarts, where there is one. */
  readonly path: string;
  readonly tty: string;
  /** What a USB adapter says of itself. */
  readonly usb?: string;
}

const ttys = /^tty(USB|ACM|AMA|S|mxc|THS|O)\d+$/;
/** Folders between a port and the adapter that it belongs to, at most. */
const mostParents = 5;

/** Serial ports of the box, none of them opened. */
export async function serialPorts({ dev, sys }: Roots): Promise<readonly FoundPort[]> {
  const byId = join(dev, "serial/by-id");
  const lasting = new Map<string, string>();
  for (const name of await namesIn(byId)) {
    const path = join(byId, name);
    const tty = await realpath(path).catch(() => undefined);
    if (tty !== undefined) lasting.set(tty, path);
  }
  const ports: FoundPort[] = [];
  for (const tty of (await namesIn(dev)).filter((name) => ttys.test(name))) {
    const path = join(dev, tty);
    const of = join(sys, "class/tty", tty);
    // Kernels make more ttyS than there are ports; type 0 is one that is not there (serial_core.h, PORT_UNKNOWN).
    if ((await textIn(of, "type")) === "0") continue;
    const target = await realpath(path).catch(() => path);
    const usb = await adapterOf(join(of, "device"));
    ports.push({ path: lasting.get(target) ?? path, tty, ...(usb === undefined ? {} : { usb }) });
  }
  return ports;
}

/** `FTDI FT232R USB UART (0403:6001)`, from the nearest folder that describes a USB device. */
async function adapterOf(device: string): Promise<string | undefined> {
  let folder = await realpath(device).catch(() => undefined);
  for (let i = 0; i < mostParents && folder !== undefined && basename(folder) !== ""; i++) {
    const vendor = await textIn(folder, "idVendor");
    if (vendor !== undefined) {
      const [maker, product, id] = await Promise.all([
        textIn(folder, "manufacturer"),
        textIn(folder, "product"),
        textIn(folder, "idProduct"),
      ]);
      return [maker, product, `(${vendor}:${id})`].filter((part) => part !== undefined).join(" ");
    }
    folder = dirname(folder);
  }
  return undefined;
}
