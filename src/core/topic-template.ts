/** What a topic says of the message, by a template. */
export interface TopicPlace {
  readonly device: string | undefined;
  readonly channel: string | undefined;
}

/** As a name of a field: the channel that the topic names. */
export const topicChannel = "{channel}";
const placeholder = /\{(device|channel)\}/g;
/** Far more than devices have; a topic that is not among them is matched again. */
const maxKnownTopics = 10_000;

/**
 * What is wrong with a template, or undefined. Its levels are those of a topic filter (MQTT 3.1.1 section 4.7), and
 * `{device}` and `{channel}` stand for a level or a part of one, each once.
 */
export function templateProblem(template: string): string | undefined {
  const levels = template.split("/");
  const named = [...template.matchAll(placeholder)].map(([, name]) => name);
  if (!named.includes("device")) return "names no {device}";
  if (new Set(named).size < named.length) return "names one thing twice";
  for (const [i, level] of levels.entries()) {
    const literal = level.replace(placeholder, "");
    if (level === "+" || (level === "#" && i === levels.length - 1)) continue;
    if ([...level.matchAll(placeholder)].length > 1) return "names two things in one level";
    if (/[{}+#\p{C}]/u.test(literal)) return "is a topic with {device} and {channel}, + and # as in a filter";
  }
  return undefined;
}

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** Reads topics by a template without problems; undefined for a topic that does not match it. */
export function compileTemplate(template: string): (topic: string) => TopicPlace | undefined {
  const levels = template.split("/");
  const rest = levels.at(-1) === "#";
  const parts = (rest ? levels.slice(0, -1) : levels).map((level) =>
    level === "+"
      ? "[^/]*"
      : level
          .split(placeholder)
          .map((part, i) => (i % 2 === 1 ? `(?<${part}>[^/]+)` : escaped(part)))
          .join(""),
  );
  const pattern = new RegExp(`^${parts.join("/")}${rest ? "(?:/.*)?" : ""}$`, "su");
  const known = new Map<string, TopicPlace | undefined>();
  return (topic) => {
    if (known.has(topic)) return known.get(topic);
    const { groups } = pattern.exec(topic) ?? {};
    const place = groups && { device: groups.device, channel: groups.channel };
    if (known.size >= maxKnownTopics) known.clear();
    known.set(topic, place);
    return place;
  };
}
