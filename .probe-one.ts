import { main } from "./cmd/calico-cni/main.ts";
process.exitCode = await main([], process.env);
