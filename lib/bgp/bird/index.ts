/**
 * The BIRD back end: text for a real BIRD from the same {@link NodeBgp} that our own speaker runs on, and the driver of a BIRD process.
 *
 * **Rendering** is pure. {@link renderBird1} says what upstream's confd says, line for line, comments and blank lines aside: six files, two daemons
 * (`bird`, `bird6`), some lines for upstream's own fork only (`krt_tunnel`). {@link renderBird2} says the same in BIRD 2's language: one file and one
 * daemon for both families (one process, one control socket, one BFD), functions of a family with its suffix, no line of the fork.
 * Whatever comes from a resource passes `quote.ts`; what the language cannot say is refused with an {@link BirdError} `BIRD_UNSAYABLE` that names it
 * all at once. Comments that begin with `#:` name the resource that the lines below are of.
 *
 * **Driving**: {@link openBird} checks files with `bird -p`, replaces them by renaming, tells the daemon through its control socket and reads its state.
 * A configuration that BIRD refuses leaves files and daemon as they were. Routes are read as they come, however many there are. BIRD is started to
 * recover from a restart (`-R`) only where its caller knows of routes that one before it left in the kernel.
 *
 * Known gap: BIRD first reads the kernel's routes a second after its start, and a session that is up before that has had its End-of-RIB without them.
 * Over a restart peers then lose for that second what this node tells of its kernel's routes (borrowed addresses), though not its blocks.
 *
 * Not the same in BIRD 2 as in BIRD 1.6: the own AS is put in front of a path after the export filter, not before it; the listening address is one of
 * each session (`strict bind`); routes to IPIP pools that need a tunnel are left to the agent, see {@link bird2Problems}.
 */
export { BIRD1_FILES, type Bird1File, renderBird1 } from "./bird1/index.ts";
export { bird2Problems, renderBird2, sayable } from "./bird2/index.ts";
export { type Control, type ControlOptions, connectControl, type Reply, type ReplyLine } from "./control.ts";
export {
  type Applied,
  type Bird,
  type BirdEnd,
  type BirdFiles,
  type BirdOptions,
  type BirdState,
  openBird,
  type WhichBirdRoutes,
} from "./driver.ts";
export { BirdError, type BirdErrorCode } from "./errors.ts";
export type { BirdChannel, BirdPeer, BirdProtocol, BirdRoutes, BirdStatus } from "./replies.ts";
export { type BirdRoute, communitiesOf } from "./routes.ts";
