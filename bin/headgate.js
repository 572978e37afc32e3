#!/usr/bin/env node
// The Node check stands before every other import: better-sqlite3 crashes the process on Node 20 instead of
// throwing, and built-in zstd and TypeScript support start with 22.15 and 22.18.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const at = (path) => fileURLToPath(new URL(path, import.meta.url));

if (major > 22 || (major === 22 && minor >= 18)) {
  // A checkout runs its sources, so that an edit is never shadowed by an old build; an image has only `dist`.
  const { main } = await import(existsSync(at("../src/main.ts")) ? "../src/main.ts" : "../dist/main.js");
  await main();
} else {
  const own = at("../node_modules/.bin/node");
  if (!existsSync(own)) {
    process.stderr.write(
      `headgate: needs Node 22.18 or later, this is ${process.version}. Run "npm ci" in the project, which brings one, or install a newer Node.\n`,
    );
    process.exit(78);
  }
  const child = spawn(own, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to the child as well; forwarded it would count as the second, which ends at once.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal === "SIGINT" ? 130 : 1);
  });
}
