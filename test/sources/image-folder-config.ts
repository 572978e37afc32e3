import { imageFolderSource } from "../../src/config/image-source-schema.ts";

/** A source of the pictures in `folder`. */
export const imageFolderConfig = (folder: string, more: object = {}) =>
  imageFolderSource.parse({
    type: "imageFolder",
    device: "gate",
    model: "zoo",
    folder,
    settleMs: 0,
    ...more,
  });
