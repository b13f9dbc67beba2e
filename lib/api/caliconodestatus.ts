import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    node: s.string({ doc: "The node that it is about.", format: "name" }),
    classes: s.array(s.oneOf(["Agent", "BGP", "Routes"]), {
      doc: "What is reported: the BGP daemon itself (Agent), its peers (BGP), its routes (Routes).",
      unique: true,
    }),
    updatePeriodSeconds: s.integer({
      doc: "How often the status is renewed, at most once a day; 0: not any more.",
      unit: "seconds",
      min: 0,
      max: 86400,
    }),
  }),
);

const daemon = (doc: string) =>
  s.optional(
    s.object(
      {
        state: s.optional(s.oneOf(["Ready", "NotReady"], { doc: "Whether it runs and answers." })),
        version: s.optional(s.string({ doc: "Its version." })),
        routerID: s.optional(s.string({ doc: "Its router ID." })),
        lastBootTime: s.optional(s.string({ doc: "When it started." })),
        lastReconfigurationTime: s.optional(s.string({ doc: "When its configuration last changed." })),
      },
      { doc },
    ),
  );

const peers = (doc: string) =>
  s.optional(
    s.array(
      s.object({
        peerIP: s.optional(s.string({ doc: "The peer's address." })),
        type: s.optional(
          s.oneOf(["NodeMesh", "NodePeer", "GlobalPeer"], {
            doc: "Of the mesh, or by a BGPPeer of some nodes, or by one of all.",
          }),
        ),
        state: s.optional(
          s.oneOf(["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established", "Close"], {
            doc: "The session's state.",
          }),
        ),
        since: s.optional(s.string({ doc: "Since when it has that state." })),
      }),
      { doc },
    ),
  );

const routes = (doc: string) =>
  s.optional(
    s.array(
      s.object({
        type: s.optional(
          s.oneOf(["FIB", "RIB"], { doc: "Whether packets go by it (FIB), or it is only known (RIB)." }),
        ),
        destination: s.optional(s.string({ doc: "The prefix." })),
        gateway: s.optional(s.string({ doc: "The gateway." })),
        interface: s.optional(s.string({ doc: "The interface." })),
        learnedFrom: s.optional(
          s.object(
            {
              sourceType: s.optional(
                s.oneOf(["Kernel", "Static", "Direct", "NodeMesh", "BGPPeer"], { doc: "What it comes from." }),
              ),
              peerIP: s.optional(s.string({ doc: "The address of the peer that it comes from." })),
            },
            { doc: "Where it comes from." },
          ),
        ),
      }),
      { doc },
    ),
  );

const count = (doc: string) => s.integer({ doc, min: 0 });

const status = s.lazy(() =>
  s.object({
    lastUpdated: s.optional(s.nullable(s.string({ doc: "When it was last renewed.", format: "date-time" }))),
    agent: s.optional(
      s.object(
        { birdV4: daemon("The daemon of IPv4."), birdV6: daemon("The daemon of IPv6.") },
        { doc: "The BGP daemon." },
      ),
    ),
    bgp: s.optional(
      s.object(
        {
          numberEstablishedV4: count("How many IPv4 sessions are up."),
          numberNotEstablishedV4: count("How many are not."),
          numberEstablishedV6: count("How many IPv6 sessions are up."),
          numberNotEstablishedV6: count("How many are not."),
          peersV4: peers("The IPv4 sessions."),
          peersV6: peers("The IPv6 sessions."),
        },
        { doc: "The sessions." },
      ),
    ),
    routes: s.optional(
      s.object(
        { routesV4: routes("Those of IPv4."), routesV6: routes("Those of IPv6.") },
        { doc: "The routes that the BGP daemon knows." },
      ),
    ),
  }),
);

export type CalicoNodeStatusSpec = s.Infer<ReturnType<typeof spec>>;
export type CalicoNodeStatusStatus = s.Infer<ReturnType<typeof status>>;
export type CalicoNodeStatus = Resource<"CalicoNodeStatus", CalicoNodeStatusSpec, CalicoNodeStatusStatus>;

/** A question to a node, how its BGP does; the node answers in the status, again and again. */
export const CalicoNodeStatus: Kind<CalicoNodeStatus> = {
  kind: "CalicoNodeStatus",
  apiVersion: API_VERSION,
  plural: "caliconodestatuses",
  namespaced: false,
  aliases: ["nodestatus", "nodestatuses"],
  doc: "A question to a node, how its BGP does; the node answers in the status, again and again.",
  get spec() {
    return spec();
  },
  get status() {
    return status();
  },
  check({ spec }) {
    // Upstream's validator asks for both, though its definition does not.
    const problems: s.Problem[] = [];
    if (spec.node === "") {
      problems.push({ path: "spec.node", value: "", message: "is missing; it must be the name of a node" });
    }
    if (spec.classes.length === 0) {
      const message = "must have one at least of Agent, BGP, Routes";
      problems.push({ path: "spec.classes", value: [], message });
    }
    return problems;
  },
  get columns(): Columns<CalicoNodeStatus> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "NODE", value: ({ spec }) => spec.node },
      { title: "CLASSES", wide: true, value: ({ spec }) => spec.classes.join(",") },
    ];
  },
};
