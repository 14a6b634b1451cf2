#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The sources keep the promises that a machine can check: scripts are clean, the
# kernel change is small, survives a round trip through git, and is a series
# that could be sent.

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	# The series is built patch by patch.
	export BATS_TEST_TIMEOUT=1800
}

scripts() {
	git ls-files -co --exclude-standard | while read -r f; do
		[ -f "$f" ] || continue
		case $(head -c 64 "$f" | head -n 1) in
		'#!'*bats*) ;;
		'#!'*sh*) echo "$f" ;;
		esac
	done
}

@test "shell scripts are clean to shellcheck" {
	mapfile -t files < <(scripts)
	[ ${#files[@]} -gt 5 ]
	shellcheck -x -P SCRIPTDIR "${files[@]}"
	# In a library, a variable is for those who load it.
	shellcheck -x -S warning -e SC2034 kern/common.sh selftests/*.bash
}

@test "existing kernel files change within the budget" {
	kern/hooks stat
}

@test "the patches survive a round trip through git" {
	kern/hooks check
}

@test "sparse finds nothing in the kernel files" {
	kern/hooks sparse
}

@test "every patch of the series passes checkpatch and builds" {
	kern/hooks series
	kern/hooks series-check
}

@test "every target with a comment is in the help, and every script runs" {
	run make -s help
	[ "$status" -eq 0 ]
	for target in demo test check kernel hooks-stat series install; do
		[[ $output == *" $target "* ]]
	done
}

@test "nothing that is built is in git" {
	run git ls-files build '*.o' '*.so*' '*.a' '*.skel.h' vmlinux.h
	[ -z "$output" ]
}
