import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMissedPhase } from "./kills/tally.ts";
import { type PlantedDefect, plantedDefects } from "./planted.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));

interface CampaignReport {
  readonly ok: boolean;
  readonly parts: readonly { readonly problems: readonly string[]; readonly folder?: string }[];
}

/**
 * Breaks copies of the gateway and runs on each the part of the campaign that must find it. Each part first runs on
 * a copy that is as it should be: what is found there is not the defect. Returns whether all were found.
 */
export async function runPlanted(seed: number, say: (line: string) => void): Promise<boolean> {
  // One copy for all: the sources may be edited meanwhile.
  const original = mkdtempSync(join(tmpdir(), "headgate-original-"));
  try {
    for (const name of ["src", "bin", "config", "test", "package.json"]) {
      cpSync(join(project, name), join(original, name), { recursive: true });
    }
    return await findAll(original, seed, say);
  } finally {
    rmSync(original, { recursive: true, force: true });
  }
}

async function findAll(original: string, seed: number, say: (line: string) => void): Promise<boolean> {
  // Out of date is out of date, however long the campaign would take to come to it.
  for (const { edits } of plantedDefects) rmSync(planted(original, edits), { recursive: true, force: true });
  let isGood = true;
  const whole = new Set<string>();
  for (const { part, rounds, name, edits } of plantedDefects) {
    if (!whole.has(part)) {
      whole.add(part);
      const problems = await campaignOn(planted(original, []), part, rounds, seed);
      if (problems.length > 0) isGood = false;
      say(`nothing planted: ${part} finds ${problems[0] ?? "nothing"}`);
    }
    const problems = await campaignOn(planted(original, edits), part, rounds, seed);
    if (problems.length === 0) isGood = false;
    const found = `found by ${part}, ${problems.length} problems: ${problems[0]?.split("\n")[0]}`;
    say(`${name}: ${problems.length > 0 ? found : `NOT FOUND by ${part}`}`);
  }
  return isGood;
}

/** What the part finds in the copy, which is removed then. */
async function campaignOn(
  folder: string,
  part: string,
  rounds: number,
  seed: number,
): Promise<readonly string[]> {
  try {
    symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
    const report = await run(folder, [
      "--only",
      part,
      "--rounds",
      `${rounds}`,
      "--seed",
      `${seed}`,
      "--json",
    ]);
    for (const { folder: kept } of report.parts) if (kept) rmSync(kept, { recursive: true, force: true });
    // Few rounds may leave a phase out; that says nothing of a defect.
    return report.parts.flatMap(({ problems }) => problems.filter((problem) => !isMissedPhase(problem)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A copy of the sources with those edits. */
function planted(original: string, edits: PlantedDefect["edits"]): string {
  const folder = mkdtempSync(join(tmpdir(), "headgate-planted-"));
  cpSync(original, folder, { recursive: true });
  for (const edit of edits) plant(folder, edit);
  return folder;
}

function plant(folder: string, { file, find, replace }: PlantedDefect["edits"][number]): void {
  const path = join(folder, file);
  const parts = readFileSync(path, "utf8").split(find);
  if (parts.length !== 2) {
    throw new Error(`planting a defect: ${file} has ${parts.length - 1} times, not once: ${find}`);
  }
  writeFileSync(path, parts.join(replace));
}

function run(folder: string, options: readonly string[]): Promise<CampaignReport> {
  const campaign = join(folder, "test", "faults", "campaign.ts");
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", campaign, ...options], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const stop = () => child.kill("SIGTERM");
  process.once("exit", stop);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      process.off("exit", stop);
      try {
        resolve(JSON.parse(output) as CampaignReport);
      } catch (cause) {
        reject(new Error(`the campaign on a copy ended with code ${code} and no report`, { cause }));
      }
    });
  });
}
