import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { resolveSecret } from "../../src/config/secrets.ts";
import { messageOf } from "../../src/core/errors.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

const file = (text: string) => {
  const path = join(temporaryFolder(), "secret");
  writeFileSync(path, text);
  return { file: path };
};

test("a secret comes from the environment, or from a file without its last line end", () => {
  expect(resolveSecret({ env: "KEY" }, "hub.password", { KEY: " a b " })).toBe(" a b ");
  expect(resolveSecret(file("secret\n"), "hub.password", {})).toBe("secret");
  expect(resolveSecret(file("secret\r\n"), "hub.password", {})).toBe("secret");
  expect(resolveSecret(file(" two\nlines\n\n"), "hub.password", {})).toBe(" two\nlines\n");
});

const pipe = () => {
  const path = join(temporaryFolder(), "pipe");
  execFileSync("mkfifo", [path]);
  return { file: path };
};

test("one that is missing, empty or a pipe cannot be read, and the error names the reference and the path", async () => {
  for (const [reference, environment] of [
    [{ env: "KEY" }, {}],
    [{ env: "KEY" }, { KEY: "" }],
    [{ file: "/nowhere/secret" }, {}],
    [file("\n"), {}],
    [pipe(), {}],
  ] as const) {
    expect(await codeOf(() => resolveSecret(reference, "hub.password", environment))).toBe(
      "SECRET_UNREADABLE",
    );
    try {
      resolveSecret(reference, "hub.password", environment);
    } catch (error) {
      expect(messageOf(error)).toContain("hub.password");
      expect(messageOf(error)).toContain("env" in reference ? reference.env : reference.file);
    }
  }
});
