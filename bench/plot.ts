/** Plots as SVG text, without a library: bars in groups, and a line over two logarithmic axes. */

const width = 720;
const height = 320;
const edge = { left: 64, right: 16, top: 40, bottom: 48 };
const colours = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d"];

export interface Group {
  readonly label: string;
  /** Undefined where nothing was measured. */
  readonly values: readonly (number | undefined)[];
}

/** One bar of each series in each group, from zero. */
export function barPlot(
  title: string,
  unit: string,
  series: readonly string[],
  groups: readonly Group[],
): string {
  const largest = Math.max(1e-9, ...groups.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const top = niceAbove(largest);
  const y = (value: number) => height - edge.bottom - (value / top) * (height - edge.top - edge.bottom);
  const groupWidth = (width - edge.left - edge.right) / groups.length;
  const barWidth = (groupWidth * 0.8) / series.length;
  const parts: string[] = [];
  for (let i = 0; i <= 4; i++) parts.push(gridLine(y((top * i) / 4), short((top * i) / 4)));
  for (const [g, { label, values }] of groups.entries()) {
    const left = edge.left + g * groupWidth + groupWidth * 0.1;
    for (const [s, value] of values.entries()) {
      if (value === undefined) continue;
      const x = left + s * barWidth;
      parts.push(
        `<rect x="${n(x)}" y="${n(y(value))}" width="${n(barWidth * 0.9)}" height="${n(height - edge.bottom - y(value))}" fill="${colours[s % colours.length]}"/>`,
        text(x + barWidth * 0.45, y(value) - 4, short(value), "middle", 10),
      );
    }
    parts.push(text(left + groupWidth * 0.4, height - edge.bottom + 16, label, "middle"));
  }
  for (const [s, name] of series.entries()) {
    const x = edge.left + s * 150;
    parts.push(
      `<rect x="${x}" y="${height - 18}" width="10" height="10" fill="${colours[s % colours.length]}"/>`,
    );
    parts.push(text(x + 14, height - 9, name, "start"));
  }
  return svg(`${title}, ${unit}`, parts);
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Both axes logarithmic; a dashed line shows what is linear from the last point but one. */
export function growthPlot(title: string, xLabel: string, yLabel: string, points: readonly Point[]): string {
  const xs = points.map(({ x }) => Math.log10(x));
  const ys = points.map(({ y }) => Math.log10(y));
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys) - 0.1, Math.max(...ys) + 0.1];
  const x = (value: number) =>
    edge.left + ((Math.log10(value) - x0) / (x1 - x0 || 1)) * (width - edge.left - edge.right - 40);
  const y = (value: number) =>
    height - edge.bottom - ((Math.log10(value) - y0) / (y1 - y0 || 1)) * (height - edge.top - edge.bottom);
  const line = points.map((point) => `${n(x(point.x))},${n(y(point.y))}`).join(" ");
  const parts = [`<polyline points="${line}" fill="none" stroke="${colours[0]}" stroke-width="2"/>`];
  const before = points.at(-2);
  const last = points.at(-1);
  if (before && last) {
    const linear = before.y * (last.x / before.x);
    parts.push(
      `<line x1="${n(x(before.x))}" y1="${n(y(before.y))}" x2="${n(x(last.x))}" y2="${n(y(linear))}" stroke="#888" stroke-dasharray="4 4"/>`,
    );
  }
  for (const point of points) {
    parts.push(
      `<circle cx="${n(x(point.x))}" cy="${n(y(point.y))}" r="3" fill="${colours[0]}"/>`,
      text(x(point.x), y(point.y) - 8, short(point.y), "middle", 10),
      text(x(point.x), height - edge.bottom + 16, short(point.x), "middle"),
    );
  }
  parts.push(text(width / 2, height - 8, xLabel, "middle"));
  return svg(`${title}, ${yLabel}`, parts);
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}

function gridLine(y: number, label: string): string {
  return `<line x1="${edge.left}" y1="${n(y)}" x2="${width - edge.right}" y2="${n(y)}" stroke="#ddd"/>${text(edge.left - 6, y + 4, label, "end")}`;
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end", size = 12): string {
  return `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}" font-size="${size}">${content}</text>`;
}

function svg(title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" fill="#333">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(edge.left, 22, title, "start", 14),
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

const n = (value: number): string => String(Math.round(value * 10) / 10);

export function short(value: number): string {
  if (Math.abs(value) >= 1e6) return `${Math.round(value / 1e5) / 10}M`;
  if (Math.abs(value) >= 10_000) return `${Math.round(value / 100) / 10}k`;
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Math.round(value * 100) / 100);
}
