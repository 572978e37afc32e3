import { measureCeilings } from "./ceilings.ts";
import type { Cell, Member, Ratio, Setting } from "./cell.ts";
import { type Load, runLoad } from "./load-run.ts";
import { bare } from "./programs/bare.ts";
import { type HeadgateOptions, headgate } from "./programs/headgate.ts";
import { nodeRed } from "./programs/node-red.ts";
import type { Program } from "./programs/program.ts";

const ceiling: Member = {
  name: "ceiling",
  run: ({ quick, children }) => measureCeilings(quick ? 1_000 : 2_000, children),
};

function spans({ quick }: Setting) {
  return { warmUpMs: quick ? 3_000 : 5_000, measuredMs: quick ? 5_000 : 15_000 };
}

function under(
  load: Pick<Load, "rate" | "devices" | "qos">,
  program: (setting: Setting) => Program,
): Member["run"] {
  return async (setting) => {
    const made = program(setting);
    await made.prepare();
    return await runLoad(made, { ...load, ...spans(setting) }, setting.children);
  };
}

const gateway =
  (options: Omit<HeadgateOptions, "from"> = {}) =>
  ({ from }: Setting) =>
    headgate({ from, ...options });

const peers: readonly { readonly name: string; readonly program: (setting: Setting) => Program }[] = [
  { name: "bare", program: () => bare },
  { name: "headgate", program: gateway() },
  { name: "nodeRedFunction", program: () => nodeRed("function") },
  { name: "nodeRedCore", program: () => nodeRed("core") },
];

const cpuRatios: readonly Ratio[] = [
  { name: "cpuRatioToBare", figure: "cpuSecondsPerMillion", of: "headgate", to: "bare", atMost: 1.3 },
  {
    name: "cpuRatioToNodeRedFunction",
    figure: "cpuSecondsPerMillion",
    of: "headgate",
    to: "nodeRedFunction",
    atMost: 1,
  },
  {
    name: "cpuRatioToNodeRedCore",
    figure: "cpuSecondsPerMillion",
    of: "headgate",
    to: "nodeRedCore",
    atMost: 1,
  },
  { name: "memoryRatioToBare", figure: "rssBytes", of: "headgate", to: "bare" },
  { name: "memoryRatioToNodeRedFunction", figure: "rssBytes", of: "headgate", to: "nodeRedFunction" },
];

/** The main job at a fixed rate. */
function cost(rate: number, devices: number): Cell {
  return {
    name: `cost-${rate}-${devices}`,
    title: `${rate.toLocaleString("en")} readings/s of ${devices} devices, MQTT at QoS 1`,
    members: [
      ceiling,
      ...peers.map(({ name, program }) => ({ name, run: under({ rate, devices, qos: 1 }, program) })),
    ],
    ratios: cpuRatios,
  };
}

export const cells: readonly Cell[] = [
  cost(10_000, 10),
  cost(40_000, 10),
  cost(10_000, 100),
  cost(40_000, 100),
];
