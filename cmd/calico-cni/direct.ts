import {
  addAttachment,
  checkAttachment,
  collectGarbage,
  deleteAttachment,
  pluginOf,
  statusOfPlugin,
} from "../../lib/attach/index.ts";

/** The verbs carried out by this very process. */
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
