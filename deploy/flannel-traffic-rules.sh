#!/bin/sh
# The iptables rules that flanneld makes for the node that it runs on: pods are forwarded, and what leaves the
# pods' network is masqueraded (with --ip-masq: FLANNEL_IPMASQ=true). vxlane leaves rules alone; this makes them from
# subnet.env, as often as it is called.
#
#   flannel-traffic-rules.sh [apply|remove|watch] [/run/flannel/subnet.env]
#
# Chains have flanneld's names, so that a node that changes between the two has one set of them.
set -eu

action=${1:-apply}
file=${2:-/run/flannel/subnet.env}

# make IPTABLES TABLE CHAIN HOOK COMMENT, the chain's rules on stdin: one transaction, nobody sees half of them
make() {
  "$1" -w 10 -t "$2" -N "$3" 2>/dev/null || :
  { printf '*%s\n-F %s\n' "$2" "$3"; cat; echo COMMIT; } | "$1-restore" -w 10 --noflush
  "$1" -w 10 -t "$2" -C "$4" -m comment --comment "$5" -j "$3" 2>/dev/null ||
    "$1" -w 10 -t "$2" -I "$4" -m comment --comment "$5" -j "$3"
}

# forward IPTABLES NETWORK
forward() {
  make "$1" filter FLANNEL-FWD FORWARD "flanneld forward" <<RULES
-A FLANNEL-FWD -s $2 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d $2 -m comment --comment "flanneld forward" -j ACCEPT
RULES
}

# masquerade IPTABLES NETWORK SUBNET MULTICAST: all but what kube-proxy has marked and what stays between pods
masquerade() {
  make "$1" nat FLANNEL-POSTRTG POSTROUTING "flanneld masq" <<RULES
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s $3 -d $2 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s $2 -d $3 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s $2 -d $3 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s $2 ! -d $4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s $2 -d $2 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
RULES
}

# remove IPTABLES TABLE CHAIN HOOK COMMENT
remove() {
  "$1" -w 10 -t "$2" -D "$4" -m comment --comment "$5" -j "$3" 2>/dev/null || :
  "$1" -w 10 -t "$2" -F "$3" 2>/dev/null || :
  "$1" -w 10 -t "$2" -X "$3" 2>/dev/null || :
}
stop_forward() { remove "$1" filter FLANNEL-FWD FORWARD "flanneld forward"; }
stop_masquerade() { remove "$1" nat FLANNEL-POSTRTG POSTROUTING "flanneld masq"; }

# family IPTABLES NETWORK SUBNET MULTICAST
family() {
  [ -n "$3" ] || return 0
  forward "$1" "$2"
  if [ "$FLANNEL_IPMASQ" = true ]; then masquerade "$@"; else stop_masquerade "$1"; fi
}

apply() {
  FLANNEL_NETWORK= FLANNEL_SUBNET= FLANNEL_IPV6_NETWORK= FLANNEL_IPV6_SUBNET= FLANNEL_IPMASQ=
  . "$file"
  family iptables "$FLANNEL_NETWORK" "$FLANNEL_SUBNET" 224.0.0.0/4
  family ip6tables "$FLANNEL_IPV6_NETWORK" "$FLANNEL_IPV6_SUBNET" ff00::/8
}

case $action in
  apply) apply ;;
  remove)
    for iptables in iptables ip6tables; do
      stop_forward $iptables
      stop_masquerade $iptables
    done
    ;;
  # For a container beside vxlane: rules that somebody flushes come back, and a new subnet has its own.
  watch)
    trap 'exit 0' TERM INT
    while :; do
      [ ! -e "$file" ] || apply || :
      sleep 5 &
      wait $!
    done
    ;;
  *)
    echo "usage: $0 [apply|remove|watch] [subnet.env]" >&2
    exit 2
    ;;
esac
