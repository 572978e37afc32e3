import { expect, test } from "vitest";
import { matchesFilter } from "../../src/sources/topic-filter.ts";

// The examples of MQTT 3.1.1 sections 4.7.1.2 and 4.7.1.3.
test.each([
  ["sport/tennis/player1/#", "sport/tennis/player1", true],
  ["sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
  ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
  ["sport/tennis/player1/#", "sport/tennis/player2", false],
  ["#", "a/b/c", true],
  ["sport/tennis/+", "sport/tennis/player1", true],
  ["sport/tennis/+", "sport/tennis/player1/ranking", false],
  ["sport/+", "sport", false],
  ["sport/+", "sport/", true],
  ["+/+", "/finance", true],
  ["/+", "/finance", true],
  ["+", "/finance", false],
  ["a/b", "a/b", true],
  ["a/b", "a/B", false],
  ["a/b", "a/b/c", false],
  ["$share/group/a/+", "a/b", true],
  ["$share/group/a/+", "b/b", false],
])("%s and %s: %s", (filter, topic, expected) => {
  expect(matchesFilter(filter, topic)).toBe(expected);
});
