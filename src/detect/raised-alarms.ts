import type { Entry } from "../core/entry.ts";
import type { AlarmEntryBody } from "../outbox/entry-schema.ts";

/** What a commit's alarm was about. */
export type RaisedAlarm = Pick<AlarmEntryBody, "source" | "device" | "channel" | "to">;

/** Of one commit; more would be a storm, of which the first ones tell enough. */
const mostTold = 100;

/** The alarms among entries, for who acts on them on this box, whether or not the hub is there. */
export function raisedIn(entries: readonly Entry[]): RaisedAlarm[] {
  const alarms = entries.filter(({ kind }) => kind === "alarm").slice(0, mostTold);
  return alarms.map(({ body }) => {
    const { source, device, channel, to } = JSON.parse(body) as AlarmEntryBody;
    return { source, device, to, ...(channel === undefined ? {} : { channel }) };
  });
}
