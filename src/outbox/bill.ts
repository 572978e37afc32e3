/** What was composed in a day (UTC), as the hub bills it; a repeated send is not in it. */
export interface Bill {
  /** Days since 1970. */
  day: number;
  blocks: number;
  messages: number;
  /** Metered bytes. */
  bytes: number;
}

/** The bill of the day so far, for people. */
export interface BillStatus {
  readonly messages: number;
  readonly blocks: number;
  /** Blocks of the whole day, when it goes on like this. */
  readonly forecast: number;
  /** How full the blocks are, 0…1. */
  readonly fill: number;
}

const dayMs = 86_400_000;
/** Of a day's budget, what may be spent at once: an hour's worth. */
const burst = 1 / 24;

export const emptyBill = (): Bill => ({ day: 0, blocks: 0, messages: 0, bytes: 0 });

/** Begins a new bill with a new day. A step of the clock back over midnight begins none. */
export function turn(bill: Bill, wallMs: number): void {
  const day = Math.floor(wallMs / dayMs);
  if (day === bill.day || day === bill.day - 1) return;
  Object.assign(bill, emptyBill(), { day });
}

/** Blocks that may be spent now, so that the budget lasts until midnight UTC; negative when too many were. */
export function allowance(bill: Bill, dailyBlocks: number, wallMs: number): number {
  return dailyBlocks * (burst + (1 - burst) * elapsedOf(wallMs)) - bill.blocks;
}

/** How long until so many blocks may be spent, ms; with the next day comes a new bill. */
export function waitForBlocksMs(bill: Bill, dailyBlocks: number, wallMs: number, blocks: number): number {
  const missing = blocks - allowance(bill, dailyBlocks, wallMs);
  if (missing <= 0) return 0;
  const untilMidnightMs = (1 - elapsedOf(wallMs)) * dayMs;
  return Math.ceil(Math.min(untilMidnightMs, (missing * dayMs) / (dailyBlocks * (1 - burst))));
}

/** What the backlog leaves to what is new. */
export const liveReserve = (dailyBlocks: number): number => dailyBlocks * burst;

export function billStatus(bill: Bill, blockBytes: number, wallMs: number): BillStatus {
  const now = { ...bill };
  turn(now, wallMs);
  // In the first minutes of a day a forecast would be anything.
  const elapsed = Math.max(elapsedOf(wallMs), burst);
  return {
    messages: now.messages,
    blocks: now.blocks,
    forecast: Math.max(now.blocks, Math.round(now.blocks / elapsed)),
    fill: now.blocks === 0 ? 0 : Math.round((1_000 * now.bytes) / (now.blocks * blockBytes)) / 1_000,
  };
}

const elapsedOf = (wallMs: number): number => (((wallMs % dayMs) + dayMs) % dayMs) / dayMs;
