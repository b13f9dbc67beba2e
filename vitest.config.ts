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
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "conformance",
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
          include: againstAnApiServer,
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "cluster",
          include: onACluster,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "vm",
          include: inAVm,
          testTimeout: 300_000,
          hookTimeout: 960_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
