#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What 'blkdmabufctl receive' makes of pieces of a stream, with a NIC and a storage
# that are made up: each byte arrives where it belongs, no piece goes back to the
# NIC before it is written, and only what has to be is copied. Needs no VM.

setup() {
	pieces=$BATS_TEST_DIRNAME/../../build/selftests/wire-pieces
	[ -x "$pieces" ] || skip "no $pieces, run 'make selftests'"
}

# count NAME: out of what it said
count() { sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" <<< "$output"; }

# pieces PATTERN UNIT ARG...
pieces() {
	echo "# $*" >&2
	run "$pieces" "$@"
	echo "$output" >&2
	[ "$status" -eq 0 ]
}

each_unit() {
	for unit in 512 4096; do pieces "$1" $unit "${@:2}"; done
}

@test "pages are written from where they are" {
	for unit in 512 4096; do
		pieces page $unit no-copy
		[ "$(count copied)" -eq 0 ]
		[ "$(count bounced)" -eq 0 ]
	done
}

@test "neighbours are written as one" {
	each_unit adjacent
	[ "$(count direct)" -lt 200 ]
	[ "$(count unaligned)" -eq 0 ]
}

@test "any offset and any length arrive whole" {
	for pattern in mtu1500 dword any cut; do
		each_unit $pattern
	done
}

@test "a device that takes pieces gets them in few commands, and no copy" {
	for pattern in page mtu1500 dword; do
		each_unit $pattern vec4
		[ "$(count vectored)" -gt 0 ]
		[ "$(count direct)" -lt 300 ]
		# What came outside takes its neighbours with it.
		[ "$(count unaligned)" -lt $((1 << 20)) ]
	done
	each_unit any vec1
	[ "$(count unaligned)" -lt $((1 << 20)) ]
}

@test "after a piece of odd length what follows is out of phase, and copied" {
	each_unit cut vec4
	[ "$(count unaligned)" -gt $((1 << 20)) ]
}

@test "what a device refuses for its shape is copied instead" {
	for pattern in page mtu1500 any; do
		each_unit $pattern vec1 dislike
		[ "$(count bounced)" -gt 0 ]
	done
}

@test "what is not a whole block at the end is filled up with zeros" {
	for pattern in page adjacent mtu1500 dword any cut; do
		each_unit $pattern odd
		[ "$(count tail)" -gt 0 ]
		[ "$(count tail)" -lt 4096 ]
	done
}

@test "what would be copied is refused if that is asked for" {
	for pattern in mtu1500 dword any cut; do
		run "$pieces" $pattern 512 no-copy
		[ "$status" -eq 1 ]
		grep -q 'without a copy' <<< "$output"
	done
}
