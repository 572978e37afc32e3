import type { Stats } from "node:fs";

export const strippedFolder: string;
export function strippedFile(file: string, stats: Pick<Stats, "size" | "mtimeMs">): string;
