/** `docs/adding-a-driver.md` followed to the letter, in a copy of the sources: what it says to paste is green. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = (name: string) => join(root, "node_modules/.bin", name);
const document = readFileSync(join(root, "docs/adding-a-driver.md"), "utf8");
/** What stands in the fences of the document, without their indentation. */
const [driver = "", imported = ""] = [...document.matchAll(/^ {3}```ts\n(.*?)^ {3}```$/gms)].map(([, text]) =>
  (text ?? "").replaceAll(/^ {3}/gm, ""),
);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-stranger-"));
  for (const part of ["src", "test/drivers", "test/support", "package.json", "tsconfig.json", "biome.json"])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const [, file = ""] = /^1\. Write `(src\/drivers\/[a-z]+\.ts)`:$/m.exec(document) ?? [];
  writeFileSync(join(folder, file), driver);
  const catalogue = join(folder, "src/drivers/catalogue.ts");
  const [, name = ""] = /^import \{ ([a-z]+) \}/.exec(imported) ?? [];
  const text = readFileSync(catalogue, "utf8");
  const list = "export const i2cDrivers: readonly I2cDriver[] = [\n";
  expect(text).toContain(list);
  writeFileSync(catalogue, imported + text.replace(list, `${list}  ${name},\n`));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(bin(command), args, {
    cwd: folder,
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, told: stdout + stderr };
}

test("the driver that it shows is in the catalogue, and its vectors and all that is asked of a driver hold", () => {
  // Of the runner around this one, nothing is to be known there.
  const report = join(folder, "report.json");
  const args = ["run", "test/drivers/drivers.test.ts", "-t", "thermometer", "--reporter", "json"];
  const { status, told } = run("vitest", ...args, "--outputFile", report, "--cache=false");
  expect(status, told).toBe(0);
  const { testResults } = JSON.parse(readFileSync(report, "utf8")) as {
    testResults: { assertionResults: { fullName: string; status: string }[] }[];
  };
  const ran = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter((one) => one.status === "passed");
  const names = ran.map(({ fullName }) => fullName);
  expect(names).toContain("thermometer decodes: datasheet section 5.1.3.1, equation 5-1: 1 × 16 + 148 / 16");
  expect(names).toContain("thermometer decodes: cut short");
  expect(names.length).toBeGreaterThanOrEqual(6);
}, 90_000);

test("it passes the types and the style of the repository as it stands", () => {
  const project = { extends: "./tsconfig.json", include: ["src/drivers/*.ts"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.drivers.json"), JSON.stringify(project));
  expect(run("tsc", "-p", "tsconfig.drivers.json")).toEqual({ status: 0, told: "" });
  const { status, told } = run("biome", "check", "--vcs-enabled=false", "src/drivers/thermometer.ts");
  expect(status, told).toBe(0);
}, 90_000);
