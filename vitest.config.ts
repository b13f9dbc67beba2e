import { availableParallelism } from "node:os";
import { configDefaults, defineConfig } from "vitest/config";

const inAVm = ["conformance/vm/**/*.test.ts"];
const onACluster = ["conformance/cluster/**/*.test.ts"];
const againstAnApiServer = ["**/*.apiserver.test.ts", "conformance/kubernetes/**/*.test.ts"];

// Five projects: `unit` needs nothing but the checkout (parts that need root or a server say so by name and skip);
// `conformance` drives the built executables in dist/ against real peers and kernels; `kubernetes` is what needs a
// kube-apiserver, which scripts/setup-kubernetes builds: npm run conformance:kubernetes; `cluster` is a whole
// Kubernetes, kubelets and containers included: npm run conformance:cluster; `vm` is what needs another kernel than the machine's, which
// scripts/setup-vm gets: npm run conformance:vm.
export default defineConfig({
  test: {
    pool: "forks",
    projects: [
      {
        test: {
          name: "unit",
          include: ["lib/**/*.test.ts", "cmd/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...againstAnApiServer],
          // Two files at a time also on two cores, where vitest would take one: half of the time they wait for the kernel.
          maxWorkers: Math.max(2, availableParallelism() - 1),
          sequence: { groupOrder: 0 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "conformance",
          sequence: { groupOrder: 1 },
          include: ["conformance/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...againstAnApiServer, ...inAVm, ...onACluster],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "kubernetes",
          sequence: { groupOrder: 2 },
          include: againstAnApiServer,
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "cluster",
          sequence: { groupOrder: 3 },
          include: onACluster,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "vm",
          sequence: { groupOrder: 4 },
          include: inAVm,
          testTimeout: 300_000,
          hookTimeout: 960_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
