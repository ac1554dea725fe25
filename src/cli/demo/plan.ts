/** Names and addresses of the two hosts, those of a small flannel cluster: a master node and a worker node. */

export const VTEP = 'flannel.1';
export const UNDERLAY = 'ens224';
export const BRIDGE = 'cni0';
export const VNI = 1;
export const PORT = 8472;
export const UNDERLAY_MTU = 1500;
/** Outer Ethernet less IPv4, UDP, VXLAN and the inner Ethernet header. */
export const MTU = UNDERLAY_MTU - 50;

export interface HostPlan {
  side: 'near' | 'far';
  underlay: string;
  vtepMac: string;
  /** The pods' network, /24; its first address is the VTEP's own. */
  subnet: string;
  gateway: string;
  pod: string;
}

export const NEAR: HostPlan = {
  side: 'near',
  underlay: '10.169.72.93',
  vtepMac: '46:4d:ab:d0:69:e1',
  subnet: '10.244.0.0',
  gateway: '10.244.0.1',
  pod: '10.244.0.104',
};

export const FAR: HostPlan = {
  side: 'far',
  underlay: '10.169.72.98',
  vtepMac: '36:3c:de:36:68:58',
  subnet: '10.244.1.0',
  gateway: '10.244.1.1',
  pod: '10.244.1.35',
};
