import { afterAll, beforeAll, expect, test } from "vitest";
import { CHECKOUT, createLab, type Lab, type Node, run } from "./index.ts";
import { describeLab } from "./suite.ts";

describeLab("scripts/setup", () => {
  let lab: Lab;
  let node: Node;
  const copy = "/tmp/checkout";
  beforeAll(async () => {
    lab = await createLab();
    node = lab.nodes[0]!;
    const ready = [
      `mkdir -p ${copy}/node_modules ${copy}/.cache/bin ${copy}/scripts`,
      `cp ${CHECKOUT}/scripts/setup ${CHECKOUT}/scripts/debian-packages.sh ${copy}/scripts/`,
      `touch ${copy}/package-lock.json ${copy}/node_modules/.package-lock.json ${copy}/.cache/bin/cnitool ${copy}/.cache/bin/bird1 ${copy}/.cache/bin/bird6`,
      `sed -n 's/^readonly CNITOOL_VERSION=//p' ${copy}/scripts/setup >${copy}/.cache/bin/cnitool.version`,
      `chmod -R a+rwX ${copy}; chmod 755 ${copy}/.cache/bin/*`,
      // A machine that lacks two of the packages: they are gone in this node only.
      "rm -f /usr/bin/strace /usr/sbin/nft",
    ];
    await node.run(["sh", "-ec", ready.join("\n")]);
  });
  afterAll(() => lab?.dispose());

  const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

  test("says nothing when nothing is missing", async () => {
    // npm test and npm run demo have called it before; here it only looks.
    const outcome = await run([`${CHECKOUT}/scripts/setup`], { timeout: 300_000 });
    expect(outcome).toMatchObject({ status: 0, stdout: "" });
  });

  test("without root names the packages that are missing, and goes on", async () => {
    const outcome = await node.exec([...asNobody, `${copy}/scripts/setup`]);
    expect(outcome).toEqual({
      status: 0,
      signal: null,
      stdout: "",
      stderr: "setup: missing Debian packages (run 'sudo scripts/setup' to install them): nftables strace\n",
    });
  });

  test("in CI what is missing is an error", async () => {
    const outcome = await node.exec([...asNobody, `${copy}/scripts/setup`], { env: { CI: "true" } });
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain("nftables strace");
  });

  test("as root installs them while policy-rc.d refuses to start daemons, and puts that back", async () => {
    // An apt-get that notes what it is asked and what invoke-rc.d would be told; it works once there is a network.
    const apt = `#!/bin/sh
      /usr/sbin/policy-rc.d; echo "$?" >>/tmp/policy
      echo "$*" >>/tmp/asked
      [ -e /tmp/network ] || { echo "E: Temporary failure resolving" >&2; exit 100; }
      cp /bin/true /usr/bin/strace; cp /bin/true /usr/sbin/nft`;
    await node.run(["sh", "-c", "cat >/usr/local/sbin/apt-get; chmod 755 /usr/local/sbin/apt-get"], { stdin: apt });
    const policy = "printf '#!/bin/sh\nexit 7\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d";
    await node.run(["sh", "-c", policy]);

    const failed = await node.exec([`${copy}/scripts/setup`]);
    expect(failed).toMatchObject({ status: 0, stdout: "setup: installing Debian packages: nftables strace\n" });
    expect(failed.stderr).toMatch(/E: Temporary failure resolving\nsetup: could not install: nftables strace/);
    expect((await node.exec(["/usr/sbin/policy-rc.d"])).status).toBe(7);

    await node.run(["touch", "/tmp/network"]);
    const worked = await node.exec([`${copy}/scripts/setup`]);
    expect(worked).toMatchObject({ status: 0, stderr: "" });
    expect((await node.exec(["/usr/sbin/policy-rc.d"])).status).toBe(7);
    expect((await node.exec(["ls", "/usr/sbin/policy-rc.d.before-setup"])).status).not.toBe(0);
    expect(await node.run(["sort", "-u", "/tmp/policy"])).toBe("101\n");
    expect(await node.run(["grep", "-c", "install .* nftables strace", "/tmp/asked"])).toBe("2\n");
    expect(await node.exec([`${copy}/scripts/setup`])).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });
});
