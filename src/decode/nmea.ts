import type { FrameFields } from "./reading-reader.ts";

type Field = readonly [name: string, value: number | string];

/** Field that holds the time as ISO 8601; no channel. */
const nmeaTime = "utc";

/** 1 knot is 1,852 m/h by definition. */
const metresPerSecond = 1_852 / 3_600;

/**
 * One NMEA 0183 sentence: `$`, talker and type, fields, `*` and the checksum, which is the exclusive or of the
 * bytes between `$` and `*` (gpsd, "NMEA Revealed"; NMEA 0183 section 5.3). Without a checksum it is none here:
 * a flipped bit must not become a value. What the device itself calls invalid has no value. The time is there when it
 * is wanted.
 */
export function splitNmea(text: string, receivedMs: number, withTime: boolean): FrameFields {
  const sentence = /^\$([A-Z0-9]{4,8})((?:,[^,*$!]*)*)\*([0-9A-Fa-f]{2})$/.exec(text.trimEnd());
  if (!sentence) return { discard: "malformed" };
  const [, address = "", rest = "", checksum = ""] = sentence;
  if (checksumOf(address + rest) !== Number.parseInt(checksum, 16)) return { discard: "badChecksum" };
  // A proprietary sentence has a maker's code instead of a talker.
  const read = address.startsWith("P") ? undefined : sentences[address.slice(-3)];
  if (!read || address.length !== 5) return { discard: "otherSentence" };
  const all = read(rest.split(",").slice(1), receivedMs);
  const fields = withTime ? all : all.filter(([name]) => name !== nmeaTime);
  return fields.length > 0 ? [fields] : { discard: "noChannels" };
}

function checksumOf(text: string): number {
  let sum = 0;
  for (const byte of Buffer.from(text)) sum ^= byte;
  return sum;
}

const sentences: Readonly<Record<string, (fields: readonly string[], receivedMs: number) => Field[]>> = {
  /** Fix data: time, latitude, longitude, quality, satellites, HDOP, altitude above sea level, geoid separation. */
  GGA: ([time, latitude, north, longitude, east, quality, satellites, hdop, altitude], receivedMs) => {
    const isFixed = quality !== undefined && /^[1-8]$/.test(quality);
    return [
      ...timeField(nearest(time, receivedMs)),
      ...number("fixQuality", quality),
      ...number("satellites", satellites),
      ...(isFixed ? position(latitude, north, longitude, east) : []),
      ...(isFixed ? number("hdop", hdop) : []),
      ...(isFixed ? number("altitude", altitude) : []),
    ];
  },

  /** Recommended minimum: time, status, latitude, longitude, speed in knots, course, date, magnetic variation. */
  RMC: ([time, status, latitude, north, longitude, east, speed, course, date, variation, side]) => {
    if (status !== "A") return [];
    return [
      ...timeField(dated(time, date)),
      ...position(latitude, north, longitude, east),
      ...number("speed", speed, metresPerSecond),
      ...number("course", course),
      ...(side === "E" || side === "W" ? number("magneticVariation", variation, side === "W" ? -1 : 1) : []),
    ];
  },

  /** Transducers, four fields each: type, value, unit, name. A nameless one goes by its type. */
  XDR: (fields) => {
    const found: Field[] = [];
    for (let i = 0; i + 3 < fields.length; i += 4) {
      const [type = "", value, , name] = fields.slice(i, i + 4);
      found.push(...number(name || type, value));
    }
    return found;
  },
};

/** None when it is empty or no plain decimal. */
function number(name: string, text: string | undefined, factor = 1): Field[] {
  if (name === "" || text === undefined || !/^[+-]?(\d+\.?\d*|\.\d+)$/.test(text)) return [];
  return [[name, Number(text) * factor]];
}

/** Degrees, north and east positive. Both or none: half a position is none. */
function position(
  latitude: string | undefined,
  north: string | undefined,
  longitude: string | undefined,
  east: string | undefined,
): Field[] {
  const [y, x] = [degrees(latitude, 2), degrees(longitude, 3)];
  if (y === undefined || x === undefined || y > 90 || x > 180) return [];
  if ((north !== "N" && north !== "S") || (east !== "E" && east !== "W")) return [];
  return [
    ["latitude", north === "S" ? -y : y],
    ["longitude", east === "W" ? -x : x],
  ];
}

/** Of `dddmm.mmm`, with so many digits of degrees. */
function degrees(text: string | undefined, digits: number): number | undefined {
  if (text === undefined || !/^\d{4,5}(\.\d*)?$/.test(text)) return undefined;
  const minutes = Number(text.slice(digits));
  if (text.split(".")[0]?.length !== digits + 2 || minutes >= 60) return undefined;
  return Number(text.slice(0, digits)) + minutes / 60;
}

/** Milliseconds of `hhmmss.ss`; second 60 is a leap second. */
function timeOfDay(text: string | undefined): number | undefined {
  const [, hours, minutes, seconds] =
    /^([01]\d|2[0-3])([0-5]\d)((?:[0-5]\d|60)(?:\.\d+)?)$/.exec(text ?? "") ?? [];
  if (hours === undefined) return undefined;
  return Math.round((Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * 1_000);
}

/** `ddmmyy`: years 00 to 79 are of this century. */
function dated(time: string | undefined, date: string | undefined): number | undefined {
  const at = timeOfDay(time);
  const [, day, month, year] = /^(\d\d)(\d\d)(\d\d)$/.exec(date ?? "") ?? [];
  if (at === undefined || day === undefined) return undefined;
  const century = Number(year) < 80 ? 2_000 : 1_900;
  const midnight = new Date(Date.UTC(century + Number(year), Number(month) - 1, Number(day)));
  const isDate = midnight.getUTCMonth() === Number(month) - 1 && midnight.getUTCDate() === Number(day);
  return isDate ? midnight.getTime() + at : undefined;
}

const dayMs = 86_400_000;

/** A time without a date is that of the day which brings it nearest to its receipt. */
function nearest(time: string | undefined, receivedMs: number): number | undefined {
  const at = timeOfDay(time);
  if (at === undefined) return undefined;
  const sameDay = Math.floor(receivedMs / dayMs) * dayMs + at;
  return sameDay + Math.round((receivedMs - sameDay) / dayMs) * dayMs;
}

function timeField(ms: number | undefined): Field[] {
  return ms === undefined ? [] : [[nmeaTime, new Date(ms).toISOString()]];
}
