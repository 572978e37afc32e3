import { measureCeilings, measureSyncs } from "./ceilings.ts";
import type { Cell, Member, Ratio, Setting } from "./cell.ts";
import { decodeMembers } from "./decode.ts";
import { measureDrain } from "./drain.ts";
import { measureI2c } from "./i2c.ts";
import { measureLatency } from "./latency.ts";
import { type Load, runLoad } from "./load-run.ts";
import { measureModbus } from "./modbus.ts";
import { bare } from "./programs/bare.ts";
import { type HeadgateOptions, headgate } from "./programs/headgate.ts";
import { nodeRed } from "./programs/node-red.ts";
import { parser } from "./programs/parser.ts";
import type { Program } from "./programs/program.ts";
import { bareImport, measureIdle, measureStart } from "./start.ts";
import { type Sustained, sustainedRate } from "./sustained.ts";
import { gatewayOf, type Way } from "./ways.ts";

const ceiling: Member = {
  name: "ceiling",
  run: ({ quick, children }) => measureCeilings(quick ? 1_000 : 2_000, children),
};

function spans({ quick }: Setting) {
  return { warmUpMs: quick ? 3_000 : 5_000, measuredMs: quick ? 5_000 : 15_000 };
}

function under(
  load: Pick<Load, "rate" | "devices" | "qos" | "counted">,
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

/** The highest rate that is held for a minute, every window in time. */
function sustained(devices: number): Cell {
  const measured = peers.map(({ name, program }): Member => {
    const run: Member["run"] = async (setting, before) => {
      const made = program(setting);
      await made.prepare();
      return await sustainedRate(made, devices, setting, before as Sustained | undefined);
    };
    return { name, run };
  });
  const against = (to: string, atLeast?: number): Ratio => ({
    name: `sustainedRatioTo${to[0]?.toUpperCase()}${to.slice(1)}`,
    figure: "sustainedPerSecond",
    of: "headgate",
    to,
    ...(atLeast === undefined ? {} : { atLeast }),
  });
  return {
    name: `sustained-${devices}`,
    title: `the highest rate of ${devices} devices that is held for a minute`,
    members: [ceiling, ...measured],
    ratios: [against("bare"), against("nodeRedFunction", 1), against("nodeRedCore", 1)],
  };
}

const minute = { minute: { sizeMs: 60_000, aggregates: ["mean"] } };

const lossBounds = [200, 500, 1_000, 5_000, 10_000];

/** What is written at a high rate, with callers that wait and without. */
const diskFast: Cell = {
  name: "disk-10000",
  title: "bytes written per byte received at 10,000 readings/s",
  members: [
    ...lossBounds.map((maxLossMs) => ({
      name: `maxLoss${maxLossMs}`,
      run: under(
        { rate: 10_000, devices: 10, qos: 0 },
        gateway({ store: { maxLossMs }, source: { qos: 0 } }),
      ),
    })),
    { name: "callersWait", run: under({ rate: 10_000, devices: 10, qos: 1 }, gateway()) },
  ],
  ratios: [],
  bounds: lossBounds
    .filter((maxLossMs) => maxLossMs >= 500)
    .map((maxLossMs) => ({ figure: "writtenPerByte", of: `maxLoss${maxLossMs}`, atMost: 0.5 })),
};

/** What a quiet box writes: ten devices, windows of a minute. Snapshots come every 10,000 readings: no run has one. */
const diskSlow: Cell = {
  name: "disk-20",
  title: "bytes written at 20 readings/s, windows of a minute",
  isTogether: true,
  members: [200, 1_000, 5_000, 10_000].map((maxLossMs) => ({
    name: `maxLoss${maxLossMs}`,
    run: (setting: Setting) =>
      runLoad(
        gateway({
          store: { maxLossMs },
          source: { qos: 0 },
          windows: minute,
          publish: {},
        })(setting),
        {
          rate: 20,
          devices: 10,
          qos: 0,
          warmUpMs: 5_000,
          measuredMs: setting.quick ? 30_000 : 180_000,
          windowMs: 60_000,
        },
        setting.children,
      ),
  })),
  ratios: [],
  bounds: [
    { figure: "bytesPerCommit", of: "maxLoss10000", atMost: 24_000 },
    { figure: "megabytesPerDay", of: "maxLoss10000", atMost: 500 },
  ],
};

const memory: Cell = {
  name: "memory",
  title: "resident memory with twenty sensors, a reading a second each",
  members: [
    { name: "headgateMqtt", run: (setting) => measureIdle("mqtt", setting) },
    { name: "headgateSdk", run: (setting) => measureIdle("sdk", setting) },
    ...peers
      .filter(({ name }) => name !== "headgate")
      .map(({ name, program }) => ({ name, run: under({ rate: 20, devices: 20, qos: 1 }, program) })),
  ],
  ratios: [
    {
      name: "memoryRatioToNodeRed",
      figure: "rssBytes",
      of: "headgateMqtt",
      to: "nodeRedFunction",
      atMost: 1,
    },
  ],
  bounds: [
    { figure: "rssBytes", of: "headgateMqtt", atMost: 90e6 },
    { figure: "rssBytes", of: "headgateSdk", atMost: 110e6 },
  ],
};

const start: Cell = {
  name: "start",
  title: "from the start of the process until readings come in",
  members: [
    { name: "bareImport", run: (setting) => measureStart(bareImport, setting) },
    ...peers.map(({ name, program }) => ({
      name,
      run: (setting: Setting) => measureStart(program(setting), setting),
    })),
  ],
  ratios: [
    { name: "startRatioToBareImport", figure: "startMs", of: "headgate", to: "bareImport", atMost: 2 },
    { name: "startRatioToNodeRed", figure: "startMs", of: "headgate", to: "nodeRedFunction", atMost: 1 },
  ],
};

const ways: readonly Way[] = ["mqtt", "serial", "http"];

/** The main job on each way in, and on a disk of slow syncs. */
const waysIn: Cell = {
  name: "ways-10000",
  title: "10,000 readings/s of 10 devices, on each way in, with syncs as they are and 50 ms longer",
  members: [0, 50].flatMap((syncDelayMs) =>
    ways.map((way) => ({
      name: `${way}Sync${syncDelayMs}`,
      run: (setting: Setting) => {
        const load = { rate: 10_000, devices: 10, qos: 1, ...spans(setting) } as const;
        return runLoad(gatewayOf(way, load.devices, syncDelayMs, setting), load, setting.children);
      },
    })),
  ),
  ratios: [],
};

/** The driver of a chip is the only program that asks it: nobody to compare with. */
const i2c: Cell = {
  name: "i2c-20",
  title: "twenty chips on one I2C bus, each asked ten times a second",
  members: [100_000, 400_000].map((speedHz) => ({
    name: `at${speedHz / 1_000}kHz`,
    run: (setting) => measureI2c(speedHz, setting),
  })),
  ratios: [],
  bounds: ["at100kHz", "at400kHz"].map((of) => ({ figure: "cpuShare", of, atMost: 0.1 })),
};

const taken = { rate: 10_000, devices: 10, qos: 1, counted: "frames" } as const;

/** What it costs to take messages, each acknowledged behind its commit, beside taking and forgetting them. */
const takesMqtt: Cell = {
  name: "mqtt-in",
  title: "10,000 messages/s taken over MQTT at QoS 1, beside a subscriber that only parses",
  members: [
    { name: "parser", run: under(taken, () => parser) },
    { name: "headgate", run: under(taken, gateway({ windows: minute })) },
  ],
  ratios: [
    { name: "cpuRatioToParser", figure: "cpuSecondsPerMillion", of: "headgate", to: "parser", atMost: 1.3 },
  ],
};

/** Bytes to readings, one reading of seven values in each format; `value` has one, the chip of `driver` three, a telegram 28. */
const decode: Cell = {
  name: "decode",
  title: "readings decoded per second of CPU, one reading in each format",
  members: decodeMembers,
  ratios: decodeMembers.slice(1).map(({ name }) => ({
    name: `${name}ToJsonParse`,
    figure: "readingsPerCpuSecond",
    of: name,
    to: "jsonParse",
  })),
};

const answerTimes = [0, 4, 6, 8];

/** Whether a line of units keeps its schedule, by how long they take to answer. */
const modbus: Cell = {
  name: "modbus-32",
  title: "32 Modbus units of 10 registers on one line at 19,200 baud, once a second",
  members: answerTimes.map((answerMs) => ({
    name: `answer${answerMs}ms`,
    run: (setting) => measureModbus(answerMs, setting),
  })),
  ratios: [],
  bounds: answerTimes
    .filter((answerMs) => answerMs <= 6)
    .map((answerMs) => ({ figure: "missedShare", of: `answer${answerMs}ms`, atMost: 0.01 })),
};

const delays = [0, 50, 500];

/** An alarm from its sensor to the hub's acknowledgement. */
const latency = (rate: number): Cell => ({
  name: `latency-${rate}`,
  title: `an alarm, from a serial line to the hub's acknowledgement, ${rate === 0 ? "idle" : `beside ${rate.toLocaleString("en")} readings/s`}`,
  members: [
    { name: "ceiling", run: ({ quick }) => measureSyncs(quick ? 5_000 : 30_000) },
    ...delays.map((syncDelayMs) => ({
      name: `sync${syncDelayMs}`,
      run: (setting: Setting) => measureLatency({ rate, syncDelayMs }, setting),
    })),
  ],
  ratios: [],
  bounds: delays.map((delay) => ({ figure: "p99BeyondTwoSyncsMs", of: `sync${delay}`, atMost: 10 })),
});

const backlog = ({ quick }: Setting) => (quick ? 100_000 : 1_000_000);

/** A backlog goes out while new readings come in. */
const drain: Cell = {
  name: "drain",
  title: "a million readings of backlog (100,000 with --quick), while 1,000 a second come in",
  members: [
    { name: "without", run: (setting) => measureDrain(0, setting) },
    { name: "backlog", run: (setting) => measureDrain(backlog(setting), setting) },
  ],
  // Twice, and ten milliseconds: those of the idle figure are added by whoever reads.
  ratios: [{ name: "liveP99Ratio", figure: "liveP99Ms", of: "backlog", to: "without", atMost: 2 }],
};

/** What it costs to send a backlog, against its size. */
const growthBacklog = ((): Cell => {
  const points = [50_000, 100_000, 200_000, 400_000];
  const ratio = (of: number, to: number): Ratio => ({
    name: `growth${to}to${of}`,
    figure: "drainCpuSeconds",
    of: `at${of}`,
    to: `at${to}`,
    atMost: of / to,
  });
  return {
    name: "growth-backlog",
    title: "the cost of sending a backlog against its size, while 1,000 readings a second come in",
    members: points.map((size) => ({
      name: `at${size}`,
      run: (setting) => measureDrain(setting.quick ? size / 10 : size, setting),
    })),
    ratios: [ratio(400_000, 200_000), ratio(400_000, 50_000)],
  };
})();

/** One quantity grows, the rest stays; the processor's time may grow no faster than that quantity. */
function growth(
  what: string,
  points: readonly number[],
  at: (
    point: number,
  ) => Pick<Load, "rate" | "devices"> & { readonly options?: Omit<HeadgateOptions, "from"> },
): Cell {
  const name = (point: number) => `at${point}`;
  const last = points.length - 1;
  const ratio = (a: number, b: number): Ratio => ({
    name: `growth${points[b]}to${points[a]}`,
    figure: "cpuShare",
    of: name(points[a] ?? 0),
    to: name(points[b] ?? 0),
    atMost: (points[a] ?? 0) / (points[b] ?? 1),
  });
  return {
    name: `growth-${what}`,
    title: `the gateway's cost against ${what}`,
    members: points.map((point) => {
      const { options, ...load } = at(point);
      return { name: name(point), run: under({ ...load, qos: 1 }, gateway(options)) };
    }),
    ratios: [ratio(last, last - 1), ratio(last, 0)],
  };
}

const windowsOf = (count: number) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`second${i}`, { sizeMs: 1_000, aggregates: ["mean"] }]),
  );

export const cells: readonly Cell[] = [
  cost(10_000, 10),
  cost(40_000, 10),
  cost(10_000, 100),
  cost(40_000, 100),
  cost(10_000, 1),
  cost(10_000, 10_000),
  waysIn,
  takesMqtt,
  i2c,
  sustained(10),
  sustained(100),
  diskFast,
  diskSlow,
  memory,
  decode,
  start,
  latency(0),
  latency(10_000),
  modbus,
  drain,
  growthBacklog,
  growth("rate", [1_000, 5_000, 10_000, 20_000, 40_000], (rate) => ({ rate, devices: 10 })),
  growth("devices", [10, 100, 1_000, 10_000], (devices) => ({ rate: 10_000, devices })),
  growth("windows", [1, 2, 4, 8], (count) => ({
    rate: 10_000,
    devices: 10,
    options: { windows: windowsOf(count) },
  })),
];
