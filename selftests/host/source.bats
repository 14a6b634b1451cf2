#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The sources keep the promises that a machine can check: scripts are clean, the
# kernel change is small, survives a round trip through git, and is a series
# that could be sent.

# The series is built patch by patch. Not in setup(): bats looks at the limit
# before that.
setup_file() { export BATS_TEST_TIMEOUT=1800; }

setup() { cd "$BATS_TEST_DIRNAME/../.."; }

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
	shellcheck -x -S warning -e SC2034 kern/common.sh \
		selftests/*.bash selftests/*/*.bash
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

# Whether each builds by itself takes longer than all other tests of this
# machine: 'make series-check' tells.
@test "every patch of the series passes checkpatch, and all of it builds" {
	kern/hooks series
	kern/hooks series-check --style
}

@test "every target for people is in the help" {
	sed -n 's/^\.PHONY: //p' Makefile | tr ' ' '\n' | sort > \
		"$BATS_TEST_TMPDIR/targets"
	[ -s "$BATS_TEST_TMPDIR/targets" ]
	make -s help | sed -n 's/^  \([a-z-]*\) .*/\1/p' | sort |
		diff "$BATS_TEST_TMPDIR/targets" -
}

@test "CI runs the commands that README tells newcomers to" {
	sed -n 's/^    \(make [a-z]*\)  .*#.*/\1/p' README.md > \
		"$BATS_TEST_TMPDIR/commands"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/commands")" -eq 2 ]
	sed -n 's/^ *- run: \(make .*\)/\1/p' .github/workflows/ci.yml |
		diff "$BATS_TEST_TMPDIR/commands" -
}

# Both are found by it, and all programs are built to one directory.
@test "a suite or test program is the only one of its name, whatever its room" {
	run bash -c "printf '%s\\n' selftests/*/*.{bats,c} |
		grep -vE '^selftests/(host|bpf|kmod)/' |
		sed 's,.*/\(.*\)\..*,\1,' | sort | uniq -d"
	[ -z "$output" ] || { echo "$output"; false; }
}

@test "every script can be started" {
	while read -r f; do
		echo "$f"
		[ -x "$f" ]
		read -r interpreter _ < <(sed -n '1s/^#! *//p' "$f")
		[ -x "$interpreter" ]
		bash -n "$f"
	done < <(scripts)
}

@test "every package that is installed has its reason in CONTRIBUTING" {
	# shellcheck disable=SC1090
	. <(sed -n '/^[A-Z_]*PACKAGES=(/,/^)/p' kern/setup)
	[ ${#PACKAGES[@]} -gt 20 ]
	[ ${#TEST_PACKAGES[@]} -gt 5 ]
	[ ${#DISTRO_PACKAGES[@]} -gt 5 ]
	for p in "${PACKAGES[@]}" "${TEST_PACKAGES[@]}" \
		"${DISTRO_PACKAGES[@]}"; do
		grep -q "^|.*\`$p\`" CONTRIBUTING.md || { echo "$p"; return 1; }
	done
}

# names FILE: the licenses in an SPDX line near its top, one a line
names() {
	head -n 5 "$1" |
		sed -n 's/.*SPDX-License-Identifier: *\([^*]*[^* ]\).*/\1/p'
}

@test "every license that a file names is one that COPYING lists" {
	sed -n 's/^  \(GPL-2.0-only[^ ]*\( [A-Z]* [A-Z][^ ]*\)\?\) .*/\1/p' \
		COPYING > "$BATS_TEST_TMPDIR/listed"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/listed")" -eq 3 ]
	while read -r f; do
		[ -f "$f" ] || continue
		name=$(names "$f")
		[ -z "$name" ] ||
			grep -qxF "$name" "$BATS_TEST_TMPDIR/listed" ||
			{ echo "$f: $name"; return 1; }
	done < <(git ls-files -co --exclude-standard)
}

# built FILE: is it of the kind that a compiler makes, not a person?
built() {
	case $1 in
	*.o | *.so* | *.a | *.d | *.skel.h | */vmlinux.h | *.tap) return 0 ;;
	esac
	[ -s "$1" ] && ! grep -qI . "$1"
}

@test "nothing that is built is in git" {
	while read -r f; do
		! built "$f" || { echo "$f"; return 1; }
	done < <(git ls-files)
}

# After all that 'make check' has built by now. The other thing that git ignores
# is what checkpatch leaves where a person runs it.
@test "nothing is built outside build/" {
	run bash -c "git status --porcelain --ignored | sed -n 's/^!! //p' |
		grep -vx -e build/ -e '\.checkpatch-camelcase\..*'"
	[ -z "$output" ] || { echo "$output"; false; }
	# What git does not know may be somebody's new source.
	while read -r f; do
		! built "$f" || { echo "$f"; return 1; }
	done < <(git ls-files -o --exclude-standard)
}
