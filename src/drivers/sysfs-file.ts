/** What the kernel's documentation says of a file in sysfs that has a name like this. */
export interface SysfsFile {
  /** The number in the file, or what comes of a raw one, is so many of the unit. */
  readonly perUnit: number;
  readonly unit: string;
}

/** A longer text in such a file is no number. */
export const longestText = 64;

/** `temp1_input` of hwmon (Linux, Documentation/hwmon/sysfs-interface.rst): what is before the number. */
const hwmon: Readonly<Record<string, SysfsFile>> = {
  in: { perUnit: 1_000, unit: "V" },
  temp: { perUnit: 1_000, unit: "°C" },
  curr: { perUnit: 1_000, unit: "A" },
  power: { perUnit: 1_000_000, unit: "W" },
  energy: { perUnit: 1_000_000, unit: "J" },
  humidity: { perUnit: 1_000, unit: "%" },
  fan: { perUnit: 1, unit: "rpm" },
};

/** `in_temp_raw` of IIO (Linux, Documentation/ABI/testing/sysfs-bus-iio): what is behind `in_`. */
const iio: Readonly<Record<string, SysfsFile>> = {
  voltage: { perUnit: 1_000, unit: "V" },
  current: { perUnit: 1_000, unit: "A" },
  power: { perUnit: 1_000, unit: "W" },
  energy: { perUnit: 1, unit: "J" },
  capacitance: { perUnit: 1, unit: "nF" },
  resistance: { perUnit: 1, unit: "Ω" },
  temp: { perUnit: 1_000, unit: "°C" },
  humidityrelative: { perUnit: 1_000, unit: "%" },
  // The file has kilopascals; the channel of that name has hectopascals here.
  pressure: { perUnit: 0.1, unit: "hPa" },
  illuminance: { perUnit: 1, unit: "lx" },
  concentration: { perUnit: 1, unit: "%" },
  massconcentration: { perUnit: 1, unit: "µg/m³" },
  electricalconductivity: { perUnit: 1, unit: "S/m" },
  distance: { perUnit: 1, unit: "m" },
  accel: { perUnit: 1, unit: "m/s²" },
  anglvel: { perUnit: 1, unit: "rad/s" },
  angl: { perUnit: 1, unit: "rad" },
  incli: { perUnit: 1, unit: "°" },
  magn: { perUnit: 1, unit: "G" },
};

const ofHwmon = /^([a-z]+)\d+_(?:input|average|lowest|highest)$/;
const ofIio = /^in_([a-z]+)[0-9a-z_-]*_(?:raw|input)$/;

/** Undefined for names that mean nothing in particular. */
export function sysfsFileNamed(path: string): SysfsFile | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const [, ofChip = ""] = ofHwmon.exec(name) ?? [];
  const [, ofDevice = ""] = ofIio.exec(name) ?? [];
  return hwmon[ofChip] ?? iio[ofDevice];
}

/** Most bytes that the frame of a poll has. */
export function sysfsFrameBytes({ files }: { files: Readonly<Record<string, { path: string }>> }): number {
  const paths = Object.values(files).map(({ path }) => path);
  const names = paths.reduce((sum, path) => sum + path.length, 0);
  // Three files for each: the raw number, its scale, its offset; JSON may escape each character of a text.
  return 3 * (names + paths.length * (6 * longestText + 16));
}

/**
 * The files that say how a raw number of IIO is scaled, the most particular first: its own, that of all numbers, that
 * of all that measure the same. `in_voltage0_raw` has `in_voltage0_scale` or `in_voltage_scale`. None for other files.
 */
export function besideRaw(path: string, what: "scale" | "offset"): readonly string[] {
  const match = /^(.*\/)?((in_[a-z]+).*?)(?:_mean)?_raw$/.exec(path);
  if (!match) return [];
  const [, folder = "", own = "", type = ""] = match;
  const names = [own, own.replaceAll(/\d+/g, ""), type];
  return [...new Set(names)].map((name) => `${folder}${name}_${what}`);
}
