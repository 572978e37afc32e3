import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** Files as the kernel shows them, in a folder of their own. */
export class SysfsTree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Nobody ever reads half of it. */
  write(path: string, text: string): void {
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }

  link(path: string, target: string): void {
    const link = join(this.root, path);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(relative(dirname(link), join(this.root, target)), link);
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true });
  }
}

/** Thermometers on 1-Wire, as w1 and w1_therm show them. */
export class OneWireTree {
  readonly #tree: SysfsTree;

  constructor(folder: string) {
    this.#tree = new SysfsTree(folder);
  }

  /** What a source has as its `root`. */
  get devices(): string {
    return join(this.#tree.root, "bus/w1/devices");
  }

  /** The folder that the files of one are in. */
  folder(id: string, bus = 1): string {
    return join(this.#tree.root, this.#path(id, bus));
  }

  plug(id: string, text: string, bus = 1): void {
    this.#tree.write(`${this.#path(id, bus)}/w1_slave`, text);
    this.#tree.remove(`bus/w1/devices/${id}`);
    this.#tree.link(`bus/w1/devices/${id}`, this.#path(id, bus));
  }

  unplug(id: string, bus = 1): void {
    this.#tree.remove(`bus/w1/devices/${id}`);
    this.#tree.remove(this.#path(id, bus));
  }

  #path(id: string, bus: number): string {
    return `devices/w1_bus_master${bus}/${id}`;
  }
}

/** `w1_slave` of a DS18B20 at so many sixteenths of a degree. */
export function w1Slave(sixteenths: number, verdict: "YES" | "NO" = "YES"): string {
  const bytes = Buffer.from("0000 4b46 7fff 0010".replaceAll(" ", ""), "hex");
  bytes.writeInt16LE(sixteenths, 0);
  bytes[6] = 0x10 - (sixteenths & 0x0f);
  return w1SlaveOf(bytes, verdict, Math.trunc((sixteenths * 1_000) / 16));
}

/** The same of the first eight bytes of any scratchpad. */
export function w1SlaveOf(bytes: Uint8Array, verdict: "YES" | "NO" = "YES", milli = 0): string {
  const whole = [...bytes, crc8(bytes)];
  const hex = whole.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${hex} : crc=${hex.slice(-2)} ${verdict}\n${hex} t=${milli}\n`;
}

/** By table, unlike the driver's: what it says is checked by the datasheet's vectors there. */
const table = Uint8Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x8c : crc >>> 1;
  return crc;
});
const crc8 = (bytes: Uint8Array) => bytes.reduce((crc, byte) => table[crc ^ byte] ?? 0, 0);
