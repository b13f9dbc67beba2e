/** The steps that a transaction is made of, as data: as nft's text, for people and tests, and as the requests that the kernel takes. */
import {
  type Request as NetlinkRequest,
  NF_FAMILY,
  NF_SUBSYSTEM,
  NLM_F,
  nfRequest,
  type Writer,
} from "../../netlink/netfilter/index.ts";
import type { IpVersion } from "../rules/index.ts";
import {
  type Element,
  elementSize,
  elementText,
  formOf,
  type Shape,
  setNotes,
  shapeText,
  writeElement,
} from "./elements.ts";
import { writeDispatchRule, writeRule } from "./expressions.ts";
import { type BaseChain, baseText, HOOK_NUMBERS } from "./names.ts";
import type { CompiledRule } from "./render.ts";

/** A rule of a program, or the one that looks an interface up in a dispatch's map. */
export type SentRule =
  | CompiledRule
  | {
      readonly text: string;
      readonly hash: string;
      readonly comment: string;
      readonly dispatch: { readonly direction: "in" | "out"; readonly map: string };
    };

export type Step =
  | { readonly do: "add-table" | "delete-table" }
  /** Takes all of a table out of use at one moment: while it is deleted, packets would meet some of its chains and not others. */
  | { readonly do: "retire-table" }
  | { readonly do: "add-chain"; readonly chain: string; readonly base?: BaseChain }
  | { readonly do: "flush-chain" | "delete-chain"; readonly chain: string }
  | { readonly do: "add-rule"; readonly chain: string; readonly rule: SentRule }
  /** The Go Calico's, if it offloaded flows. */
  | { readonly do: "delete-flowtable"; readonly flowtable: string }
  | { readonly do: "add-set"; readonly set: string; readonly shape: Shape }
  | { readonly do: "delete-set"; readonly set: string; readonly map: boolean }
  | {
      readonly do: "add-elements" | "delete-elements";
      readonly set: string;
      readonly map: boolean;
      readonly elements: readonly Element[];
    };

/** A step, and on whose account it is taken: `chain filter-cali-FORWARD`. */
export type Operation = Step & { readonly version: IpVersion; readonly unit: string };

const MSG = {
  NEWTABLE: 0,
  DELTABLE: 2,
  NEWCHAIN: 3,
  DELCHAIN: 5,
  NEWRULE: 6,
  DELRULE: 8,
  NEWSET: 9,
  DELSET: 11,
  NEWSETELEM: 12,
  DELSETELEM: 14,
  DELFLOWTABLE: 24,
} as const;
const TABLE = 1; // NFTA_TABLE_NAME, and in the messages of everything else the table that it is in
const DORMANT = 1;
const TABLE_FLAGS = 2;
const CHAIN = { NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
const RULE = { CHAIN: 2, EXPRESSIONS: 4, NOTES: 7 } as const;
const SET = { NAME: 2, FLAGS: 3, KEY_TYPE: 4, KEY_LENGTH: 5, DATA_TYPE: 6, DATA_LENGTH: 7, ID: 10, NOTES: 13 } as const;
const ELEMENTS = { SET: 2, LIST: 3 } as const;
const FLOWTABLE_NAME = 2;
const ACCEPT = 1;
/** An attribute is at most 64 KiB: lists of elements are sent in parts. */
const LIST_BYTES = 48 * 1024;
/** NFTNL_UDATA_RULE_COMMENT */
const COMMENT_NOTE = 0;

const TYPES: Readonly<Record<Step["do"], number>> = {
  "add-table": MSG.NEWTABLE,
  "delete-table": MSG.DELTABLE,
  "retire-table": MSG.NEWTABLE,
  "add-chain": MSG.NEWCHAIN,
  "delete-chain": MSG.DELCHAIN,
  "flush-chain": MSG.DELRULE,
  "add-rule": MSG.NEWRULE,
  "add-set": MSG.NEWSET,
  "delete-set": MSG.DELSET,
  "add-elements": MSG.NEWSETELEM,
  "delete-elements": MSG.DELSETELEM,
  "delete-flowtable": MSG.DELFLOWTABLE,
};

/** As nft writes it; what the kernel is sent says the same. */
export function stepText(step: Step, version: IpVersion, table: string): string {
  const at = `${version === 4 ? "ip" : "ip6"} ${table}`;
  switch (step.do) {
    case "add-table":
      return `add table ${at}`;
    case "delete-table":
      return `delete table ${at}`;
    case "retire-table":
      return `add table ${at} { flags dormant; }`;
    case "add-chain":
      return `add chain ${at} ${step.chain}${step.base ? ` { ${baseText(step.base)} }` : ""}`;
    case "flush-chain":
      return `flush chain ${at} ${step.chain}`;
    case "delete-chain":
      return `delete chain ${at} ${step.chain}`;
    case "add-rule":
      return `add rule ${at} ${step.chain} ${step.rule.text} comment "${step.rule.comment}"`;
    case "add-set":
      return `add ${step.shape === "map" ? "map" : "set"} ${at} ${step.set} { ${shapeText(step.shape, version)} }`;
    case "delete-flowtable":
      return `delete flowtable ${at} ${step.flowtable}`;
    case "delete-set":
      return `delete ${step.map ? "map" : "set"} ${at} ${step.set}`;
    case "add-elements":
    case "delete-elements": {
      const verb = step.do === "add-elements" ? "add" : "delete";
      return `${verb} element ${at} ${step.set} { ${step.elements.map(elementText).join(", ")} }`;
    }
  }
}

/** Long lists of elements, in parts that fit a message. */
export function splitStep<T extends Step>(step: T): T[] {
  if (step.do !== "add-elements" && step.do !== "delete-elements") return [step];
  const parts: T[] = [];
  let elements: Element[] = [];
  let bytes = 0;
  for (const element of step.elements) {
    const size = elementSize(element);
    if (bytes + size > LIST_BYTES && elements.length > 0) {
      parts.push({ ...step, elements });
      elements = [];
      bytes = 0;
    }
    elements.push(element);
    bytes += size;
  }
  if (elements.length > 0) parts.push({ ...step, elements });
  return parts;
}

/** The message. `id` tells sets of one transaction apart. */
export function stepRequest(step: Step, version: IpVersion, table: string, id: number): NetlinkRequest {
  return nfRequest({
    subsystem: NF_SUBSYSTEM.NFTABLES,
    type: TYPES[step.do],
    family: version === 4 ? NF_FAMILY.IPV4 : NF_FAMILY.IPV6,
    flags: step.do === "add-rule" ? NLM_F.CREATE | NLM_F.APPEND : step.do.startsWith("add") ? NLM_F.CREATE : 0,
    attempt: () => shortened(stepText(step, version, table)),
    attributes: (writer) => {
      writer.attributeString(TABLE, table);
      writeStep(writer, step, version, id);
    },
  });
}

const SHORT = 300;
const shortened = (text: string): string => (text.length <= SHORT ? text : `${text.slice(0, SHORT)}…`);

function writeStep(writer: Writer, step: Step, version: IpVersion, id: number): void {
  switch (step.do) {
    case "add-table":
      writer.attributeU32be(TABLE_FLAGS, 0);
      return;
    case "retire-table":
      writer.attributeU32be(TABLE_FLAGS, DORMANT);
      return;
    case "delete-table":
      return;
    case "add-chain": {
      const { base } = step;
      writer.attributeString(CHAIN.NAME, step.chain);
      if (!base) return;
      writer.nested(CHAIN.HOOK, () => {
        writer.attributeU32be(HOOK.NUMBER, HOOK_NUMBERS[base.hook]);
        writer.attributeU32be(HOOK.PRIORITY, base.priority >>> 0);
      });
      writer.attributeU32be(CHAIN.POLICY, ACCEPT);
      writer.attributeString(CHAIN.TYPE, base.type);
      return;
    }
    case "delete-chain":
      writer.attributeString(CHAIN.NAME, step.chain);
      return;
    case "flush-chain":
      writer.attributeString(RULE.CHAIN, step.chain);
      return;
    case "add-rule": {
      const { rule } = step;
      writer.attributeString(RULE.CHAIN, step.chain);
      writer.nested(RULE.EXPRESSIONS, () => {
        if ("dispatch" in rule) writeDispatchRule(writer, rule.dispatch.direction, rule.dispatch.map);
        else writeRule(writer, rule.rule, rule.context);
      });
      writer.attribute(RULE.NOTES, commentNote(rule.comment));
      return;
    }
    case "add-set": {
      const form = formOf(step.shape, version);
      writer.attributeString(SET.NAME, step.set);
      writer.attributeU32be(SET.FLAGS, form.flags);
      writer.attributeU32be(SET.KEY_TYPE, form.keyType);
      writer.attributeU32be(SET.KEY_LENGTH, form.keyLength);
      if (form.dataType !== undefined) {
        writer.attributeU32be(SET.DATA_TYPE, form.dataType);
        writer.attributeU32be(SET.DATA_LENGTH, 0);
      }
      writer.attributeU32be(SET.ID, id);
      writer.attribute(SET.NOTES, setNotes(step.shape));
      return;
    }
    case "delete-flowtable":
      writer.attributeString(FLOWTABLE_NAME, step.flowtable);
      return;
    case "delete-set":
      writer.attributeString(SET.NAME, step.set);
      return;
    case "add-elements":
    case "delete-elements":
      writer.attributeString(ELEMENTS.SET, step.set);
      writer.nested(ELEMENTS.LIST, () => {
        for (const element of step.elements) writeElement(writer, element, step.do === "delete-elements");
      });
      return;
  }
}

function commentNote(comment: string): Uint8Array {
  const text = new TextEncoder().encode(comment);
  const note = new Uint8Array(text.length + 3);
  note[0] = COMMENT_NOTE;
  note[1] = text.length + 1;
  note.set(text, 2);
  return note;
}

/** The comment in a rule's notes. */
export function commentOf(notes: Uint8Array): string | undefined {
  for (let at = 0; at + 2 <= notes.length; at += 2 + notes[at + 1]!) {
    if (notes[at] !== COMMENT_NOTE) continue;
    const text = notes.subarray(at + 2, at + 2 + notes[at + 1]!);
    return new TextDecoder().decode(text).replace(/\0+$/, "");
  }
  return undefined;
}
