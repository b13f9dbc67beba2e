import type { Parameter } from "./parameter.ts";
import { docOf, GROUPS } from "./parameters.ts";
import { SOURCE_NAMES, SOURCES } from "./sources.ts";

/** The reference page of the parameters, docs/felix-configuration.md, in Markdown. */
export function configurationPage(): string {
  return `${[INTRODUCTION, ...GROUPS.map(({ title, parameters }) => section(title, parameters))].join("\n\n")}\n`;
}

const INTRODUCTION = `# Parameters of the policy agent

<!-- Printed from the table in lib/policy-agent/config; \`npx bun --bun vitest run --project unit lib/policy-agent/config -u\` writes it anew. -->

A parameter is set by a variable of the environment, \`FELIX_\` and its name in any case (\`FELIX_LOGSEVERITYSCREEN=debug\`); by a line of
\`/etc/calico/felix.cfg\` (\`LogSeverityScreen = debug\`, in a section such as \`[global]\`); or by a field of a FelixConfiguration. Where
several say something of it, the first of these counts:

${SOURCES.map((source, i) => `${i + 1}. ${SOURCE_NAMES[source]}${detailsOf(source)}`).join("\n")}
${SOURCES.length + 1}. the default below.

An empty text says nothing. \`none\`, in any case, stands for nothing at all: no ports, no file, 0, off; parameters marked *required* do not take it.
With a value that cannot be read the default is used, and the log says so; parameters marked *strict* keep the agent from
starting instead. Parameters marked *local* are needed before a datastore can be read, so that no FelixConfiguration sets them.

Fields of a FelixConfiguration have the types of their kind: durations are texts such as \`1m30s\`, lists are lists. Elsewhere, durations are
numbers of seconds, unless the values below say otherwise, or such texts. An annotation \`config.projectcalico.org/<parameter>\` of a
FelixConfiguration sets a parameter by its text, and goes before the field.

A change makes the agent exit with the status 129, to be started afresh with the new configuration, while the kernel goes on enforcing; it takes effect at
once where a parameter is marked *live*. Nothing depends on those marked *without effect*: they are known so that configurations
of other Calicos can be used.`;

function detailsOf(source: (typeof SOURCES)[number]): string {
  switch (source) {
    case "override":
      return ", where it finds that the host cannot do something";
    case "perNode":
      return ", which is named `node.<node>`";
    case "selected":
      return ", by its `nodeSelector`; of several the oldest";
    default:
      return "";
  }
}

function section(title: string, parameters: Readonly<Record<string, Parameter>>): string {
  const rows = Object.entries(parameters).map(
    ([name, parameter]) =>
      `| ${[`\`${name}\``, fieldOf(parameter), cell(meaning(parameter)), defaultText(parameter), cell(docOf(parameter))].join(" | ")} |`,
  );
  return [
    `## ${title}`,
    ["| Parameter | Field | Values | Default | What it is for |", "|---|---|---|---|---|", ...rows].join("\n"),
  ].join("\n\n");
}

const fieldOf = ({ field, from }: Parameter): string => (field ? `\`${field}\`` : from ? `(${from})` : "");

const defaultText = ({ default: given }: Parameter): string =>
  given === undefined ? "" : `\`${given.replaceAll("|", "\\|")}\``;

function meaning({ type, fatal, local, live, ignored }: Parameter): string {
  const marks = [
    ...(type.nonZero ? ["required"] : []),
    ...(fatal ? ["strict"] : []),
    ...(local ? ["local"] : []),
    ...(live ? ["live"] : []),
    ...(ignored ? ["without effect"] : []),
  ];
  return `${type.means}${marks.length === 0 ? "" : ` (*${marks.join(", ")}*)`}`;
}

/** Text of a table's cell. */
const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
