import type { ModelConfig } from "../config/schema.ts";
import { messageOf } from "../core/errors.ts";
import { JobQueue } from "./job-queue.ts";
import { type Refusal, refuse } from "./refusal.ts";

/** Pixels in rows from the top left, red, green and blue a byte each. */
export interface Pixels {
  readonly pixels: Uint8Array;
  /** Size of the image as it came, upright. */
  readonly width: number;
  readonly height: number;
}

type Sharp = typeof import("sharp");
type Image = ReturnType<Sharp["default"]>;

/** Decoding ends within it, whatever the file makes the decoder do. */
const timeoutS = 20;
/** The shorter side before the middle is cut out, over the model's: 256 / 224 (github.com/onnx/models, ResNet). */
const cropRatio = 256 / 224;

/** Decodes images and brings them to a model's size, one at a time: the threads it works in are those of files and buses. */
export class Images {
  readonly #queue = new JobQueue();
  #sharp: Promise<Sharp> | undefined;

  /** @throws the signal's reason when it is aborted before its turn */
  async pixels(
    bytes: Uint8Array,
    size: { readonly width: number; readonly height: number },
    settings: ModelConfig["image"],
    signal: AbortSignal,
  ): Promise<Pixels | Refusal> {
    return await this.#queue.turn(() => this.#decode(bytes, size, settings), signal);
  }

  async #decode(
    bytes: Uint8Array,
    { width, height }: { readonly width: number; readonly height: number },
    { resize, maxPixels }: ModelConfig["image"],
  ): Promise<Pixels | Refusal> {
    this.#sharp ??= load();
    const { default: sharp } = await this.#sharp;
    try {
      const found = await sharp(bytes, { limitInputPixels: false }).metadata();
      if (found.width * found.height > maxPixels) {
        const told = `${found.width} × ${found.height}`;
        return refuse("imageTooLarge", `the image has ${told} pixels, and maxPixels is ${maxPixels}`);
      }
      // Errors of the file, such as an early end, are errors; what cameras write beside the standard is none. Turned
      // upright first: what is cut off must be cut off the upright image.
      const image = sharp(bytes, { limitInputPixels: maxPixels, failOn: "error" })
        .timeout({ seconds: timeoutS })
        .autoOrient();
      const scaled = resize === "crop" ? cropped(image, width, height) : image.resize(width, height, linear);
      const { data, info } = await scaled
        .flatten({ background: "black" })
        .toColourspace("srgb")
        .raw()
        .toBuffer({ resolveWithObject: true });
      if (info.channels !== 3) return refuse("badImage", `the image has ${info.channels} channels`);
      // A copy, because memory of the library cannot be handed to a thread.
      return { pixels: Uint8Array.from(data), ...found.autoOrient };
    } catch (error) {
      return refuse("badImage", `the image cannot be read: ${firstLine(messageOf(error))}`);
    }
  }
}

const linear = { fit: "fill", kernel: "linear" } as const;

/** The shorter side to 256/224 of the model's, then the middle. */
function cropped(image: Image, width: number, height: number): Image {
  const [wide, high] = [Math.round(width * cropRatio), Math.round(height * cropRatio)];
  const place = { left: (wide - width) >> 1, top: (high - height) >> 1, width, height };
  return image.resize(wide, high, { fit: "cover", kernel: "linear", position: "centre" }).extract(place);
}

const firstLine = (text: string) => text.trim().split("\n")[0] ?? "";

/** Loaded with the first image: it costs memory. */
async function load(): Promise<Sharp> {
  const sharp = await import("sharp");
  // Of libvips' many formats three are wanted; others read files of scripts, fonts and addresses.
  sharp.default.block({ operation: ["VipsForeignLoad"] });
  sharp.default.unblock({
    operation: ["VipsForeignLoadJpegBuffer", "VipsForeignLoadPngBuffer", "VipsForeignLoadWebpBuffer"],
  });
  sharp.default.cache(false);
  sharp.default.concurrency(1);
  return sharp;
}
