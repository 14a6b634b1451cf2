#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# From the disk to the wire and from the wire to the disk, through one buffer at
# each end: what arrives is what was sent, to the byte, and no byte of it is copied
# where packets carry whole blocks; what has to be copied is told. Whatever is in
# the way is named with the command that mends it. However a side ends, the other
# one learns that, and the queue can be used again.
#
# The NICs are memnic0 and memnic1, each in a network namespace of its own.
#
# disk0: what is sent; disk1: where it goes; disk2: 4 KiB blocks; disk3: takes 100 ms
# and keeps nothing.
#
# vm: iommu=strict nvme=4 nvme2.lba=4096 nvme3.latency=100

load ../lib
load wire

SIZE=24M
BYTES=$((24 << 20))

setup_file() {
	local dev
	dev=$(disk 0)
	head -c $BYTES /dev/urandom > "$BATS_FILE_TMPDIR/sent"
	dd if="$BATS_FILE_TMPDIR/sent" of="$dev" bs=1M oflag=direct status=none
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	SENT=$BATS_FILE_TMPDIR/sent
	need ip nsenter
	need_module memnic
	setup_wire
}

teardown() { teardown_wire; }

# transfer TARGET ARG...: disk0 to it, and both say that it went well
transfer() {
	receive "$@" --queue $QUEUE
	send "$(disk 0)" --length $SIZE || { cat s.json s.err r.json; false; }
	ends "$RECEIVER" 0
	jq -e ".bytes == $BYTES" r.json
	jq -e ".bytes == $BYTES and .copied_bytes == 0" s.json
}

arrived() { cmp -n $BYTES "$SENT" "$1"; }

# under_way: a transfer to the slow disk runs
under_way() {
	receive "$(disk 3)" --queue $QUEUE --udmabuf 4M --block-size 64K
	send_later "$(disk 0)"
	sleep 2
	kill -0 "$RECEIVER"
	kill -0 "$SENDER"
}

# works_again: nothing of what was stopped is left
works_again() {
	transfer "$(disk 1)"
	arrived "$(disk 1)"
}

# ---- it arrives -------------------------------------------------------------

@test "devmem: a disk arrives on another one, and nothing is copied" {
	transfer "$(disk 1)"
	arrived "$(disk 1)"
	jq -e '.engine == "devmem" and .copied_bytes == 0 and .bounced == 0 and
		.pieces > 0 and .tokens_held_max > 0' r.json
}

@test "zcrx: a disk arrives on another one, and nothing is copied" {
	transfer "$(disk 2)" --engine zcrx
	arrived "$(disk 2)"
	jq -e '.engine == "zcrx" and .copied_bytes == 0 and .bounced == 0' r.json
}

@test "the example wire-to-disk does it, in 150 lines" {
	for bytes in 4148 1500; do
		mtu $bytes
		blkdiscard -z -l $SIZE "$(disk 1)"
		nsenter --net=/run/netns/receiver \
			"$TOP/build/user/examples/wire-to-disk" "$(disk 1)" \
			memnic1 $QUEUE $PORT > out 2>&1 &
		RECEIVER=$!
		wait_until 20 listening || { cat out; false; }
		send "$(disk 0)" --length $SIZE || { cat s.json s.err out; false; }
		ends "$RECEIVER" 0
		[ "$(cat out)" = "$BYTES bytes" ]
		arrived "$(disk 1)"
	done
}

@test "packets that carry no whole blocks arrive, too" {
	for engine in devmem zcrx; do
		mtu 1500
		blkdiscard -z -l $SIZE "$(disk 1)"
		transfer "$(disk 1)" --engine $engine
		arrived "$(disk 1)"
		# The disk takes pieces in multiples of 4 bytes, which they are.
		jq '{engine, vectored, bounced, copied}' r.json
		jq -e ".vectored > 0 and .copied_bytes < $BYTES / 100" r.json
	done
}

@test "a buffer that is small against the stream is used again and again" {
	transfer "$(disk 1)" --udmabuf 4M --block-size 256K --depth 4
	arrived "$(disk 1)"
	jq -e '.tokens_held_max <= 512' r.json
}

# at /mnt/disk, on disk 1
ext4_on_disk() {
	need mkfs.ext4
	mkfs.ext4 -q -F "$(disk 1)"
	mkdir -p /mnt/disk
	mount "$(disk 1)" /mnt/disk
}

@test "a file ends where the stream does" {
	ext4_on_disk
	head -c 5000001 "$SENT" > /mnt/disk/sent
	sync /mnt/disk/sent
	receive /mnt/disk/got --create --queue $QUEUE
	send /mnt/disk/sent
	ends "$RECEIVER" 0
	cmp /mnt/disk/sent /mnt/disk/got
	jq -e ".copied.tail == 5000001 % $(stat -fc %S /mnt/disk)" r.json
}

@test "a stream that ends within a block of a file leaves the rest alone" {
	ext4_on_disk
	head -c 100001 "$SENT" > /mnt/disk/sent
	tail -c 200000 "$SENT" > /mnt/disk/got
	cp /mnt/disk/got before
	sync -f /mnt/disk
	AS=(nsenter --net=/run/netns/receiver)
	fails 1 'unaligned' 'would be lost' -- receive /mnt/disk/got \
		--netdev memnic1 --listen $TO:9 --length 100001
	cmp before /mnt/disk/got
	receive /mnt/disk/got --queue $QUEUE
	send /mnt/disk/sent || :
	ends "$RECEIVER" 1
	jq -e '.error.advice | test("would be lost")' r.json
	cmp -i 100001 before /mnt/disk/got
	[ "$(stat -c %s /mnt/disk/got)" -eq 200000 ]
}

# ---- what is told -----------------------------------------------------------

@test "check says that NIC and disk can share a buffer" {
	at receiver "$CTL" check "$(disk 1)" --netdev memnic1 --queue $QUEUE > out
	cat out
	grep -q '^nic .*memnic1' out
	grep -q '^receive  *yes' out
	grep -q '^send  *yes' out
	grep -q '^device  *yes' out
	at receiver "$CTL" -j check "$(disk 1)" --netdev memnic1 > json
	jq -e '.usable' json
	# The queue is free again.
	at receiver "$CTL" check --netdev memnic1 --queue $QUEUE
}

@test "without a copy, what is no whole block is refused, and the sender told" {
	receive "$(disk 1)" --queue $QUEUE --no-copy
	# A header of three bytes, in a packet of its own.
	at sender bash -c "exec 3<> /dev/tcp/$TO/$PORT; printf abc >&3; sleep 1
		head -c 1M /dev/zero >&3; cat <&3" || :
	ends "$RECEIVER" 1
	jq -e '.error.what | test("without a copy")' r.json
}

@test "a queue that is in use is named" {
	receive "$(disk 1)" --queue $QUEUE
	AS=(nsenter --net=/run/netns/receiver)
	fails 1 'memory of somebody else' 'another --queue' -- receive "$(disk 2)" \
		--netdev memnic1 --listen $TO:9 --queue $QUEUE
	fails 1 'memory of somebody else' 'another --queue' -- receive "$(disk 2)" \
		--netdev memnic1 --listen $TO:9 --queue $QUEUE --engine zcrx
	fails 1 'no receive queue 99' 'ethtool -L memnic1' -- receive "$(disk 2)" \
		--netdev memnic1 --listen $TO:9 --queue 99
	kill -INT "$RECEIVER"
	ends "$RECEIVER" 130
}

@test "headers that are not split off are named, with the command that helps" {
	need ethtool
	ethtool --help | grep -q tcp-data-split ||
		skip "an ethtool that knows tcp-data-split is missing"
	AS=(nsenter --net=/run/netns/receiver)
	at receiver ethtool -G memnic1 tcp-data-split off
	for engine in devmem zcrx; do
		fails 1 'not split off' 'ethtool -G memnic1 tcp-data-split on' \
			-- receive "$(disk 1)" --netdev memnic1 --listen $TO:9 \
			--queue $QUEUE --engine $engine
	done
	at receiver ethtool -G memnic1 tcp-data-split on
}

@test "a stream that comes through another queue is refused" {
	for engine in devmem zcrx; do
		receive "$(disk 1)" --queue $((QUEUE + 1)) --engine $engine
		send_later "$(disk 0)" --length $SIZE
		ends "$RECEIVER" 1
		jq -e '.error | (.what | test("does not come through queue")) and
			(.advice | test("ethtool -N memnic1"))' r.json
		ends "$SENDER" 1
	done
}

@test "a NIC that is not there, and one that cannot, are named" {
	AS=(nsenter --net=/run/netns/receiver)
	fails 1 'none-such' 'ip link' -- receive "$(disk 1)" --netdev none-such \
		--listen :9
	at receiver ip link set lo up
	fails 1 'lo' 'another NIC' -- receive "$(disk 1)" --netdev lo \
		--listen 127.0.0.1:9 --queue 0
	AS=(nsenter --net=/run/netns/sender)
	fails 1 'Connection refused' 'start the receiver first' -- send \
		"$(disk 0)" --netdev memnic0 --connect $TO:9
}

# ---- it is stopped ----------------------------------------------------------

@test "a sender that is killed fails the receiver, which says how far it came" {
	under_way
	kill -9 "$SENDER"
	ends "$RECEIVER" 1
	jq -e '.error.code == "ECONNRESET" and .bytes < '$BYTES r.json
	works_again
}

@test "a receiver that is killed fails the sender" {
	under_way
	kill -9 "$RECEIVER"
	ends "$SENDER" 1
	jq -e '.error.code | . == "ECONNRESET" or . == "EPIPE"' s.json
	works_again
}

@test "a signal ends either side in order, and fails the other" {
	under_way
	kill -INT "$RECEIVER"
	ends "$RECEIVER" 130
	jq -e '.error.code == "EINTR"' r.json
	ends "$SENDER" 1
	works_again
}

@test "a NIC that goes down is the end, and is named" {
	under_way
	at receiver ip link set memnic1 down
	ends "$RECEIVER" 1
	jq -e '.error | .code == "ENETDOWN" and .object == "memnic1"' r.json
	at receiver ip link set memnic1 up
	kill -INT "$SENDER"
	wait "$SENDER" || :
	works_again
}
