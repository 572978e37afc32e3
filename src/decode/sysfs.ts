import type { SysfsDecode } from "../config/schema.ts";
import { isObject } from "../core/json.ts";
import { besideRaw, sysfsFileNamed } from "../drivers/sysfs-file.ts";
import type { FrameFields } from "./reading-reader.ts";

type Texts = Readonly<Record<string, unknown>>;

const decimal = /^[+-]?\d{1,20}(\.\d{1,20})?$/;

/** The texts of a chip's files, as JSON by their names, to channels; what is no number is null. Pure. */
export function compileSysfs(files: SysfsDecode["files"]): (text: string) => FrameFields {
  const channels = Object.entries(files).map(([channel, file]) => [channel, compileFile(file)] as const);
  return (text) => {
    let frame: unknown;
    try {
      frame = JSON.parse(text);
    } catch {
      return { discard: "malformed" };
    }
    if (!isObject(frame)) return { discard: "malformed" };
    const texts = frame;
    const values = channels.flatMap(([channel, read]) => {
      const value = read(texts);
      return value === undefined ? [] : [[channel, value] as const];
    });
    return [values];
  };
}

function compileFile(file: SysfsDecode["files"][string]): (texts: Texts) => number | null | undefined {
  const { path, scale, offset } = file;
  const kernels = sysfsFileNamed(path);
  const scales = besideRaw(path, "scale");
  const offsets = besideRaw(path, "offset");
  return (texts) => {
    const raw = texts[path];
    if (typeof raw !== "string") return undefined;
    if (!decimal.test(raw)) return null;
    if (scale !== undefined) return Number(raw) * scale + offset;
    const factor = first(texts, scales);
    // Without a scale a raw number is of no unit.
    if (factor === undefined && scales.length > 0 && kernels) return undefined;
    const shifted = Number(raw) + (first(texts, offsets) ?? 0);
    return (shifted * (factor ?? 1)) / (kernels?.perUnit ?? 1) + offset;
  };
}

/** The first of these files that the frame has. NaN, which is no value, when it is no number. */
function first(texts: Texts, names: readonly string[]): number | undefined {
  const text = names.map((name) => texts[name]).find((each) => each !== undefined);
  if (text === undefined) return undefined;
  return typeof text === "string" && decimal.test(text) ? Number(text) : Number.NaN;
}
