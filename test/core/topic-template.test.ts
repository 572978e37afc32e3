import { expect, test } from "vitest";
import { compileTemplate, templateProblem } from "../../src/core/topic-template.ts";

test.each([
  ["sensors/{device}/data", "sensors/kiln/data", { device: "kiln", channel: undefined }],
  ["home/{device}/{channel}", "home/kiln/temperature", { device: "kiln", channel: "temperature" }],
  ["{channel}/{device}", "t/kiln", { device: "kiln", channel: "t" }],
  ["a/dev-{device}.x/+/{channel}", "a/dev-7.x/any/t", { device: "7", channel: "t" }],
  ["a/{device}/#", "a/7", { device: "7", channel: undefined }],
  ["a/{device}/#", "a/7/b/c", { device: "7", channel: undefined }],
  ["a/+/{device}", "a//7", { device: "7", channel: undefined }],
  ["home/{device}/{channel}", "home/kiln/temperature/raw", undefined],
  ["home/{device}/{channel}", "home/kiln", undefined],
  ["home/{device}", "home/", undefined],
  ["a/dev-{device}.x", "a/dev-7yx", undefined],
  ["a(b)/{device}", "a(b)/7", { device: "7", channel: undefined }],
  ["{device}", "line\nbreak", { device: "line\nbreak", channel: undefined }],
])("%s reads %j", (template, topic, expected) => {
  expect(templateProblem(template)).toBeUndefined();
  const read = compileTemplate(template);
  expect(read(topic)).toEqual(expected);
  // Known by now.
  expect(read(topic)).toEqual(expected);
});

test("a template that could take long does not", () => {
  const read = compileTemplate("a{device}a/a{channel}a/#");
  expect(read(`${"a".repeat(65_000)}/${"a".repeat(65_000)}b`)).toBeUndefined();
});
