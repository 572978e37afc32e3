import { askLedger } from "../api/status-socket.ts";
import { storePath } from "../config/configuration.ts";
import { configSchema } from "../config/schema.ts";
import { type LedgerReport, type LedgerTotals, totalsOf } from "../ledger/ledger-report.ts";
import { readLedger } from "../store/store-copy.ts";
import { exitCode } from "./exit-code.ts";
import { layersFor } from "./status.ts";

const deadlineMs = 5_000;

/** `headgate ledger`: the books, of the running gateway or else of its store; ends with 0 when they add up. */
export async function ledger({ config, json }: { config?: string; json?: boolean }): Promise<void> {
  const folder = storePath(layersFor(config));
  const { from, report } = await find(folder);
  const text = json ? JSON.stringify({ from, ...report }) : describeLedger(report, from, folder);
  process.stdout.write(`${text}\n`);
  process.exitCode = report.addsUp ? exitCode.stopped : exitCode.crashed;
}

type From = "gateway" | "store";

async function find(folder: string): Promise<{ from: From; report: LedgerReport }> {
  try {
    return { from: "gateway", report: (await askLedger(folder, deadlineMs)) as unknown as LedgerReport };
  } catch (unanswered) {
    // None runs, as a rule; the store's own error says more than a missing socket when it is no store either.
    if (!(unanswered instanceof Error)) throw unanswered;
    return {
      from: "store",
      report: readLedger(folder, { ...configSchema.shape.store.parse({}), retention: {} }),
    };
  }
}

const columns = ["frames", "decoded", "ingested", "published", "held", "discarded"] as const;

/** The books for people. */
export function describeLedger(report: LedgerReport, from: From, folder: string): string {
  const rows = Object.entries(report.sources).map(([source, book]) => rowOf(source, totalsOf(book)));
  const where =
    from === "gateway" ? "as the running gateway says" : "no gateway answers; read from the store";
  return [
    `store ${report.storeId} in ${folder} (${where})`,
    "",
    ...table([["source", ...columns, "gaps"], ...rows, rowOf("total", report.totals)]),
    "",
    ...Object.entries(report.sources).flatMap(([source, book]) => [
      ...reasons(`${source}: frames discarded`, book.frameDiscards),
      ...reasons(`${source}: readings discarded`, book.discards),
      ...reasons(`${source}: notes`, book.notes),
    ]),
    ...(report.addsUp ? ["adds up"] : ["DOES NOT ADD UP", ...report.imbalances.map((line) => `  ${line}`)]),
  ].join("\n");
}

function rowOf(source: string, totals: LedgerTotals): string[] {
  const { counted, unknown } = totals.gaps;
  const gaps = unknown === 0 ? `${counted}` : `${counted} + ${unknown} unknown`;
  return [source, ...columns.map((column) => String(totals[column])), gaps];
}

/** Names to the left, numbers to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "),
  );
}

function reasons(title: string, counts: Readonly<Partial<Record<string, number>>>): string[] {
  const list = Object.entries(counts).map(([reason, count]) => `${reason} ${count}`);
  return list.length === 0 ? [] : [`${title}: ${list.join(", ")}`];
}
