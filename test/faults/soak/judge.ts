import { sourceName } from "./soak-config.ts";
import type { SoakRun } from "./soak-run.ts";
import { median, type Trend, trendOf } from "./trend.ts";

/** While caches fill and the heap finds its size. */
const warmUpSeconds = 600;
/** Of a shorter time the line says what the heap does, not whether memory grows. */
const judgedFromSeconds = 1_500;
const maxGrowthPerHour = 5e6;
/** From this length on the store must have been full once. */
const fullFromSeconds = 900;

export interface Judgement {
  /** Name, figure; in the order in which they are printed. */
  readonly figures: Readonly<Record<string, number | string>>;
  readonly problems: readonly string[];
}

export function judge(run: SoakRun, maxBytes: number): Judgement {
  const problems = [...run.arrived.problems, ...accountProblems(run), ...run.ledger.imbalances];
  if (!run.drained) problems.push("not everything ran out within ten minutes");
  for (const code of run.ledgerCodes)
    if (code !== 0) problems.push(`headgate ledger ended with code ${code}`);
  const { bytes, atSeconds } = run.largestStore;
  if (bytes > maxBytes * 1.1)
    problems.push(`the store's files took ${bytes} bytes of ${maxBytes} at ${atSeconds} s`);
  if (run.seconds >= fullFromSeconds && (run.arrived.thinned === 0 || run.arrived.evicted === 0))
    problems.push("the store was never full: nothing was thinned, or nothing evicted");
  const warm = run.samples.filter(({ atSeconds }) => atSeconds >= warmUpSeconds && atSeconds <= run.seconds);
  const growth = trendOf(warm.map(({ atSeconds, rssBytes }) => ({ x: atSeconds / 3_600, y: rssBytes })));
  if (growth && run.seconds >= judgedFromSeconds && growth.slope - growth.spread > maxGrowthPerHour)
    problems.push(`memory grows by ${megabytes(growth.slope)} MB/h`);
  return { figures: { ...counted(run), ...measured(run, growth) }, problems };
}

/** Every reading once: what the devices sent, the gateway counted, and the hub got or was told to miss. */
function accountProblems({ published, arrived, ledger }: SoakRun): string[] {
  const problems: string[] = [];
  const book = ledger.sources[sourceName];
  if (!book) return ["the source is in no book"];
  const { ingested, discards, frames, gaps } = book;
  const { duplicate = 0, evicted = 0, ...others } = discards as Record<string, number>;
  const expect = (what: string, is: number, wanted: number) => {
    if (is !== wanted) problems.push(`${what}: ${is} instead of ${wanted}`);
  };
  expect("readings answered by the broker", published.acked, published.sent);
  expect("ingested without duplicates", ingested - duplicate, published.acked);
  expect("frames", frames, ingested);
  expect("readings at the hub and told as evicted", arrived.readings + arrived.evicted, ingested - duplicate);
  expect("told as evicted", arrived.evicted, evicted);
  expect("gaps", gaps.counted + gaps.unknown, 0);
  for (const [reason, count] of Object.entries(others))
    problems.push(`${count} readings discarded: ${reason}`);
  return problems;
}

function counted({ published, arrived, ledger, broker, seconds, drainSeconds, outages }: SoakRun) {
  const { duplicate = 0 } = (ledger.sources[sourceName]?.discards ?? {}) as Record<string, number>;
  return {
    broker,
    seconds,
    drainSeconds,
    sent: published.sent,
    acked: published.acked,
    skipped: published.skipped,
    ingested: ledger.totals.ingested,
    duplicates: duplicate,
    "readings at the hub": arrived.readings,
    "readings told as evicted": arrived.evicted,
    windows: arrived.windows,
    "thinned windows": `${arrived.thinned} for ${arrived.thinnedFrom}`,
    "gap entries": arrived.gaps,
    messages: arrived.messages,
    "repeated entries": arrived.repeats,
    outages: Object.entries(outages)
      .map(([kind, count]) => `${kind} ${count}`)
      .join(", "),
  };
}

function measured({ samples, largestStore, seconds }: SoakRun, growth: Trend | undefined) {
  const running = samples.filter(({ atSeconds }) => atSeconds <= seconds);
  const first = running[0];
  const last = running.at(-1);
  if (!first || !last || last.atSeconds === first.atSeconds) return {};
  const third = Math.ceil(running.length / 3);
  const rss = running.map(({ rssBytes }) => rssBytes);
  const elapsed = last.atSeconds - first.atSeconds;
  const commits = last.commits - first.commits;
  const written = last.writtenBytes - first.writtenBytes;
  const frames = last.frames - first.frames;
  return {
    "readings/s": Math.round(frames / elapsed),
    "CPU, % of one core": Math.round((last.cpuMs - first.cpuMs) / elapsed / 10),
    "commits/s": round(commits / elapsed),
    "written, kB/s": Math.round(written / elapsed / 1_000),
    "written, bytes/commit": Math.round(written / commits),
    "largest store, bytes": `${largestStore.bytes} at ${largestStore.atSeconds} s`,
    "RSS, MB: largest": megabytes(Math.max(...rss)),
    "RSS, MB: median of the first and last third": `${megabytes(median(rss.slice(0, third)))}, ${megabytes(median(rss.slice(-third)))}`,
    "RSS, MB/h after 10 min": growth
      ? `${megabytes(growth.slope)} ± ${megabytes(growth.spread)}`
      : "too short to tell",
  };
}

const round = (value: number): number => Math.round(value * 10) / 10;
const megabytes = (bytes: number): number => round(bytes / 1e6);
