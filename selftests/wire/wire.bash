# SPDX-License-Identifier: GPL-2.0-only
# memnic0 and memnic1 in the network namespaces "sender" and "receiver", and
# blkdmabufctl at both ends.
# shellcheck shell=bash

FROM=10.99.0.1
TO=10.99.0.2
QUEUE=1
PORT=$((7000 + QUEUE))	# memnic steers by destination port

# at SENDER|RECEIVER COMMAND...: in its network namespace; sysfs stays as it is.
at() {
	local ns=$1
	shift
	nsenter --net="/run/netns/$ns" "$@"
}

# Where one test has left a NIC down, or with a program, the next finds it new.
setup_nic() {
	at "$1" ip link set "$2" xdp off
	at "$1" ip addr flush dev "$2"
	at "$1" ip link set "$2" up
	at "$1" ip addr add "$3/24" dev "$2"
	at "$1" ip link set "$2" mtu 4148
}

# setup_wire: NICs up and new, each in its namespace
setup_wire() {
	if [ ! -e /run/netns/sender ]; then
		ip netns add sender
		ip netns add receiver
		ip link set memnic0 netns sender
		ip link set memnic1 netns receiver
	fi
	setup_nic sender memnic0 $FROM
	setup_nic receiver memnic1 $TO
}

# Ends what a test has left. By name: bats has a job of its own.
teardown_wire() {
	local job
	for job in ${RECEIVER:+"$RECEIVER"} ${SENDER:+"$SENDER"}; do
		kill -9 "$job" 2> /dev/null || :
		wait "$job" || :
	done
	! mountpoint -q /mnt/disk || umount /mnt/disk
}

listening() { at receiver ss -Hltn "sport = :$PORT" | grep -q .; }

# receive ARG...: in the background; left in r.json, its process in $RECEIVER
receive() {
	nsenter --net=/run/netns/receiver "$CTL" -j receive "$@" --netdev memnic1 \
		--listen $TO:$PORT > r.json 2> r.err &
	RECEIVER=$!
	wait_until 20 listening || { cat r.json r.err; false; }
}

# send ARG...: left in s.json
send() {
	at sender "$CTL" -j send "$@" --netdev memnic0 --connect $TO:$PORT \
		> s.json 2> s.err
}

# The same in the background; its process in $SENDER
send_later() {
	nsenter --net=/run/netns/sender "$CTL" -j send "$@" --netdev memnic0 \
		--connect $TO:$PORT > s.json 2> s.err &
	SENDER=$!
}

# ends PROCESS STATUS: it does so
ends() {
	local rc=0
	wait "$1" || rc=$?
	cat ./*.json ./*.err
	[ $rc -eq "$2" ]
}

# mtu BYTES
mtu() {
	at sender ip link set memnic0 mtu "$1"
	at receiver ip link set memnic1 mtu "$1"
}
