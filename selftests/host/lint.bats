#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# clang-tidy finds no bug in programs and library, and would find one.

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	tidy=$(make -s -n lint | sed -n 's/^command -v \([^ ]*\) .*/\1/p' | head -n 1)
	command -v "$tidy" > /dev/null || skip "$tidy is missing"
}

@test "programs and library are clean to clang-tidy" {
	make -s lint
}

@test "a bug does not pass" {
	cat > "$BATS_TEST_TMPDIR/bug.c" <<-E
		#include <stdlib.h>

		int main(void)
		{
			int *p = NULL;

			if (getenv("X"))
				p = malloc(sizeof(*p));
			return *p;
		}
	E
	# clang-tidy looks for its configuration above the file.
	cp .clang-tidy "$BATS_TEST_TMPDIR"
	run make -s lint LINT="$BATS_TEST_TMPDIR/bug.c"
	echo "$output"
	[ "$status" -ne 0 ]
	[[ $output == *clang-analyzer-core.NullDereference* ]]
}
