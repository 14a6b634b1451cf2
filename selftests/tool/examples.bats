#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The examples do what they say, with every byte compared; each looks at what came
# in itself, or is compared with what dd and cmp see here.
#
# vm: iommu=strict nvme=2 cpus=4

load ../lib

EXAMPLES=$TOP/build/user/examples

setup_file() { : > "$BATS_FILE_TMPDIR/run"; }

# wire-to-disk is in the suite "wire".
teardown_file() {
	local built
	built=$(find "$EXAMPLES" -maxdepth 1 -type f -executable \
		! -name wire-to-disk | wc -l)
	printf '{"examples":{"built":%d,"run":%d}}\n' "$built" \
		"$(wc -l < "$BATS_FILE_TMPDIR/run")" > "$OUT/people-examples.json"
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	DEV=$(disk 0)
}

teardown() {
	[ -z "${BATS_TEST_COMPLETED:-}" ] ||
		echo "$BATS_TEST_DESCRIPTION" >> "$BATS_FILE_TMPDIR/run"
	! mountpoint -q /mnt/disk || umount /mnt/disk
	for policy in pool own; do
		"$CTL" policy unload $policy || :
	done
}

# On disk 1, with a file of so many bytes
file_system() {
	need mkfs.ext4
	mkfs.ext4 -q -F "$(disk 1)"
	mkdir -p /mnt/disk
	mount "$(disk 1)" /mnt/disk
	head -c "$1" /dev/urandom > /mnt/disk/file
	sync /mnt/disk/file
}

@test "roundtrip" {
	"$EXAMPLES/roundtrip" "$DEV" 1048576
	run "$EXAMPLES/roundtrip" /dev/null
	[ "$status" -ne 0 ]
}

@test "read-file" {
	file_system 5000001
	"$EXAMPLES/read-file" /mnt/disk/file | cmp - /mnt/disk/file
	: > /mnt/disk/empty
	[ "$("$EXAMPLES/read-file" /mnt/disk/empty | wc -c)" -eq 0 ]
	run "$EXAMPLES/read-file" /mnt/disk/none
	[ "$status" -eq 1 ]
}

@test "checkpoint" {
	file_system 1
	"$EXAMPLES/checkpoint" save /mnt/disk/saved
	[ "$(stat -c %s /mnt/disk/saved)" -eq $((12 << 20)) ]
	"$EXAMPLES/checkpoint" load /mnt/disk/saved
	# One byte is enough for it to see.
	printf 'x' | dd of=/mnt/disk/saved bs=1 seek=7654321 conv=notrunc \
		status=none
	sync /mnt/disk/saved
	run "$EXAMPLES/checkpoint" load /mnt/disk/saved
	[ "$status" -eq 1 ]
	grep -q "buffer 7 differs at byte $((7654321 - (7 << 20)))" <<< "$output"
	truncate -s 1M /mnt/disk/saved
	run "$EXAMPLES/checkpoint" load /mnt/disk/saved
	[ "$status" -eq 1 ]
}

@test "kv-cache" {
	run "$EXAMPLES/kv-cache" "$DEV"
	grep -q "is the policy loaded" <<< "$output"
	"$CTL" policy load pool
	"$CTL" policy attach pool "$DEV"
	run "$EXAMPLES/kv-cache" "$DEV"
	[ "$status" -eq 0 ]
	[ "$output" = "256 pages through 16 places" ]
}

@test "share" {
	head -c 24M /dev/urandom > a
	dd if=a of="$DEV" bs=1M oflag=direct status=none
	"$EXAMPLES/share" "$DEV" "$(disk 1)" $((20 << 20))
	cmp -n $((20 << 20)) a "$(disk 1)"
	# And no further.
	run cmp -n $((24 << 20)) a "$(disk 1)"
	[ "$status" -ne 0 ]
}

@test "own-policy" {
	"$EXAMPLES/own-policy" "$EXAMPLES/own-policy.bpf.o" "${DEV##*/}" \
		"$CTL" read "$DEV" --to /dev/null --length 3M > out
	cat out
	grep -q "^read 3145728 bytes, written 0$" out
	grep -q '\[none\]' "/sys/block/${DEV##*/}/queue/dmabuf_policy"
	run "$EXAMPLES/own-policy" "$EXAMPLES/own-policy.bpf.o" \
		"${DEV##*/}" false
	[ "$status" -eq 1 ]
}
