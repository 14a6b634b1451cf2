#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Policies need no tool of ours: the two commands in the head of each policy's
# file are enough, and removing the pin is the end of it.
#
# vm: iommu=strict nvme=2 cpus=4

load ../lib

FS=/sys/fs/bpf

setup() {
	PATH=$TOP/build/bpftool:$PATH
	DISK=$(basename "$(disk 0)")
	ATTR=/sys/block/$DISK/queue/dmabuf_policy
	IO=''
	cd "$TOP" || return
}

# A policy goes some time after its pin does, and until then its name is taken.
teardown() {
	[ -z "$IO" ] || kill "$IO" || :
	rm -rf "${FS:?}"/*
	wait_until 10 none_left
}

selected() { grep -qF "[$1]" "$ATTR"; }
listed() { grep -qwF "$1" "$ATTR"; }
gone() { ! listed "$1"; }
none_left() { [ "$(cat "$ATTR")" = "[none]" ]; }

policies() {
	local f
	for f in bpf/*.bpf.c; do
		basename "$f" .bpf.c
	done
}

@test "the two commands in a policy's head load and select it" {
	for p in $(policies); do
		commands=$(sed -n 's/^ \*   \(bpftool struct_ops register .*\|echo .* > \/sys\/block.*\)/\1/p' "bpf/$p.bpf.c")
		[ "$(wc -l <<< "$commands")" = 2 ]
		[[ $commands == */nvme0n1/* ]]
		commands=${commands//nvme0n1/$DISK}
		printf '%s: %s\n' "$p" "$commands"
		run bash -ec "$commands"
		printf '%s\n' "$output"
		[ "$status" -eq 0 ]
		selected "$p"
		rm -r "${FS:?}/$p"
		wait_until 10 gone "$p"
		selected none
	done
}

# in_head POLICY PATTERN: a command with its continuation lines
in_head() {
	sed -n "/^ \*   $2/,/[^\\\\]\$/p" "bpf/$1.bpf.c" | sed 's/^ \*//'
}

@test "the maps are edited as the policies' heads say" {
	bpftool struct_ops register build/bpf/guard.bpf.o $FS/guard
	bpftool struct_ops register build/bpf/isolate.bpf.o $FS/isolate
	bash -exc "$(in_head guard 'bpftool map update')"
	bpftool -j map dump name quotas |
		jq -e '.[0].formatted | .key.id == 1000 and .value == 67108864'
	bash -exc "$(in_head isolate 'bpftool map update')"
	bpftool -j map dump name classes |
		jq -e '.[0].formatted | .key == 4242 and .value == 1'
}

@test "bpftool shows what runs" {
	bpftool struct_ops register build/bpf/stripe.bpf.o $FS/stripe
	bpftool struct_ops list | grep -w stripe | grep -w blk_dmabuf_ops
	bpftool -j struct_ops dump name stripe | jq -e . > /dev/null
	bpftool link list | grep struct_ops
}

@test "all policies are there side by side" {
	for p in $(policies); do
		bpftool struct_ops register "build/bpf/$p.bpf.o" "$FS/$p"
	done
	for p in $(policies); do
		listed "$p"
		echo "$p" > "$ATTR"
		selected "$p"
	done
	echo none > "$ATTR"
	selected none
}

@test "a policy that is loaded twice is refused" {
	bpftool struct_ops register build/bpf/near.bpf.o $FS/near
	run bpftool struct_ops register build/bpf/near.bpf.o $FS/again
	printf '%s\n' "$output"
	[ "$status" -ne 0 ]
	[[ $output == *"File exists"* ]]
}

# reads: done by the disk so far; more_than N: are there
reads() { awk '{ print $1 }' "/sys/block/$DISK/stat"; }
more_than() { [ "$(reads)" -gt "$1" ]; }

@test "I/O goes on while policies come and go" {
	need "$BIN/dmabuf-io"
	# Longer than the test may take: it is told to stop.
	"$BIN/dmabuf-io" --direction read --sizes 4K,64K --depth 8 --threads 2 \
		--seconds 9999 "$(disk 0)" > "$BATS_TEST_TMPDIR/io" 2>&1 &
	IO=$!
	for _ in 1 2 3; do
		for p in $(policies); do
			# It registers no quota for anybody.
			[ "$p" != guard ] || continue
			bpftool struct_ops register "build/bpf/$p.bpf.o" "$FS/$p"
			echo "$p" > "$ATTR"
			wait_until 30 more_than $(($(reads) + 100))
			selected "$p"
			rm -r "${FS:?}/$p"
			wait_until 10 none_left
			wait_until 30 more_than $(($(reads) + 100))
		done
	done
	kill "$IO"
	wait "$IO" || { cat "$BATS_TEST_TMPDIR/io"; false; }
	IO=''
}
