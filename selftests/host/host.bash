# SPDX-License-Identifier: GPL-2.0-only
# What suites of the host share: `load host`.
# shellcheck shell=bash

# same WHAT: the files "is" and "should" hold the same lines.
same() {
	sort -u is > is.sorted
	sort -u should > should.sorted
	[ -s should ]
	diff is.sorted should.sorted || { echo "# $1 differ" >&2; false; }
}

# need_clang: what policies are built with is $CLANG; skip the test without one
need_clang() {
	CLANG=${CLANG:-$("$BATS_TEST_DIRNAME/../../kern/clang")} ||
		skip "no clang >= 16"
}
