#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What the Debian packages put on a disk works without the tree that they were made
# in: the tool runs, finds the policies that came with it, and they do something.
#
# vm: iommu=strict nvme=1 cpus=4

load ../lib

# The packages, unpacked over the guest's root for one command, with an empty
# directory where the project is.
setup() {
	need unshare dpkg-deb "$TOP/build/deb"
	DEV=$(disk 0)
	WORK=$BATS_TEST_TMPDIR
	mkdir "$WORK"/{packages,work}
	for deb in "$TOP"/build/deb/*.deb; do
		dpkg-deb -x "$deb" "$WORK/packages"
	done
}

# installed COMMAND...: run it where only the packages are
installed() {
	# shellcheck disable=SC2016
	unshare -m sh -ec '
		work=$1 top=$2
		shift 2
		mount -t overlay -o "lowerdir=/usr,upperdir=$work/packages/usr" \
			-o "workdir=$work/work" packages /usr
		cd /
		mount -t tmpfs none "$top"
		exec "$@"' sh "$WORK" "$TOP" "$@"
}

teardown() {
	rm -rf /sys/fs/bpf/blkdmabuf
}

@test "the project is out of sight, and the tool is not" {
	[ "$(installed sh -c 'command -v blkdmabufctl')" = /usr/bin/blkdmabufctl ]
	run installed ls -A "$TOP"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "each policy that is installed loads by its name" {
	local f name n=0
	for f in "$TOP"/bpf/*.bpf.c; do
		name=$(basename "$f" .bpf.c)
		echo "$name"
		installed blkdmabufctl policy load "$name"
		installed blkdmabufctl policy unload "$name"
		n=$((n + 1))
	done
	[ $n -ge 5 ]
}

@test "a policy that is installed has its effect" {
	installed blkdmabufctl policy load steer
	installed blkdmabufctl policy attach steer "$DEV"
	grep -qF '[steer]' "/sys/block/${DEV##*/}/queue/dmabuf_policy"
	installed blkdmabufctl -j read "$DEV" --to /dev/null --length 1M
	installed blkdmabufctl policy unload steer
	grep -qF '[none]' "/sys/block/${DEV##*/}/queue/dmabuf_policy"
}

@test "data that the installed tool copies is right" {
	head -c 1M /dev/urandom > "$WORK/data"
	installed blkdmabufctl write "$DEV" --from "$WORK/data"
	cmp -n 1048576 "$WORK/data" "$DEV"
}

@test "the installed library resolves each of its symbols" {
	run installed ldd -r /usr/lib/x86_64-linux-gnu/libblkdmabuf.so.1
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output != *undefined* ]]
}
