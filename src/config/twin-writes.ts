import type { Problem } from "../core/errors.ts";
import { isObject, type JsonObject, type JsonValue } from "../core/json.ts";

/** What decides where a write of a Modbus source ends up, and as what. */
const pinned = ["type", "transport", "path", "host", "port", "unit", "registers"];

/**
 * Who stands beside the machine decides what may be set from afar: a twin makes nothing writable, and leaves a source
 * with something writable at its device and registers. It may switch it off, but neither this nor a source that
 * listens on, where the file has it off. `base`: file and environment.
 */
export function forbiddenWrites(twin: JsonObject, base: JsonObject): Problem[] {
  if (!isObject(twin.sources)) return [];
  const local = isObject(base.sources) ? base.sources : {};
  return Object.entries(twin.sources).flatMap(([name, patch]) => {
    if (!isObject(patch)) return [];
    const path = `sources.${name}`;
    const made = writableIn(patch).map((channel) => ({
      path: `${path}.registers.${channel}.writable`,
      message: "cannot be set in the twin",
      hint: "set it in the configuration file or the environment",
    }));
    if (made.length > 0) return made;
    const opened = isClosed(local[name]) && "state" in patch && patch.state !== "off";
    const state = {
      path: `${path}.state`,
      message:
        "cannot be switched on in the twin: it is off in the file, and it lets others in, writes or deletes",
      hint: "switch it on in the configuration file or the environment",
    };
    if (writableIn(local[name]).length === 0) return opened ? [state] : [];
    const moved = pinned
      .filter((key) => key in patch)
      .map((key) => ({
        path: `${path}.${key}`,
        message: "cannot be set in the twin, because the file makes a register of this source writable",
        hint: "set it in the configuration file, or read further registers by a source of their own",
      }));
    return opened ? [state, ...moved] : moved;
  });
}

/** Off, where it stands, and more than a reader when it is on. */
function isClosed(source: JsonValue | undefined): boolean {
  if (!isObject(source) || source.state !== "off") return false;
  return "listen" in source || source.type === "imageFolder" || writableIn(source).length > 0;
}

function writableIn(source: JsonValue | undefined): string[] {
  if (!isObject(source) || !isObject(source.registers)) return [];
  return Object.entries(source.registers)
    .filter(([, register]) => isObject(register) && "writable" in register)
    .map(([channel]) => channel);
}
