/** What is ours in the kernel, by its name, and the kernel's own chains. */
import type { SetId } from "../calc/index.ts";
import type { Hook, IpVersion, Table } from "../rules/index.ts";

/** The kernel's chains in each table. */
export const KERNEL_CHAINS: Readonly<Record<Table, readonly Hook[]>> = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
};

/** Begins the comment of each rule of Calico's. */
export const TAG = "cali:";

/** XT_EXTENSION_MAXNAMELEN less what the jump's own text needs: upstream's and iptables' limit. */
export const MAX_CHAIN_NAME = 28;

/** Chains of any version of Calico (felix/rules/rule_defs.go, AllHistoricChainNamePrefixes). */
const CHAIN_PREFIXES = ["cali-", "felix-", "califw-", "calitw-", "califh-", "calith-", "calipi-", "calipo-"];
const OURS = new RegExp(`^(?:${CHAIN_PREFIXES.join("|")})`);
export const isOurChain = (name: string): boolean => OURS.test(name);

/** Rules in the kernel's chains that versions without tags left: jumps to their chains, and two rules for masquerading. */
const UNTAGGED = new RegExp(
  `(?:-j|--jump|-g|--goto) (?:${CHAIN_PREFIXES.join("|")})|-A POSTROUTING .*felix-masq-ipam-pools|` +
    "-A POSTROUTING -o tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE",
);
export const isUntaggedOurs = (rule: string): boolean => UNTAGGED.test(rule);

/** Longest name of a set: IPSET_MAXNAMELEN less its terminator. */
const MAX_SET_NAME = 31;
/**
 * `cali40s:abc…`: a set of IPv4. Ids end in a hash, so that cutting keeps them apart. `other`: while a set of another type has the name, because
 * sets of two types cannot take each other's place.
 */
export const setName = (version: IpVersion, id: SetId, other = false): string =>
  `cali${version}${other ? 1 : 0}${id}`.slice(0, MAX_SET_NAME);
/** A set that is filled before it takes another's place. */
export const temporarySetName = (version: IpVersion, n: number): string => `cali${version}t${n}`;
/** Sets of any version of Calico. */
export const isOurSet = (version: IpVersion, name: string): boolean =>
  name.startsWith(`cali${version}`) ||
  name.startsWith(`felix-${version}`) ||
  (version === 4 && (name === "felix-masq-ipam-pools" || name === "felix-all-ipam-pools"));
