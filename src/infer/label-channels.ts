import { channelNamePattern, isOrdinaryName } from "../core/reading.ts";
import type { Label } from "./labels.ts";

/** The channels that a model's classes are in readings. */
export interface LabelChannels {
  nameOf(index: number): string;
  /** Undefined when no class is called so. */
  indexOf(name: string): number | undefined;
}

/** Labels of one model are the same list for as long as it is loaded. */
const known = new WeakMap<readonly Label[], LabelChannels>();

export function labelChannels(labels: readonly Label[] | undefined, classes: number): LabelChannels {
  if (!labels) return numbered(classes);
  const before = known.get(labels);
  if (before) return before;
  const names = uniqueNames(labels.map(({ name }) => channelNameOf(name)));
  const indices = new Map(names.map((name, index) => [name, index]));
  const channels: LabelChannels = {
    nameOf: (index) => names[index] ?? `class${index}`,
    indexOf: (name) => indices.get(name),
  };
  known.set(labels, channels);
  return channels;
}

function numbered(classes: number): LabelChannels {
  return {
    nameOf: (index) => `class${index}`,
    indexOf: (name) => {
      const index = Number(/^class(0|[1-9]\d{0,8})$/.exec(name)?.[1] ?? Number.NaN);
      return index < classes ? index : undefined;
    },
  };
}

const longest = 64;

/** What a name of a channel cannot hold becomes `_`; empty when nothing is left. */
function channelNameOf(label: string): string {
  const name = label.replaceAll(/[\p{C}\s.$#]+/gu, "_").slice(0, longest);
  // A cut may leave half a character.
  const whole = name.isWellFormed() ? name : name.slice(0, -1);
  return channelNamePattern.test(whole) && isOrdinaryName(whole) ? whole : "";
}

/** Two classes may have one name, as ImageNet's two cranes: each of them gets the number of its class behind it. */
function uniqueNames(names: readonly string[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const taken = new Set(names.filter((name) => counts.get(name) === 1));
  return names.map((name, index) => {
    if (name !== "" && counts.get(name) === 1) return name;
    const suffix = name === "" ? `class${index}` : `_${index}`;
    let unique = `${name.slice(0, longest - 16)}${suffix}`;
    while (taken.has(unique)) unique += "_";
    taken.add(unique);
    return unique;
  });
}
