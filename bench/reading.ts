/** What the devices of the benchmark send: about 190 bytes of JSON, seven numbers, a sequence number and two texts. */

export const topicOf = (device: number): string => `bench/in/${deviceName(device)}`;
export const inFilter = "bench/in/+";
export const outPrefix = "bench/out";

export function deviceName(device: number): string {
  return `device-${String(device).padStart(5, "0")}`;
}

/** Fields that are no channel, for whoever computes means. */
export const notChannels = ["seq", "device", "sentAt"];

/** Numbers begin here, so that all have nine digits and can be written over. */
export const firstSeq = 100_000_001;

/** One reading as text; `variant` moves the values. */
export function readingText(device: number, variant: number, seq: number): string {
  const wave = Math.sin(variant / 7 + device);
  const values = {
    temperature: (21 + 3 * wave).toFixed(2),
    humidity: (45 + 10 * wave).toFixed(2),
    pressure: (1_013 + 2 * wave).toFixed(2),
    co2: String(420 + (variant % 300)),
    voltage: (3.3 + 0.1 * wave).toFixed(3),
    current: (0.5 + (variant % 7) / 100).toFixed(3),
    vibration: (0.02 + 0.01 * wave).toFixed(4),
  };
  const texts = Object.entries(values).map(([name, value]) => `"${name}":${value}`);
  return `{"seq":${seq},"device":"${deviceName(device)}","sentAt":"2026-11-27T08:15:30.125Z",${texts.join(",")}}`;
}

/** Where the last two digits of each value stand in a reading: below what a sensor resolves, they are noise. */
export function noisyDigits(text: string): number[] {
  return [...text.matchAll(/":[\d.]*\d\d(?=[,}])/g)].slice(1).flatMap(({ index, 0: match }) => {
    const end = index + match.length;
    return [end - 2, end - 1];
  });
}
