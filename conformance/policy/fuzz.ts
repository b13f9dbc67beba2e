/**
 * `npm run fuzz:policy`: random policies and flows, seed after seed, until the opinions about one flow differ (conformance/policy/differential).
 * Says the seed, the resources, the flow and what each made of it, and ends with 1.
 *
 *     npm run fuzz:policy -- [--seed N] [--seconds N] [--flows N] [--dataplane NAME]
 */
import { parseArgs } from "node:util";
import { compare, DifferentialBed, describeDisagreement } from "./differential/index.ts";
import { DATAPLANES, type DataplaneName } from "./world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seconds: { type: "string" },
    flows: { type: "string", default: "100" },
    dataplane: { type: "string", multiple: true, default: [...DATAPLANES] },
  },
});
const number = (text: string | undefined, otherwise: number): number => {
  const given = text === undefined ? otherwise : Number(text);
  if (Number.isNaN(given)) throw new RangeError(`"${text}" is not a number`);
  return given;
};
const isDataplane = (name: string): name is DataplaneName => DATAPLANES.some((one) => one === name);
const dataplanes = values.dataplane.filter(isDataplane);
if (dataplanes.length !== values.dataplane.length) throw new RangeError(`dataplanes are ${DATAPLANES.join(", ")}`);

let seed = number(values.seed, Math.floor(Math.random() * 2 ** 31));
const deadline = performance.now() + 1_000 * number(values.seconds, Number.POSITIVE_INFINITY);
const flows = number(values.flows, 100);

const beds: DifferentialBed[] = [];
let stop = false;
process.on("SIGINT", () => {
  stop = true;
});
try {
  for (const dataplane of dataplanes) beds.push(await DifferentialBed.create(dataplane));
  console.log(`from seed ${seed} on ${dataplanes.join(", ")}`);
  let [total, allowed, cases] = [0, 0, 0];
  let reported = performance.now();
  for (; !stop && process.exitCode === undefined && performance.now() < deadline; seed++) {
    const outcomes = await Promise.all(beds.map((bed) => compare(bed, seed, flows)));
    for (const [index, { disagreements, ...counted }] of outcomes.entries()) {
      total += counted.flows;
      allowed += counted.allowed;
      for (const one of disagreements.slice(0, 1)) {
        const others = disagreements.length > 1 ? ` (and ${disagreements.length - 1} more of this seed)` : "";
        console.log(`\nDISAGREEMENT on ${dataplanes[index]}${others}\n${describeDisagreement(one)}`);
        process.exitCode = 1;
      }
    }
    cases++;
    if (performance.now() - reported > 10_000) {
      console.log(`${cases} cases, ${total} flows, ${allowed} of them allowed; at seed ${seed}`);
      reported = performance.now();
    }
  }
  console.log(`${cases} cases, ${total} flows, ${allowed} of them allowed`);
} finally {
  for (const bed of beds) await bed.dispose();
}
