/** Posted texts and the part of the store that texts of all sources share. */
import { expect, test } from "vitest";
import { TextPosts } from "../../src/api/text-posts.ts";
import { pipelineOf } from "../config/pipelines.ts";

test("texts of other sources, waiting or on their way, count against what all may take of the store", async () => {
  const taken: string[] = [];
  const take = async (source: string) => void taken.push(source);
  const waiting = { other: { texts: 1, bytes: 1, stored: 524_288 - 2 * 4_096 } };
  const posts = new TextPosts(
    take,
    () => new Promise<void>(() => undefined),
    () => waiting,
  );
  const sources = { mood: { type: "sentiment" }, other: { type: "sentiment" } };
  const sections = { sentiment: { url: "http://sentiment:5000" }, store: { maxBytes: 4_194_304 } };
  posts.configure(pipelineOf({ ...sections, sources }));
  const page = { text: "x".repeat(2_000) };
  const many = Array.from({ length: 129 }, () => page);
  await expect(posts.post("mood", many)).rejects.toMatchObject({ status: 413 });
  await expect(posts.post("mood", [page, page, page])).rejects.toMatchObject({ status: 503, code: "busy" });
  void posts.post("mood", [page, page]);
  await expect(posts.post("other", [{ text: "x" }])).rejects.toMatchObject({ status: 503, code: "busy" });
  expect(taken).toEqual(["mood"]);
});
