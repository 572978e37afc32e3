/** What a part of the campaign is given. */
export interface PartOptions {
  readonly random: () => number;
  /** How many rounds; a part says itself what one is. Undefined: its own default. */
  readonly rounds: number | undefined;
  /** A little of everything, in little time. */
  readonly isShort: boolean;
  /** A folder of its own, removed when the part found nothing. */
  readonly folder: string;
  readonly say: (line: string) => void;
}

export interface PartResult {
  /** What was done and counted, in the order in which it is printed. */
  readonly counts: Readonly<Record<string, number>>;
  /** What must not be; empty when all is well. */
  readonly problems: readonly string[];
}

/** One kind of fault, tried many times. */
export interface Part {
  readonly name: string;
  readonly about: string;
  run(options: PartOptions): Promise<PartResult>;
}
