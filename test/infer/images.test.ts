/** Images to a model's size, beside values that are computed here without the library under test. */
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { model as modelSchema } from "../../src/config/model-schema.ts";
import { Images } from "../../src/infer/images.ts";
import { isRefusal } from "../../src/infer/refusal.ts";
import { randomFrom } from "../support/random.ts";
import { never } from "./running-model.ts";

const images = new Images();
const settings = (image: object) => modelSchema.parse({ image }).image;

/** A picture different in every channel and corner, with `noise`: the more, the more another way of scaling shows. */
function picture(width: number, height: number, noise = 0): Uint8Array {
  const pixels = new Uint8ClampedArray(width * height * 3);
  const random = randomFrom(3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3;
      pixels[at] = 127 + 80 * Math.sin((x / width) * 5 + y / height) + noise * (random() - 0.5);
      pixels[at + 1] = (255 * x) / width + noise * (random() - 0.5);
      pixels[at + 2] = (255 * y) / height + noise * (random() - 0.5);
    }
  return new Uint8Array(pixels.buffer);
}

/**
 * Linear interpolation as libraries define it for both directions: a triangle around each target's middle, as wide as
 * the greater of a source and a target pixel, with weights that sum to 1.
 */
function resized(pixels: Uint8Array, from: [number, number], to: [number, number]): Float64Array {
  const [width, height] = from;
  const [wide, high] = to;
  const weights = (source: number, target: number) => {
    const scale = source / target;
    const support = Math.max(1, scale);
    return Array.from({ length: target }, (_, i) => {
      const middle = (i + 0.5) * scale;
      const first = Math.max(0, Math.floor(middle - support));
      const last = Math.min(source - 1, Math.ceil(middle + support));
      const raw: [number, number][] = [];
      for (let k = first; k <= last; k++) {
        const weight = Math.max(0, 1 - Math.abs(k + 0.5 - middle) / support);
        if (weight > 0) raw.push([k, weight]);
      }
      const sum = raw.reduce((total, [, weight]) => total + weight, 0);
      return raw.map(([k, weight]) => [k, weight / sum] as const);
    });
  };
  const columns = weights(width, wide);
  const rows = weights(height, high);
  const across = new Float64Array(wide * height * 3);
  for (let y = 0; y < height; y++)
    for (const [x, parts] of columns.entries())
      for (let c = 0; c < 3; c++)
        across[(y * wide + x) * 3 + c] = parts.reduce(
          (sum, [k, weight]) => sum + weight * (pixels[(y * width + k) * 3 + c] ?? 0),
          0,
        );
  const out = new Float64Array(wide * high * 3);
  for (const [y, parts] of rows.entries())
    for (let i = 0; i < wide * 3; i++)
      out[y * wide * 3 + i] = parts.reduce(
        (sum, [k, weight]) => sum + weight * (across[k * wide * 3 + i] ?? 0),
        0,
      );
  return out;
}

const encoded = (pixels: Uint8Array, width: number, height: number) =>
  sharp(pixels, { raw: { width, height, channels: 3 } });

async function decode(bytes: Uint8Array, image: object = {}, size = { width: 224, height: 224 }) {
  const decoded = await images.pixels(bytes, size, settings(image), never);
  if (isRefusal(decoded)) throw new Error(decoded.message);
  return decoded;
}

const refusedWith = async (bytes: Uint8Array, image: object = {}) => {
  const decoded = await images.pixels(bytes, { width: 224, height: 224 }, settings(image), never);
  return isRefusal(decoded) ? decoded.refusal : "none";
};

/** Spread into `Math.max`, so many would not fit on the stack. */
const greatest = (values: Iterable<number>) => {
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  return most;
};
const worst = (a: Uint8Array, b: Float64Array | Uint8Array) =>
  greatest([...a].map((value, i) => Math.abs(value - Math.round(b[i] ?? Number.NaN))));
const meanDistance = (a: Uint8Array, b: Float64Array | Uint8Array) =>
  a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] ?? Number.NaN)), 0) / a.length;

describe("beside reference values", () => {
  // Noise of 80: with another kernel the worst pixel is off by 30 and more.
  test.each([
    [640, 480],
    [1920, 1080],
    [500, 333],
    [224, 224],
  ])("`stretch` of %i × %i is linear, to 5 of 255", async (width, height) => {
    const pixels = picture(width, height, 80);
    const png = await encoded(pixels, width, height).png().toBuffer();
    const { pixels: found } = await decode(png);
    expect(found).toHaveLength(224 * 224 * 3);
    expect(worst(found, resized(pixels, [width, height], [224, 224]))).toBeLessThanOrEqual(5);
  });

  test("`stretch` of a smaller image is linear, to half a pixel of the image, which libvips is off there", async () => {
    const [width, height] = [100, 70];
    const pixels = picture(width, height);
    const png = await encoded(pixels, width, height).png().toBuffer();
    const step = greatest(
      pixels
        .map((value, i) => Math.abs(value - (pixels[i + 3] ?? value)))
        .filter((_, i) => (i / 3) % width < width - 1),
    );
    expect(
      worst((await decode(png)).pixels, resized(pixels, [width, height], [224, 224])),
    ).toBeLessThanOrEqual(step);
  });

  test.each([
    [480, 320],
    [320, 480],
  ])("`crop` of %i × %i scales the shorter side to 256 and takes the middle 224", async (width, height) => {
    const [wide, high] = [(width * 256) / 320, (height * 256) / 320];
    const pixels = picture(width, height, 80);
    const png = await encoded(pixels, width, height).png().toBuffer();
    const { pixels: found } = await decode(png, { resize: "crop" });
    const whole = resized(pixels, [width, height], [wide, high]);
    const [left, top] = [(wide - 224) / 2, (high - 224) / 2];
    const middle = new Float64Array(224 * 224 * 3);
    for (let y = 0; y < 224; y++)
      middle.set(
        whole.subarray(((y + top) * wide + left) * 3, ((y + top) * wide + left + 224) * 3),
        y * 224 * 3,
      );
    expect(worst(found, middle)).toBeLessThanOrEqual(5);
  });

  test("a JPEG and a WebP are the picture, to what their compression costs", async () => {
    const [width, height] = [640, 480];
    const pixels = picture(width, height);
    const wanted = resized(pixels, [width, height], [224, 224]);
    for (const bytes of [
      await encoded(pixels, width, height).jpeg({ quality: 95 }).toBuffer(),
      await encoded(pixels, width, height).webp({ quality: 95 }).toBuffer(),
    ])
      expect(meanDistance((await decode(bytes)).pixels, wanted)).toBeLessThan(2);
  });
});

describe("what cameras and programs write", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])("EXIF orientation %i is turned upright before anything", async (n) => {
    const [width, height] = [320, 240];
    const upright = picture(width, height);
    // Where in the upright picture a stored pixel is (EXIF 2.3, tag 274).
    const places: Record<number, (x: number, y: number) => [number, number]> = {
      1: (x, y) => [x, y],
      2: (x, y) => [width - 1 - x, y],
      3: (x, y) => [width - 1 - x, height - 1 - y],
      4: (x, y) => [x, height - 1 - y],
      5: (x, y) => [y, x],
      6: (x, y) => [width - 1 - y, x],
      7: (x, y) => [width - 1 - y, height - 1 - x],
      8: (x, y) => [y, height - 1 - x],
    };
    const [wide, high] = n < 5 ? [width, height] : [height, width];
    const stored = new Uint8Array(upright.length);
    for (let y = 0; y < high; y++)
      for (let x = 0; x < wide; x++) {
        const [ux = 0, uy = 0] = places[n]?.(x, y) ?? [];
        const from = (uy * width + ux) * 3;
        stored.set(upright.subarray(from, from + 3), (y * wide + x) * 3);
      }
    const jpeg = await encoded(stored, wide, high)
      .withMetadata({ orientation: n })
      .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
      .toBuffer();
    const found = await decode(jpeg);
    expect([found.width, found.height]).toEqual([width, height]);
    expect(meanDistance(found.pixels, resized(upright, [width, height], [224, 224]))).toBeLessThan(3);
  });

  test("grey, transparent, 16-bit and tiny images become three channels", async () => {
    const [width, height] = [30, 20];
    const pixels = picture(width, height);
    const base = encoded(pixels, width, height);
    const variants = {
      grey: await base.clone().greyscale().png().toBuffer(),
      transparent: await base.clone().ensureAlpha(0).png().toBuffer(),
      deep: await base.clone().toColourspace("rgb16").png().toBuffer(),
      tiny: await encoded(Uint8Array.of(1, 2, 3), 1, 1)
        .png()
        .toBuffer(),
    };
    for (const bytes of Object.values(variants))
      expect((await decode(bytes)).pixels).toHaveLength(224 * 224 * 3);
    // As clients that draw on black have it.
    expect(greatest((await decode(variants.transparent)).pixels)).toBe(0);
    expect([...(await decode(variants.tiny)).pixels.subarray(0, 3)]).toEqual([1, 2, 3]);
  });
});

describe("bad images", () => {
  test("a file of another kind, a name that lies, a cut-off file and nothing at all are refused", async () => {
    const jpeg = await encoded(picture(640, 480), 640, 480).jpeg().toBuffer();
    const png = await encoded(picture(64, 48), 64, 48).png().toBuffer();
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>';
    for (const bytes of [
      Buffer.from("I am a text named holiday.jpg"),
      Buffer.from(svg),
      await encoded(picture(8, 8), 8, 8).gif().toBuffer(),
      await encoded(picture(8, 8), 8, 8).tiff().toBuffer(),
      jpeg.subarray(0, jpeg.length >> 1),
      jpeg.subarray(0, 20),
      png.subarray(0, png.length - 40),
      Buffer.alloc(0),
      Buffer.alloc(10_000, 0xff),
    ])
      expect(await refusedWith(bytes)).toBe("badImage");
    expect(await refusedWith(jpeg)).toBe("none");
  });

  test("an image of 100 megapixels in a few kilobytes is refused before it is decoded", async () => {
    const bomb = await sharp({
      create: { width: 10_000, height: 10_000, channels: 3, background: "white" },
    })
      .png({ compressionLevel: 9 })
      .toBuffer();
    expect(bomb.length).toBeLessThan(1_000_000);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 20; i++) expect(await refusedWith(bomb)).toBe("imageTooLarge");
    // Decoded, each would take 300 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
    expect(await refusedWith(bomb, { maxPixels: 100_000_000 })).toBe("none");
  });
});
