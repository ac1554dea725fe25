#!/bin/sh
# The iptables rules that flanneld makes for the node that it runs on: pods are forwarded, and what leaves the pods'
# network is masqueraded. vxlane leaves rules alone; this makes them from subnet.env, as often as it is called.
#
#   flannel-traffic-rules.sh [apply|remove|watch] [/run/flannel/subnet.env]
#
# Chains have flanneld's names, so that a node that changes between the two has one set of them.
set -eu

action=${1:-apply}
file=${2:-/run/flannel/subnet.env}

# rules FAMILY-COMMAND NETWORK SUBNET MULTICAST
rules() {
  tables="$1 -w 10"
  $tables -t nat -N FLANNEL-POSTRTG 2>/dev/null || :
  $tables -t filter -N FLANNEL-FWD 2>/dev/null || :
  # One transaction: nobody sees half of them.
  "$1-restore" -w 10 --noflush <<RULES
*nat
-F FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s $3 -d $2 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s $2 -d $3 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s $2 -d $3 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s $2 ! -d $4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s $2 -d $2 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
*filter
-F FLANNEL-FWD
-A FLANNEL-FWD -s $2 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d $2 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
RULES
  $tables -t nat -C POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG 2>/dev/null ||
    $tables -t nat -I POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
  $tables -t filter -C FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD 2>/dev/null ||
    $tables -t filter -I FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
}

remove() {
  tables="$1 -w 10"
  $tables -t nat -D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG 2>/dev/null || :
  $tables -t filter -D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD 2>/dev/null || :
  for chain in "nat FLANNEL-POSTRTG" "filter FLANNEL-FWD"; do
    $tables -t ${chain% *} -F ${chain#* } 2>/dev/null || :
    $tables -t ${chain% *} -X ${chain#* } 2>/dev/null || :
  done
}

apply() {
  FLANNEL_NETWORK= FLANNEL_SUBNET= FLANNEL_IPV6_NETWORK= FLANNEL_IPV6_SUBNET= FLANNEL_IPMASQ=
  . "$file"
  [ "$FLANNEL_IPMASQ" = true ] || return 0
  [ -z "$FLANNEL_SUBNET" ] || rules iptables "$FLANNEL_NETWORK" "$FLANNEL_SUBNET" 224.0.0.0/4
  [ -z "$FLANNEL_IPV6_SUBNET" ] || rules ip6tables "$FLANNEL_IPV6_NETWORK" "$FLANNEL_IPV6_SUBNET" ff00::/8
}

case $action in
  apply) apply ;;
  remove)
    remove iptables
    remove ip6tables
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
