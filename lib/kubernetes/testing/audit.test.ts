import { expect, test } from "vitest";
import { parseAudit, summarise } from "./audit.ts";

const line = (auditID: string, stage: string, verb: string, resource: object, code = 200) =>
  `${JSON.stringify({ auditID, stage, verb, user: { username: "u" }, objectRef: resource, requestURI: "/x?y=1", responseStatus: { code } })}\n`;

const PODS = { resource: "pods", namespace: "n", name: "p" };
const BLOCKS = { resource: "ipamblocks", apiGroup: "crd.projectcalico.org", name: "b" };

test("each request counts once, a watch when it begins, and an unfinished line not yet", () => {
  const text =
    line("1", "ResponseComplete", "get", PODS) +
    line("2", "ResponseStarted", "watch", PODS) +
    line("2", "ResponseComplete", "watch", PODS) +
    line("3", "ResponseComplete", "update", BLOCKS).trimEnd();
  expect(parseAudit(text).map(({ verb }) => verb)).toEqual(["get", "watch"]);
  expect(parseAudit(`${text}\n`)).toHaveLength(3);
});

test("writes are those that were carried out; resources are named with group and part", () => {
  const events = parseAudit(
    line("1", "ResponseComplete", "update", BLOCKS) +
      line("2", "ResponseComplete", "update", BLOCKS, 409) +
      line("3", "ResponseComplete", "patch", { ...PODS, subresource: "status" }),
  );
  expect(summarise(events)).toEqual({
    requests: 3,
    writes: 2,
    byVerb: new Map([
      ["update ipamblocks.crd.projectcalico.org", 2],
      ["patch pods/status", 1],
    ]),
  });
});
