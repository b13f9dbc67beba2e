/** A resource, one of its objects, or a part of one, on an API server. */
export interface ResourcePath {
  /** `""` for the core group. */
  readonly group: string;
  readonly version: string;
  /** `ippools`, `pods` */
  readonly plural: string;
  /** Absent for what has no namespace, and for lists over all of them. */
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  /** `status` */
  readonly subresource?: string | undefined;
}

/** `/apis/crd.projectcalico.org/v1/ippools/default`. Names are escaped, so none can lead elsewhere. */
export function urlPath(path: ResourcePath): string {
  const { group, version, plural, namespace, name, subresource } = path;
  let url = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  if (namespace) url += `/namespaces/${segment(namespace)}`;
  url += `/${plural}`;
  if (name !== undefined) url += `/${segment(name)}`;
  return subresource ? `${url}/${subresource}` : url;
}

/** For messages: `pods default/web-0`, `ippools.crd.projectcalico.org pool1`, `pods/status default/web-0`, `pods in namespace a`. */
export function describe(path: ResourcePath): string {
  const { group, plural, namespace, name, subresource } = path;
  const resource = `${plural}${subresource ? `/${subresource}` : ""}${group ? `.${group}` : ""}`;
  if (name === undefined) return namespace ? `${resource} in namespace ${namespace}` : resource;
  return `${resource} ${namespace ? `${namespace}/` : ""}${name}`;
}

/** An empty, `.` or `..` segment would be folded away and the request would reach another object. */
function segment(name: string): string {
  const escaped = encodeURIComponent(name);
  return escaped === "." || escaped === ".." ? escaped.replaceAll(".", "%2E") : escaped;
}
