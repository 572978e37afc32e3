import { createRequire } from "node:module";

/**
 * Ends the process as it stands. Node's own end stops threads, which aborts the process while one is inside a native
 * runtime, and waits for those of libuv, of which one may hang in opening a device. Handlers of `exit` are not called.
 */
export function endAtOnce(code: number): never {
  try {
    // Only here: most processes end without.
    const koffi: typeof import("koffi") = createRequire(import.meta.url)("koffi");
    koffi.load(null).func("void _exit(int code)")(code);
  } catch {
    // Where koffi has no binary, Node's end has to do.
  }
  process.exit(code);
}
