/**
 * Whether a topic is one that a filter subscribes to (MQTT 3.1.1 section 4.7).
 * A shared subscription (`$share/group/filter`, MQTT 5 section 4.8.2, which brokers offer to 3.1.1 too) subscribes
 * to what stands behind its group.
 */
export function matchesFilter(filter: string, topic: string): boolean {
  const levels = filter.split("/");
  const subscribed = levels[0] === "$share" ? levels.slice(2) : levels;
  const named = topic.split("/");
  for (const [i, level] of subscribed.entries()) {
    // Stands for the level above it as well: `a/#` subscribes to `a`.
    if (level === "#") return true;
    if (i >= named.length || (level !== "+" && level !== named[i])) return false;
  }
  return subscribed.length === named.length;
}
