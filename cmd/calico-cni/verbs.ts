import {
  addAttachment,
  checkAttachment,
  collectGarbage,
  deleteAttachment,
  pluginOf,
  statusOfPlugin,
} from "../../lib/attach/index.ts";

/** What the CNI plugin does for each verb. A file of its own, so that VERSION does not load it. */
export const plugin = pluginOf(
  {
    add: addAttachment,
    del: deleteAttachment,
    check: checkAttachment,
    gc: collectGarbage,
    status: statusOfPlugin,
  },
  "cni-plugin",
);
