#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# kern/setup with a dpkg that knows no package, and an apt that takes notes.

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	BIN=$BATS_TEST_TMPDIR/bin
	mkdir "$BIN"
	printf '#!/bin/sh\nexit 1\n' > "$BIN/dpkg-query"
	# shellcheck disable=SC2016 # for the script
	printf '#!/bin/sh\necho "$@" >> %s/apt\n' "$BATS_TEST_TMPDIR" > \
		"$BIN/apt-get"
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nexec "$@"\n' > "$BIN/sudo"
	chmod +x "$BIN"/*
	PATH=$BIN:$PATH
}

@test "what is missing is said before it is installed" {
	run kern/setup
	[ "$status" -eq 0 ]
	grep -q 'installing .*qemu-system-x86' <<< "$output"
	grep -q '^-q -y .* install .*qemu-system-x86' "$BATS_TEST_TMPDIR/apt"
	# What only tests need is for tests.
	[ "$(grep -c mdadm "$BATS_TEST_TMPDIR/apt")" -eq 0 ]
}

@test "what tests need is installed for tests" {
	run kern/setup --tests
	[ "$status" -eq 0 ]
	grep -q 'install .*mdadm' "$BATS_TEST_TMPDIR/apt"
}

@test "nothing is installed where that is not wanted" {
	NO_INSTALL=1 run kern/setup --tests
	[ "$status" -eq 1 ]
	grep -q "missing: .*mdadm.*'make test-deps' installs" <<< "$output"
	run kern/setup --check
	[ "$status" -eq 1 ]
	grep -q "missing: .*qemu-system-x86.*'make deps' installs" <<< "$output"
	[ ! -e "$BATS_TEST_TMPDIR/apt" ]
}

@test "nothing is done where nothing is missing" {
	printf '#!/bin/sh\necho installed\n' > "$BIN/dpkg-query"
	run kern/setup --tests
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[ ! -e "$BATS_TEST_TMPDIR/apt" ]
}

@test "an argument that nobody knows is refused" {
	run kern/setup --test
	[ "$status" -eq 1 ]
	grep -q 'unknown argument --test' <<< "$output"
	[ ! -e "$BATS_TEST_TMPDIR/apt" ]
}
