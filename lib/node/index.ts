/**
 * What a node does around its agents: for now the supervision of the processes that do the work. Policy and routes run in one process of this
 * executable (`felix`), BGP in another, so that neither a restart nor a burst of work in one touches the other.
 */
export { type SuperviseOptions, supervise, type Worker } from "./supervise.ts";
