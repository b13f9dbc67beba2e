import * as s from "./schema.ts";

/** The conditions of a status, as Kubernetes' metav1.Condition has them. Made anew for each kind. */
export const conditions = (doc: string) =>
  s.optional(
    s.array(
      s.object({
        type: s.string({ doc: "What the condition is about." }),
        status: s.oneOf(["True", "False", "Unknown"], { doc: "Whether it holds." }),
        reason: s.withDefault(s.string({ doc: "Why, in one word: OK, CIDROverlap, Terminating, PoolDisabled." }), ""),
        message: s.withDefault(s.string({ doc: "The reason, for people." }), ""),
        lastTransitionTime: s.optional(s.string({ doc: "When `status` last changed.", format: "date-time" })),
        observedGeneration: s.optional(s.integer({ doc: "The generation of the object that was looked at." })),
      }),
      { doc },
    ),
  );
