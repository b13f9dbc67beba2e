/**
 * From the datastore to the calculation: watches every kind that policy depends on, converts Kubernetes' own, and hands each change on as an
 * {@link Input}.
 *
 *     Client.watch, one a kind, shared -> toInput (pure: convert.ts) -> watchInputs' sink (watch.ts)
 */
export { type Intake, toInput } from "./convert.ts";
export { type InputWatch, type WatchInputsOptions, watchInputs } from "./watch.ts";
