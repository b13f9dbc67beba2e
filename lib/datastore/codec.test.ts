import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMConfiguration } from "../api/ipamconfiguration.ts";
import { IPAMHandle } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import type { Kind } from "../api/kind.ts";
import { Node } from "../api/node.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { decode, encode, goTime } from "./codec.ts";
import { DatastoreError } from "./errors.ts";
import { parseJson, stringifyJson } from "./json.ts";
import { keyOf, parseKey, refOf } from "./keys.ts";

const plain = (kind: unknown): Kind => kind as Kind;
const BLOCK =
  '{"cidr":"10.0.0.0/30","affinity":"host:n1","affinity_claim_time":"2026-01-02T03:04:05Z","allocations":[0,null,1,null],' +
  '"unallocated":[1,3],"attributes":[{"handle_id":"net.c1","secondary":{"pod":"web"}},{"releasedAt":"2026-01-02T03:04:05Z"}],' +
  '"sequenceNumber":1700000000123456789,"sequenceNumberForAllocation":{"0":1700000000123456788},"deleted":false}';

/** An example of each kind as another Calico stores it. */
const EXAMPLES: readonly (readonly [Kind, string, string])[] = [
  [plain(IPAMBlock), "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30", BLOCK],
  [
    plain(BlockAffinity),
    "/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0-30",
    '{"state":"pendingDeletion","deleted":false}',
  ],
  [plain(BlockAffinity), "/calico/ipam/v2/virtual/lb/ipv6/block/fd00::-122", '{"state":"pending","deleted":true}'],
  [plain(IPAMHandle), "/calico/ipam/v2/handle/net.c1", '{"block":{"10.0.0.0/30":2},"deleted":false}'],
  [
    plain(IPAMConfiguration),
    "/calico/ipam/v2/config",
    '{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":4,"kubeVirtVMAddressPersistence":"Disabled","ipCooldownSeconds":30}',
  ],
  [
    plain(IPPool),
    "/calico/resources/v3/projectcalico.org/ippools/main",
    '{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"main","uid":"5b2e","creationTimestamp":"2026-01-02T03:04:05Z","labels":{"a":"b"}},"spec":{"cidr":"10.0.0.0/16","vxlanMode":"Never","ipipMode":"Always","natOutgoing":true,"blockSize":26,"nodeSelector":"all()","allowedUses":["Workload"],"assignmentMode":"Automatic"}}',
  ],
  [
    plain(WorkloadEndpoint),
    "/calico/resources/v3/projectcalico.org/workloadendpoints/default/n1-k8s-web-eth0",
    '{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"n1-k8s-web-eth0","namespace":"default","creationTimestamp":null},"spec":{"orchestrator":"k8s","node":"n1","pod":"web","endpoint":"eth0","ipNetworks":["10.0.0.1/32"],"profiles":["kns.default"],"interfaceName":"cali123","mac":"ee:ee:ee:ee:ee:ee"}}',
  ],
  [
    plain(Node),
    "/calico/resources/v3/projectcalico.org/nodes/n1",
    '{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n1"},"spec":{"bgp":{"ipv4Address":"192.0.2.1/24","asNumber":64512}},"status":{}}',
  ],
];

const at = (key: string, value: string) => ({ key, value, modRevision: 7, createRevision: 3 });

describe("stored objects", () => {
  test.each(EXAMPLES.map(([kind, key, value]) => ({ name: kind.kind, kind, key, value })))(
    "of $name at $key survive being read and written",
    ({ kind, key, value }) => {
      const resource = decode(kind, at(key, value))!;
      expect(resource.metadata.resourceVersion).toBe("7");
      expect(keyOf(kind, refOf(resource))).toBe(key);
      const written = encode(kind, resource);
      const again = decode(kind, at(key, written));
      expect(again).toEqual(resource);
      // The objects of IPAM to the byte; resources may gain defaults.
      if (key.startsWith("/calico/ipam/")) expect(written).toBe(value);
      else expect(parseJson(written)).toMatchObject({ spec: (parseJson(value) as { spec: object }).spec });
    },
  );

  test("of blocks are read to the last digit, in whatever order their fields are", () => {
    const [kind, key] = EXAMPLES[0]!;
    const expected = decode(kind, at(key, BLOCK))!;
    const fields = Object.entries(parseJson(BLOCK) as object);
    const extra = fc.constantFrom<unknown>(
      9007199254740993n,
      '","sequenceNumber":1,"',
      { sequenceNumber: 1, deleted: true },
      [{ a: 1, sequenceNumber: 9007199254740995n }],
    );
    fc.assert(
      fc.property(
        fc.shuffledSubarray(fields, { minLength: fields.length }),
        fc.nat(9),
        extra,
        (order, where, newer) => {
          const shuffled = [...order.slice(0, where), ["newer", newer] as const, ...order.slice(where)];
          const text = stringifyJson(Object.fromEntries(shuffled));
          expect(decode(kind, at(key, text))).toEqual({ ...expected, spec: { ...(expected.spec as object), newer } });
        },
      ),
    );
  });

  test("under keys of other objects are none", () => {
    for (const [kind, key] of [
      [IPAMBlock, "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-33"],
      [IPAMBlock, "/calico/ipam/v2/assignment/ipv4/block/a/b"],
      [BlockAffinity, "/calico/ipam/v2/host/n1"],
      [BlockAffinity, "/calico/ipam/v2/host/n1/ipv4/block/"],
      [BlockAffinity, "/calico/ipam/v2/other/n1/ipv4/block/10.0.0.0-30"],
      [IPAMHandle, "/calico/ipam/v2/handle/a/b"],
      [IPAMHandle, "/calico/ipam/v2/handle/"],
      [IPPool, "/calico/resources/v3/projectcalico.org/ippools/a/b"],
      [WorkloadEndpoint, "/calico/resources/v3/projectcalico.org/workloadendpoints/a"],
    ] as const) {
      expect(parseKey(plain(kind), key)).toBeUndefined();
      expect(decode(plain(kind), at(key, "{}"))).toBeUndefined();
    }
  });

  test("are read with values that only a newer Calico knows, and with texts that nobody can parse", () => {
    for (const [index, from, to] of [
      [1, '"pendingDeletion"', '"paused"'],
      [3, '"10.0.0.0/30":2', '"10.0.0.0/30":-2,"nonsense":1'],
      [4, '"Disabled"', '"Sometimes"'],
      [4, '"maxBlocksPerHost":4', '"maxBlocksPerHost":-4'],
      [5, '["Workload"]', '["Workload","Egress"]'],
      [5, '"Always"', '"Sometimes"'],
      [5, '"10.0.0.0/16"', '"10.0.0.300/16"'],
      [5, '"all()"', '"all("'],
      [6, '"10.0.0.1/32"', '"dynamic"'],
      [7, '"192.0.2.1/24"', '"autodetect"'],
      [7, '"asNumber"', '"routeReflectorClusterID":"x","asNumber"'],
    ] as const) {
      const [kind, key, text] = EXAMPLES[index]!;
      expect(text).toContain(from);
      const stored = at(key, text.replace(from, to));
      expect(encode(kind, decode(kind, stored)!)).toContain(to);
    }
    const node = at(EXAMPLES[7]![1], '{"spec":{"addresses":[{"address":"x","type":"Hostname"}]}}');
    expect(decode(plain(Node), node)!.spec).toEqual({ addresses: [{ address: "x", type: "Hostname" }] });
  });

  test("whose owner was given up have none, whatever an older field says", () => {
    const [kind, key] = EXAMPLES[0]!;
    const { affinity: _, ...rest } = parseJson(BLOCK) as Record<string, unknown>;
    const old = { ...rest, hostAffinity: "n0" };
    const owner = (value: object) =>
      (decode(kind, at(key, stringifyJson(value)))!.spec as { affinity?: string }).affinity;
    expect(owner(old)).toBe("host:n0");
    expect(owner({ ...old, affinity: null })).toBeUndefined();
    expect(owner({ ...old, affinity: "host:n1" })).toBe("host:n1");
  });

  test("that are wrong are INVALID, naming key and field", () => {
    const [kind, key] = EXAMPLES[0]!;
    const wrong: Record<string, (block: Record<string, unknown>) => void> = {
      cidr: (block) => {
        block.cidr = "10.0.0.0/29";
      },
      allocations: (block) => {
        block.allocations = [null];
      },
      "allocations[1]": (block) => {
        block.allocations = [0, "1", null, null];
      },
      "unallocated[0]": (block) => {
        block.unallocated = [4];
      },
      "attributes[0]": (block) => {
        block.attributes = [7];
      },
      "attributes[0].secondary.pod": (block) => {
        block.attributes = [{ secondary: { pod: 7 } }];
      },
      sequenceNumber: (block) => {
        block.sequenceNumber = -1;
      },
      "sequenceNumberForAllocation.0": (block) => {
        block.sequenceNumberForAllocation = { "0": 1.5 };
      },
      deleted: (block) => {
        block.deleted = "yes";
      },
      affinity: (block) => {
        block.affinity = {};
      },
    };
    for (const [field, change] of Object.entries(wrong)) {
      const block = parseJson(BLOCK) as Record<string, unknown>;
      change(block);
      const stored = at(key, stringifyJson(block));
      expect(() => decode(kind, stored)).toThrow(`${key}: ${field}:`);
    }
  });

  test("of any mutilation are read or INVALID, never anything else, and what is read can be written", () => {
    const junk = fc.constantFrom<unknown>(
      ...[
        null,
        true,
        0,
        -1,
        1.5,
        1e300,
        2n ** 64n,
        "",
        "x",
        [],
        {},
        [[]],
        "10.0.0.0/8",
        { __proto__: null, toString: 1 },
      ],
    );
    const example = fc.constantFrom(...EXAMPLES);
    const edits = fc.array(fc.tuple(fc.nat(), junk, fc.constantFrom("replace", "remove", "add")), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(example, edits, ([kind, key, text], changes) => {
        const value = parseJson(text);
        for (const [where, what, how] of changes) mutate(value, where, what, how);
        let resource: ReturnType<typeof decode>;
        try {
          resource = decode(kind, at(key, stringifyJson(value)));
        } catch (error) {
          if (!(error instanceof DatastoreError)) throw error;
          expect(error.code).toBe("INVALID");
          expect(error.message).toContain(key);
          return;
        }
        expect(decode(kind, at(key, encode(kind, resource!)))).toEqual(resource);
      }),
      { numRuns: 3000 },
    );
  });

  test("of any text are read or INVALID", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...EXAMPLES),
        fc.nat(),
        fc.string({ maxLength: 3 }),
        ([kind, key, text], where, piece) => {
          const cut = where % (text.length + 1);
          const value = text.slice(0, cut) + piece + text.slice(cut + piece.length);
          try {
            decode(kind, at(key, value));
          } catch (error) {
            if (!(error instanceof DatastoreError)) throw error;
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("keep a field called __proto__ a field", () => {
    const [kind, key] = EXAMPLES[3]!;
    const value = '{"block":{"__proto__":1},"deleted":false,"__proto__":{"polluted":true}}';
    const resource = decode(kind, at(key, value))!;
    expect((resource.spec as { polluted?: boolean }).polluted).toBeUndefined();
    expect(encode(kind, resource)).toBe(value);
  });
});

test("times are printed as Go prints them", () => {
  expect(goTime("2026-01-02T03:04:05.678Z")).toBe("2026-01-02T03:04:05Z");
  expect(goTime("2026-01-02T03:04:05+02:00")).toBe("2026-01-02T01:04:05Z");
  expect(goTime("soon")).toBe("soon");
});

/** Changes the `where`-th field of a value, counted through all of it. */
function mutate(value: unknown, where: number, what: unknown, how: string): void {
  const places: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown) => {
    if (typeof node !== "object" || node === null) return;
    for (const field of Object.keys(node)) {
      places.push([node as Record<string, unknown>, field]);
      walk((node as Record<string, unknown>)[field]);
    }
  };
  walk(value);
  const place = places[where % Math.max(1, places.length)];
  if (!place) return;
  const [parent, field] = place;
  if (how === "remove" && !Array.isArray(parent)) delete parent[field];
  else if (how === "add" && !Array.isArray(parent)) parent[`${field}x`] = structuredClone(what);
  else parent[field] = structuredClone(what);
}
