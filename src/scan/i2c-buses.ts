import { join } from "node:path";
import { checkConfig } from "../config/check.ts";
import { ConfigError, messageOf, TransientError } from "../core/errors.ts";
import { i2cDrivers } from "../drivers/catalogue.ts";
import { type Exchange, type I2cDriver, type Pause, WrongChip } from "../drivers/driver.ts";
import { I2cChip } from "../sources/i2c-chip.ts";
import { Turns } from "../sources/turns.ts";
import { Unavailable } from "../sources/unavailable.ts";
import { hex, linkIn, namesIn, type Roots, textIn } from "./folder.ts";

export interface FoundChip {
  readonly address: number;
  /** The driver whose chip answers. */
  readonly driver?: string;
  /** Drivers of chips that can have this address, where none was recognised. */
  readonly candidates: readonly string[];
  /** The driver of the kernel that has it. */
  readonly kernel?: string;
  /** Why it cannot be read. */
  readonly reason?: string;
}

export interface FoundBus {
  readonly bus: number;
  readonly name?: string;
  readonly chips: readonly FoundChip[];
  /** Why it was not looked at, or not to the end. */
  readonly reason?: string;
}

/** The addresses below and above are reserved (UM10204 section 3.1.12). */
const firstAddress = 0x08;
const lastAddress = 0x77;
/** A bus that is held costs a fifth of a second per address. */
const mostFailures = 3;

/** I2C buses and what answers on them. Chips that drivers of the kernel have are left alone. */
export async function i2cBuses({ sys, dev }: Roots, signal: AbortSignal): Promise<readonly FoundBus[]> {
  const devices = join(sys, "bus/i2c/devices");
  const entries = await namesIn(devices);
  const numbers = [...entries, ...(await namesIn(dev))].flatMap(
    (name) => /^i2c-(\d+)$/.exec(name)?.[1] ?? [],
  );
  const buses: FoundBus[] = [];
  for (const number of [...new Set(numbers)]) {
    const name = await textIn(join(devices, `i2c-${number}`), "name");
    const claimed = new Map<number, string>();
    for (const entry of entries) {
      const [, of, address = ""] = /^(\d+)-([0-9a-f]{4})$/.exec(entry) ?? [];
      const driver = of === number ? await linkIn(join(devices, entry), "driver") : undefined;
      if (driver !== undefined) claimed.set(Number.parseInt(address, 16), driver);
    }
    const found = await look(Number(number), claimed, signal);
    buses.push({ bus: Number(number), ...(name === undefined ? {} : { name }), ...found });
  }
  return buses;
}

async function look(
  bus: number,
  claimed: ReadonlyMap<number, string>,
  signal: AbortSignal,
): Promise<Pick<FoundBus, "chips" | "reason">> {
  const turns = new Turns();
  const chips: FoundChip[] = [];
  let wasOpened = false;
  let failures = 0;
  let reason: string | undefined;
  for (let address = firstAddress; address <= lastAddress; address++) {
    signal.throwIfAborted();
    const kernel = claimed.get(address);
    if (kernel !== undefined) {
      chips.push({ address, candidates: [], kernel });
      continue;
    }
    const chip = new I2cChip(`/dev/i2c-${bus}`, address, turns);
    try {
      await chip.open();
      wasOpened = true;
    } catch (error) {
      // The same for all addresses, or the kernel has this one without telling which driver.
      reason = reasonOf(error);
      if (wasOpened) chips.push({ address, candidates: [], reason });
      continue;
    }
    try {
      // One byte read, and nothing written: i2cdetect(8), `-r`.
      await chip.transfer({ read: 1 }, signal);
      failures = 0;
      chips.push({ address, ...(await recognised(chip, bus, address, signal)) });
    } catch (error) {
      reason = reasonOf(error);
      failures = isAbsent(error) ? 0 : failures + 1;
      if (failures >= mostFailures) return { chips, reason: `given up at ${hex(address)}: ${reason}` };
    } finally {
      await chip.close();
    }
  }
  return wasOpened || reason === undefined ? { chips } : { chips, reason };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof TransientError)) throw error;
  return messageOf(error);
}
const isAbsent = (error: unknown) => error instanceof Unavailable && error.state === "absent";

async function recognised(
  chip: I2cChip,
  bus: number,
  address: number,
  signal: AbortSignal,
): Promise<Pick<FoundChip, "driver" | "candidates">> {
  const possible = i2cDrivers.filter(
    // A driver for any address says nothing of what is there.
    ({ addresses }) => addresses !== "any" && addresses.includes(address),
  );
  for (const driver of possible) {
    const options = defaultsOf(driver, bus, address);
    if (options && (await answersAs(driver, options, (exchange) => chip.transfer(exchange, signal))))
      return { driver: driver.name, candidates: [] };
  }
  return { candidates: possible.map(({ name }) => name) };
}

/**
 * Whether the chip is the one that the driver looks for: its setup is held as long as it reads registers, so that nothing
 * is changed in a chip that may be another one. A setup that would have gone on with any other bytes proves nothing.
 */
export async function answersAs(
  driver: Pick<I2cDriver, "setup">,
  options: object,
  ask: (exchange: Exchange) => Promise<Uint8Array>,
): Promise<boolean> {
  const [conversation, other] = [driver.setup(options), driver.setup(options)];
  let isProved = false;
  try {
    other.next();
    for (let step = conversation.next(); !step.done && readsRegister(step.value); ) {
      const bytes = await ask(step.value);
      step = conversation.next(bytes);
      isProved ||= refuses(() => other.next(bytes.map((byte) => ~byte)));
    }
    return isProved;
  } catch (error) {
    if (error instanceof WrongChip || error instanceof Unavailable) return false;
    throw error;
  }
}

/** A register's number written, and its bytes read: the one exchange that changes nothing in chips with registers. */
const readsRegister = (step: Exchange | Pause): step is Exchange =>
  "read" in step && step.read !== undefined && step.write?.length === 1;

function refuses(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch (error) {
    if (error instanceof WrongChip) return true;
    throw error;
  }
}

/** Undefined when some have to be set. */
function defaultsOf({ name }: I2cDriver, bus: number, address: number): object | undefined {
  try {
    const chip = { type: "i2c", driver: name, bus, address, device: name };
    const { config } = checkConfig({ gateway: { name: "scan" }, hub: { type: "edge" }, sources: { chip } });
    return config.sources.chip?.type === "i2c" ? config.sources.chip.options : undefined;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}
