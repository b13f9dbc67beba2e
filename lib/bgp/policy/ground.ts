/** What all peers of a family share: made once of a model. */
import { createHash } from "node:crypto";
import { type Family, type FamilyBgp, familyOf, isConfirmed, type NodeBgp, tunnelInterfaces } from "../model/index.ts";
import type { Prefix } from "../rib/index.ts";
import { addCommunity, type Change, inOrder } from "./changes.ts";
import { CidrIndex, Net } from "./prefixes.ts";
import { onceEach } from "./rules.ts";

export interface Ground {
  readonly bgp: FamilyBgp;
  /** Pools with disableBGPExport. */
  readonly disabled: CidrIndex;
  /** Interfaces of the agent's tunnels: not to iBGP peers. */
  readonly isTunnel: (name: string) => boolean;
  /** Interfaces of the BPF dataplane: to nobody. */
  readonly isLocal: (name: string) => boolean;
  readonly communities: readonly { readonly net: Net; readonly change: Change }[];
  readonly blocks: CidrIndex;
  /** Services, a reflector's ranges, and pools that are exported. */
  readonly accepted: CidrIndex;
  /** Equal where everything above is. */
  readonly digest: string;
}

const grounds = new WeakMap<NodeBgp, Map<Family, Ground>>();

export function groundOf(model: NodeBgp, family: Family): Ground {
  let ofModel = grounds.get(model);
  if (!ofModel) {
    ofModel = new Map();
    grounds.set(model, ofModel);
  }
  let ground = ofModel.get(family);
  if (!ground) {
    ground = makeGround(model, family);
    ofModel.set(family, ground);
  }
  return ground;
}

function makeGround(model: NodeBgp, family: Family): Ground {
  const bgp = familyOf(model, family);
  const disabled = bgp.pools.filter((pool) => !pool.exported).map((pool) => pool.cidr);
  const blocks = bgp.blocks.filter(isConfirmed).map((block) => block.cidr);
  const reflected = model.clusterId === undefined ? [] : [...bgp.loadBalancerRanges, ...bgp.externalRanges];
  const pools = bgp.pools.filter((pool) => pool.exported).map((pool) => pool.cidr);
  const accepted = [...bgp.services, ...reflected, ...pools];
  const tunnels = tunnelInterfaces(bgp);
  const said = JSON.stringify([family, disabled, blocks, accepted, tunnels, bgp.communities, bgp.normalPriority]);
  return {
    bgp,
    disabled: new CidrIndex(disabled, family),
    isTunnel: onceEach(...tunnels),
    isLocal: onceEach("bpf*.cali"),
    communities: bgp.communities.flatMap(({ prefix, communities }) => {
      const change = inOrder(communities.map(addCommunity));
      return change ? [{ net: new Net(prefix, family), change }] : [];
    }),
    blocks: new CidrIndex(blocks, family),
    accepted: new CidrIndex(accepted, family),
    digest: createHash("sha256").update(said).digest("base64"),
  };
}

/** What stands behind a peer's own filters: does the route go out? */
export function goesOut(
  ground: Ground,
  prefix: Prefix,
  interfaceName: string,
  metric: number,
  internal: boolean,
): boolean {
  if (ground.disabled.covers(prefix)) return false;
  if (interfaceName !== "" && ((internal && ground.isTunnel(interfaceName)) || ground.isLocal(interfaceName)))
    return false;
  const block = ground.blocks.first(prefix);
  if (block >= 0) return prefix.length === ground.blocks.lengthAt(block) || metric < ground.bgp.normalPriority;
  return ground.accepted.covers(prefix);
}
