import type { ApiStatus } from "./api/local-api.ts";
import type { WriteCounts } from "./api/register-writes.ts";
import type { TimeQuality } from "./core/reading.ts";
import type { HubLinkState } from "./hub/hub-link.ts";
import type { UpstreamStatus } from "./hub/upstream-watch.ts";
import type { IntakeStatus } from "./journal/intake-contract.ts";
import { totalsPerSource } from "./ledger/ledger-report.ts";
import { type FlashWear, freeDisk, freeRam, load } from "./observe/health.ts";
import type { BillStatus } from "./outbox/bill.ts";
import type { UploadCounts } from "./pictures/picture-uploads.ts";
import type { PublisherStatus } from "./publish/publisher.ts";
import type { ScoringStatus } from "./scoring-side.ts";
import type { SourceStatus } from "./sources/source.ts";
import type { StoreStatus } from "./store/contract.ts";
import type { DesiredStatus } from "./twin/desired.ts";
import type { BoxState } from "./twin/reported.ts";

/** What the status socket, the API and the metrics tell. */
export interface GatewayStatus extends ScoringStatus {
  readonly version: string;
  readonly gateway: string;
  readonly healthy: boolean;
  readonly configHash: string;
  readonly lastDesiredVersion: number | undefined;
  readonly lastDesiredStatus: DesiredStatus | undefined;
  /** `type` is that of the configuration in force; while another hub is on trial, the rest is about that one. */
  readonly hub: HubLinkState & {
    readonly type: string;
    readonly onTrial: boolean;
    /** Messages of the hub that no source took, since the start. */
    readonly unclaimed: number;
  };
  /** Edge hub's way to the cloud; undefined for other hubs, and when nobody asks. */
  readonly upstream: UpstreamStatus | undefined;
  readonly sources: Readonly<Record<string, SourceStatus>>;
  readonly clock: TimeQuality;
  readonly intake: IntakeStatus;
  readonly publisher: PublisherStatus;
  /** What was composed today, UTC, in the hub's blocks. */
  readonly bill: BillStatus;
  readonly store: StoreStatus;
  readonly flash: FlashWear;
  /** What became of values that were to be set in field devices, since the start. */
  readonly writes: WriteCounts;
  /** What became of pictures that were to be uploaded, since the start. */
  readonly uploads: UploadCounts;
  readonly api: ApiStatus;
}

/** What of it the twin reports, and how the box itself does. */
export function boxState(
  status: GatewayStatus,
  storeFolder: string,
  monotonicMs: number,
): Omit<BoxState, "lastDesiredVersion" | "lastDesiredStatus"> {
  const { configHash, sources, models, sentiment, upstream, clock, intake, store } = status;
  const { entries, messages, bytes, oldestMs } = store.outbox;
  const oldestAgeMs = oldestMs === undefined ? 0 : Math.max(0, monotonicMs + store.steadyBaseMs - oldestMs);
  return {
    version: status.version,
    configHash,
    sources,
    models,
    sentiment,
    upstream: upstream?.state,
    clockQuality: clock,
    store: { state: intake.state, reason: intake.reason },
    ledger: totalsPerSource(store.books),
    freeRam: freeRam(),
    load: load(),
    freeDisk: freeDisk(storeFolder),
    outbox: { entries, messages, bytes, oldestAgeMs },
  };
}
