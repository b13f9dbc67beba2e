/** Metrics in Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/), as Go's client writes them. */

/** A number that only grows. */
export interface Counter {
  /** By 1 when absent; a negative number is a RangeError. */
  inc(by?: number): void;
  readonly value: number;
}

/** A number that goes up and down. */
export interface Gauge {
  set(value: number): void;
  inc(by?: number): void;
  dec(by?: number): void;
  readonly value: number;
}

/** Observations: their count, sum, and what most of them stay below. */
export interface Observer {
  observe(value: number): void;
}

/** Metrics of one name that differ in the values of labels. */
export interface Family<Metric> {
  /** The one with these values, in the order of the label names; it is there from now on. */
  with(...values: string[]): Metric;
  /** It is no longer told of. */
  remove(...values: string[]): void;
}

/** What quantiles a summary tells: upstream's (libcalico-go/lib/prometheus). */
const QUANTILES = [0.5, 0.9, 0.99] as const;
/** A summary tells of the last ten minutes, in five parts of which the oldest is dropped: Go's defaults. */
const PARTS = 5;
const PART_MS = 120_000;
/** Of more observations a part keeps a fair sample. */
const SAMPLES = 500;
/** Buckets of a histogram, in seconds: Go's defaults. */
export const DEFAULT_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Line = readonly [suffix: string, label: readonly [string, string] | undefined, value: number];
interface Kind {
  lines(): Line[];
}

interface Registered {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "summary" | "histogram";
  readonly labels: readonly string[];
  readonly members: Map<string, { readonly values: readonly string[]; readonly metric: Kind }>;
}

/** All metrics of a process. */
export class Metrics {
  readonly #registered = new Map<string, Registered>();
  readonly #collectors: (() => void)[] = [];
  readonly #now: () => number;

  /** `now` in milliseconds is for tests. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  counter(name: string, help: string): Counter {
    return this.counters(name, help, []).with();
  }
  counters(name: string, help: string, labels: readonly string[]): Family<Counter> {
    return this.#family({ name, help, type: "counter", labels }, () => new CounterValue());
  }
  gauge(name: string, help: string): Gauge {
    return this.gauges(name, help, []).with();
  }
  gauges(name: string, help: string, labels: readonly string[]): Family<Gauge> {
    return this.#family({ name, help, type: "gauge", labels }, () => new GaugeValue());
  }
  summary(name: string, help: string): Observer {
    return this.summaries(name, help, []).with();
  }
  summaries(name: string, help: string, labels: readonly string[]): Family<Observer> {
    return this.#family({ name, help, type: "summary", labels }, () => new SummaryValue(this.#now));
  }
  histogram(name: string, help: string, buckets: readonly number[] = DEFAULT_BUCKETS): Observer {
    return this.histograms(name, help, [], buckets).with();
  }
  histograms(
    name: string,
    help: string,
    labels: readonly string[],
    buckets: readonly number[] = DEFAULT_BUCKETS,
  ): Family<Observer> {
    return this.#family({ name, help, type: "histogram", labels }, () => new HistogramValue(buckets));
  }

  /** Calls back before every text: for gauges that are looked up rather than kept. */
  collect(collector: () => void): void {
    this.#collectors.push(collector);
  }

  #family<Metric extends Kind>(spec: Omit<Registered, "members">, make: () => Metric): Family<Metric> {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(spec.name)) throw new RangeError(`"${spec.name}" is no name of a metric`);
    for (const label of spec.labels) {
      if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label)) throw new RangeError(`"${label}" is no name of a label`);
    }
    if (this.#registered.has(spec.name)) throw new RangeError(`the metric ${spec.name} is there already`);
    const members = new Map<string, { readonly values: readonly string[]; readonly metric: Metric }>();
    this.#registered.set(spec.name, { ...spec, members });
    return {
      with: (...values) => {
        if (values.length !== spec.labels.length) {
          throw new RangeError(`${spec.name} has ${spec.labels.length} labels, not ${values.length}`);
        }
        const key = JSON.stringify(values);
        let member = members.get(key);
        if (!member) {
          member = { values, metric: make() };
          members.set(key, member);
        }
        return member.metric;
      },
      remove: (...values) => void members.delete(JSON.stringify(values)),
    };
  }

  /** By name, and within a name by the labels' values. */
  text(): string {
    for (const collector of this.#collectors) collector();
    let text = "";
    for (const { name, help, type, labels, members } of [...this.#registered.values()].sort(by(({ name }) => name))) {
      if (members.size === 0) continue;
      text += `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}\n`;
      for (const { values, metric } of [...members.values()].sort(by(({ values }) => values.join("\0")))) {
        const own = labels.map((label, i) => [label, values[i] ?? ""] as const);
        for (const [suffix, extra, value] of metric.lines()) {
          text += `${name}${suffix}${labelText(extra ? [...own, extra] : own)} ${formatNumber(value)}\n`;
        }
      }
    }
    return text;
  }
}

const by =
  <T>(key: (item: T) => string) =>
  (a: T, b: T): number =>
    key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;

function labelText(labels: readonly (readonly [string, string])[]): string {
  if (labels.length === 0) return "";
  const quoted = (value: string): string =>
    value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `{${labels.map(([name, value]) => `${name}="${quoted(value)}"`).join(",")}}`;
}

/** The shortest digits that mean the number, with an exponent where Go writes one (strconv, 'g'). */
export function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  if (Number.isNaN(value)) return "NaN";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return String(value);
}

class CounterValue implements Counter, Kind {
  value = 0;
  inc(by = 1): void {
    if (!(by >= 0)) throw new RangeError(`a counter cannot grow by ${by}`);
    this.value += by;
  }
  lines(): Line[] {
    return [["", undefined, this.value]];
  }
}

class GaugeValue implements Gauge, Kind {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
  inc(by = 1): void {
    this.value += by;
  }
  dec(by = 1): void {
    this.value -= by;
  }
  lines(): Line[] {
    return [["", undefined, this.value]];
  }
}

interface Part {
  readonly samples: number[];
  seen: number;
}

class SummaryValue implements Observer, Kind {
  readonly #now: () => number;
  readonly #parts: Part[] = [{ samples: [], seen: 0 }];
  #began: number;
  #count = 0;
  #sum = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.#began = now();
  }

  observe(value: number): void {
    this.#turn();
    this.#count++;
    this.#sum += value;
    const part = this.#parts[0]!;
    part.seen++;
    if (part.samples.length < SAMPLES) part.samples.push(value);
    else {
      const place = Math.floor(Math.random() * part.seen);
      if (place < SAMPLES) part.samples[place] = value;
    }
  }

  #turn(): void {
    const passed = Math.floor((this.#now() - this.#began) / PART_MS);
    if (passed <= 0) return;
    this.#began += passed * PART_MS;
    for (let i = 0; i < Math.min(passed, PARTS); i++) this.#parts.unshift({ samples: [], seen: 0 });
    this.#parts.length = Math.min(this.#parts.length, PARTS);
  }

  lines(): Line[] {
    this.#turn();
    // A part that was sampled counts for all that it saw.
    const weighted = this.#parts
      .flatMap(({ samples, seen }) => samples.map((value) => ({ value, weight: seen / samples.length })))
      .sort((a, b) => a.value - b.value);
    const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
    const quantile = (q: number): number => {
      let below = 0;
      for (const { value, weight } of weighted) {
        below += weight;
        if (below >= q * total) return value;
      }
      return Number.NaN; // nothing was observed lately
    };
    return [
      ...QUANTILES.map((q): Line => ["", ["quantile", String(q)], quantile(q)]),
      ["_sum", undefined, this.#sum],
      ["_count", undefined, this.#count],
    ];
  }
}

class HistogramValue implements Observer, Kind {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #count = 0;
  #sum = 0;

  constructor(buckets: readonly number[]) {
    this.#bounds = [...buckets].sort((a, b) => a - b);
    this.#counts = this.#bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#count++;
    this.#sum += value;
    const at = this.#bounds.findIndex((bound) => value <= bound);
    if (at >= 0) this.#counts[at]!++;
  }

  lines(): Line[] {
    let below = 0;
    return [
      ...this.#bounds.map((bound, i): Line => {
        below += this.#counts[i]!;
        return ["_bucket", ["le", formatNumber(bound)], below];
      }),
      ["_bucket", ["le", "+Inf"], this.#count],
      ["_sum", undefined, this.#sum],
      ["_count", undefined, this.#count],
    ];
  }
}
