import type { Figures, Setting } from "./cell.ts";
import { type Load, runLoad } from "./load-run.ts";
import type { Program } from "./programs/program.ts";

export interface Sustained extends Figures {
  /** Readings per second. */
  readonly sustainedPerSecond: number;
  /** What was wrong at the next rate. */
  readonly limitedBy: string;
}

const stepUp = 10_000;
const stepDown = 5_000;
/** Beyond it the devices and the broker have no time left on two cores. */
const highest = 100_000;

/**
 * The highest rate at which every window of a minute is in time: upwards in short tries, then down until one holds.
 * They begin at what the round before came to; lower ones would only take their time.
 */
export async function sustainedRate(
  program: Program,
  devices: number,
  setting: Setting,
  before?: Sustained,
): Promise<Sustained> {
  const trial = { warmUpMs: 3_000, measuredMs: 5_000 };
  const hold = { warmUpMs: 3_000, measuredMs: setting.quick ? 10_000 : 60_000 };
  let limitedBy = "the bound of this benchmark";
  const holds = async (rate: number, span: Pick<Load, "warmUpMs" | "measuredMs">): Promise<boolean> => {
    const { problems } = await runLoad(
      program,
      { rate, devices, qos: 1, ...span, endsWhenLate: true },
      setting.children,
    );
    setting.say(`    ${program.name} at ${rate}/s: ${problems[0] ?? "in time"}`);
    limitedBy = problems[0] ?? limitedBy;
    return problems.length === 0;
  };
  let rate = before?.sustainedPerSecond || stepUp;
  while (rate < highest && (await holds(rate, trial))) rate += stepUp;
  for (rate -= stepDown; rate > 0; rate -= stepDown) {
    if (await holds(rate, hold)) return { sustainedPerSecond: rate, limitedBy, problems: [] };
  }
  return { sustainedPerSecond: 0, limitedBy, problems: [`no rate was held: ${limitedBy}`] };
}
