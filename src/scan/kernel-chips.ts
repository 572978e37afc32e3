import { realpath } from "node:fs/promises";
import { join } from "node:path";
import { oneWireDrivers } from "../drivers/catalogue.ts";
import { sysfsFileNamed } from "../drivers/sysfs-file.ts";
import { placeOf } from "../sources/sysfs-device.ts";
import { namesIn, type Roots, textIn } from "./folder.ts";

export interface FoundThermometer {
  readonly id: string;
  /** Undefined for a chip of another kind. */
  readonly driver?: string;
}

/** What the kernel finds on 1-Wire. */
export async function oneWireChips({ sys }: Roots): Promise<readonly FoundThermometer[]> {
  const names = await namesIn(join(sys, "bus/w1/devices"));
  return names
    .filter((name) => /^[0-9a-f]{2}-[0-9a-f]{12}$/.test(name))
    .map((id) => {
      const driver = oneWireDrivers.find(({ family }) => id.startsWith(`${family}-`))?.name;
      return { id, ...(driver === undefined ? {} : { driver }) };
    });
}

export interface FoundKernelChip {
  readonly class: "hwmon" | "iio";
  readonly chip: string;
  /** Where several chips have one name. */
  readonly at?: string;
  /** Files with values whose unit is known. */
  readonly files: readonly string[];
}

/** Thermometers on 1-Wire show in hwmon as well. */
const shownElsewhere = ["w1_slave_temp"];

/** Chips that drivers of the kernel read; their values are not read. */
export async function kernelChips({ sys }: Roots): Promise<readonly FoundKernelChip[]> {
  const chips = [
    ...(await chipsOf("hwmon", join(sys, "class/hwmon"), /^hwmon\d+$/)),
    ...(await chipsOf("iio", join(sys, "bus/iio/devices"), /^iio:device\d+$/)),
  ];
  return chips.map(({ at, ...chip }) => {
    const isShared = chips.some(
      (other) => other.chip === chip.chip && other.class === chip.class && other.at !== at,
    );
    return { ...chip, ...(isShared ? { at } : {}) };
  });
}

async function chipsOf(kind: "hwmon" | "iio", root: string, folders: RegExp) {
  const chips: (FoundKernelChip & { readonly at: string })[] = [];
  for (const name of (await namesIn(root)).filter((name) => folders.test(name))) {
    const folder = await realpath(join(root, name)).catch(() => undefined);
    const chip = folder && (await textIn(folder, "name"));
    if (folder === undefined || chip === undefined || shownElsewhere.includes(chip)) continue;
    const files = (await namesIn(folder)).filter(
      (file) => /_(input|raw)$/.test(file) && sysfsFileNamed(file) !== undefined,
    );
    if (files.length > 0) chips.push({ class: kind, chip, at: await placeOf(folder), files });
  }
  return chips;
}
