import type { PipelineConfig } from "../config/schema.ts";

/** Turns the spellings that devices use into channel names. Unknown spellings are channels of that name. */
export class ChannelNames {
  readonly #canonical = new Map<string, string>();

  constructor(channels: PipelineConfig["channels"]) {
    for (const [name, { aliases }] of Object.entries(channels)) {
      for (const alias of aliases) this.#canonical.set(alias, name);
    }
    // A name in its own spelling always means itself, whatever another channel lists as alias.
    for (const name of Object.keys(channels)) this.#canonical.set(name, name);
  }

  canonical(spelling: string): string {
    return this.#canonical.get(spelling) ?? spelling;
  }
}
