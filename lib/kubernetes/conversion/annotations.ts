/** The annotations of pods that Calico reads and writes (libcalico-go/lib/backend/k8s/conversion/constants.go, cni-plugin/pkg/k8s). */
export const ANNOTATION = {
  /** Written by ADD: the first address as a /32 or /128. DEL sets it to "", which says that the pod has lost it. */
  podIP: "cni.projectcalico.org/podIP",
  /** Written by ADD and DEL alike: all addresses, joined by commas. */
  podIPs: "cni.projectcalico.org/podIPs",
  /** Written by ADD, left alone by DEL: tells the sandboxes of pods of one name apart. */
  containerID: "cni.projectcalico.org/containerID",
  /** Written by Amazon's VPC plugin. */
  awsPodIPs: "vpc.amazonaws.com/pod-ips",
  floatingIPs: "cni.projectcalico.org/floatingIPs",
  allowedSourcePrefixes: "cni.projectcalico.org/allowedSourcePrefixes",
  /** Multus' record of a pod's interfaces. */
  networkStatus: "k8s.v1.cni.cncf.io/network-status",
  dscp: "qos.projectcalico.org/dscp",
  /** What follows is the plugin's: exactly these addresses, from the allocator or past it. */
  ipAddrs: "cni.projectcalico.org/ipAddrs",
  ipAddrsNoIpam: "cni.projectcalico.org/ipAddrsNoIpam",
  /** Of pods and of their namespaces: names or CIDRs of pools, and the families of addresses. */
  ipv4pools: "cni.projectcalico.org/ipv4pools",
  ipv6pools: "cni.projectcalico.org/ipv6pools",
  ipFamilies: "cni.projectcalico.org/ipFamilies",
  /** The MAC address of the pod's interface. */
  hwAddr: "cni.projectcalico.org/hwAddr",
} as const;
