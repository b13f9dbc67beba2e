import {
  assignForCaller,
  checkForCaller,
  collectForCaller,
  pluginOf,
  releaseForCaller,
  statusOfPlugin,
} from "../../lib/attach/index.ts";

/** What the IPAM plugin does for each verb. A file of its own, so that VERSION does not load it. */
export const plugin = pluginOf(
  {
    add: assignForCaller,
    del: releaseForCaller,
    check: checkForCaller,
    gc: collectForCaller,
    status: statusOfPlugin,
  },
  "ipam",
);
