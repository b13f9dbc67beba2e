#!/bin/bash
# Pid 1 of a lab node. Started in fresh net, mount, pid, uts, ipc and cgroup namespaces, with the machine's files still in
# sight; gives the node a root of its own, says "ready PID" (PID as the machine sees it), and lives until its input ends.
# Environment: NODE (its name), STAGE (an empty directory to mount on), SHARE (the directory all nodes see), CHECKOUT, DIST.
set -euo pipefail
read -r pid _ </proc/self/stat

mount -t tmpfs -o mode=755 tmpfs "$STAGE"
mkdir "$STAGE"/{upper,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$STAGE/upper,workdir=$STAGE/work" overlay "$STAGE/root"
cd "$STAGE/root"

mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t bpf bpf sys/fs/bpf
if [[ -n ${CGROUP:-} ]]; then mount -t cgroup2 cgroup2 sys/fs/cgroup; fi

# What a node has to itself begins empty, whatever the machine has there.
for dir in run tmp var/lib/calico var/lib/cni var/log/calico etc/calico etc/cni opt/cni; do
  mkdir -p $dir
  mount -t tmpfs -o mode=755 tmpfs $dir
done
chmod 1777 tmp
mkdir -p run/netns run/lock etc/cni/net.d opt/cni/bin usr/local/bin
echo "$NODE" >var/lib/calico/nodename # as calico-node does on a real node
# `ip netns add` wants a shared mount there; made once here, because two of them at once would race to make it.
mount --bind run/netns run/netns
mount --make-shared run/netns

mkdir -p mnt/share ".$CHECKOUT"
mount --bind "$SHARE" mnt/share
mount --rbind "$CHECKOUT" ".$CHECKOUT"
mount -o remount,bind,ro ".$CHECKOUT"
ln -s /usr/lib/cni/* opt/cni/bin/ 2>/dev/null || :
ln -sf "$DIST/calico" opt/cni/bin/calico
ln -sf "$DIST/calico-ipam" opt/cni/bin/calico-ipam
ln -sf "$DIST"/{calico,calico-ipam,calicoctl,calico-node} usr/local/bin/

hostname "$NODE"
echo "$NODE" >etc/hostname
echo 1 >proc/sys/net/ipv4/ip_forward
echo 1 >proc/sys/net/ipv6/conf/all/forwarding
ip link set lo up

mkdir .machine
pivot_root . .machine
cd /
umount -l /.machine
rmdir /.machine

echo "ready $pid"
exec >/dev/null 2>&1
while read -r _; do :; done
