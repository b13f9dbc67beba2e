import { defineConfig } from "vitest/config";

// Two projects: `unit` needs nothing but the checkout (parts that need root or a server say so by name and skip);
// `conformance` drives the built executables in dist/ against real peers and kernels.
export default defineConfig({
  test: {
    pool: "forks",
    projects: [
      {
        test: {
          name: "unit",
          include: ["lib/**/*.test.ts", "cmd/**/*.test.ts", "scripts/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "conformance",
          include: ["conformance/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
