import { appendFileSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export interface Sample {
  /** Since the start of the daemon. */
  readonly seconds: number;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  readonly writtenBytes: number;
  readonly storeBytes: number;
}

/** What the kernel says of a process (proc(5)), and what its store's folder holds. */
export function sample(pid: number, store: string, seconds: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const io = readFileSync(`/proc/${pid}/io`, "utf8");
  // Behind the name, which may hold spaces: field 14 and 15 are user and system time in ticks of 10 ms.
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    seconds: Math.round(seconds),
    residentBytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1_024,
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
    writtenBytes: Number(/^write_bytes: (\d+)/m.exec(io)?.[1]),
    storeBytes: readdirSync(store)
      .map((file) => statSync(join(store, file), { throwIfNoEntry: false })?.size ?? 0)
      .reduce((sum, size) => sum + size, 0),
  };
}

export function append(file: string, line: object): void {
  appendFileSync(file, `${JSON.stringify(line)}\n`);
}

/** Least squares, per hour, with the standard error of the slope. */
export function slopePerHour(samples: readonly Sample[]): { perHour: number; error: number } | undefined {
  if (samples.length < 3) return undefined;
  const n = samples.length;
  const x = samples.map(({ seconds }) => seconds / 3_600);
  const y = samples.map(({ residentBytes }) => residentBytes);
  const mean = (of: readonly number[]) => of.reduce((sum, value) => sum + value, 0) / n;
  const [mx, my] = [mean(x), mean(y)];
  const sxx = x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
  const perHour = x.reduce((sum, value, i) => sum + (value - mx) * ((y[i] ?? 0) - my), 0) / sxx;
  const rest = x.reduce((sum, value, i) => sum + ((y[i] ?? 0) - my - perHour * (value - mx)) ** 2, 0);
  return { perHour, error: Math.sqrt(rest / (n - 2) / sxx) };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
