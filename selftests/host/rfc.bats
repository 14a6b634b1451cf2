#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# 'make rfc' writes mails that git takes, numbered and whoever sends them signed, and
# a cover letter whose numbers are those of the tests, or that says there are none. On
# a series of two patches.

setup() {
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	unset SUBMITTER VERSION_OF_RFC
	REPO=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	ROOT=$BATS_TEST_TMPDIR/project
	RFC=$ROOT/build/rfc
	mkdir -p "$ROOT/kern/patches" "$ROOT/build/tap"
	cp -r "$REPO"/kern/{rfc,common.sh,BASE} "$ROOT/kern/"
	cd "$ROOT"
	make_series
}

kernel_git() { git -C "$ROOT/linux" -c user.name=A -c user.email=a@b "$@"; }

# The files that kern/rfc touches, as they are in the kernel, and one more.
make_series() {
	local p
	mkdir -p linux/block
	git -C linux init -q
	seq 1 9 > linux/block/bio.c
	for p in kern/rfc/*.patch; do
		sed -n 's,^--- a/,,p' "$p"
	done > touched
	if [ -e "$REPO/build/linux/MAINTAINERS" ]; then
		(cd "$REPO/build/linux" && xargs cp --parents -t "$ROOT/linux") \
			< touched
	else
		rm kern/rfc/*.patch
	fi
	kernel_git add -A && kernel_git commit -qm base
	echo new > linux/block/new.c
	kernel_git add -A
	kernel_git commit -qm "block: add a file, with a subject that is longer than a line of a mail has room for"
	sed -i 3s/.*/changed/ linux/block/bio.c
	kernel_git commit -qam "block: change a line"
	kernel_git format-patch -q -n -o ../build/series HEAD~2
	cp build/series/0002-* kern/patches/
	kernel_git reset -q --hard HEAD~2
}

write() { kern/rfc/write; }
cover() { cat "$RFC/0000-cover-letter.patch"; }

@test "git takes the patches, in their order, and the tree is complete" {
	write
	kernel_git am -q "$RFC"/000[1-9]-*.patch
	[ "$(sed -n 3p linux/block/bio.c)" = changed ]
	[ "$(kernel_git log --format=%s | wc -l)" -eq \
		$((3 + $(find kern/rfc -name '*.patch' | wc -l))) ]
	cover | git mailinfo msg patch > info
	grep -q '^Subject: block: I/O on dma-buf memory' info
}

@test "what only a submission touches is in the series: index, ioctl, MAINTAINERS" {
	[ -e "$REPO/build/linux/MAINTAINERS" ] || skip "build/linux is missing"
	write
	kernel_git am -q "$RFC"/000[1-9]-*.patch
	grep -qx '   blk-dmabuf' linux/Documentation/block/index.rst
	code=$(sed -n 's/^#define BLK_DMABUF_IOC[[:space:]]*//p' \
		"$REPO/include/uapi/linux/blk-dmabuf.h")
	grep -qi "^$code .*linux/blk-dmabuf.h" \
		linux/Documentation/userspace-api/ioctl/ioctl-number.rst
	[ "$(grep -ci "^$code " \
		linux/Documentation/userspace-api/ioctl/ioctl-number.rst)" -eq 1 ]
	# Every new file of the project has somebody who is responsible.
	sed -n '/^BLOCK I.O ON/,/^$/s/^F:[[:space:]]*//p' linux/MAINTAINERS > files
	[ -s files ]
	(cd "$REPO" && . kern/common.sh && overlay_files) | while read -r f; do
		while read -r pattern; do
			# shellcheck disable=SC2254 # a pattern
			case $f in $pattern) continue 2 ;; esac
		done < files
		echo "$f is nobody's"
		exit 1
	done
}

@test "whoever sends them is author, has signed off, and is the maintainer" {
	export SUBMITTER='Jane Doe <jane@doe.example>' VERSION_OF_RFC=2
	write
	for p in "$RFC"/*.patch; do
		grep -qx "From: $SUBMITTER" "$p"
		case $p in
		*/0000-*) ;;
		*) [ "$(grep -cx "Signed-off-by: $SUBMITTER" "$p")" -eq 1 ] ;;
		esac
	done
	grep -q '^Subject: \[RFC PATCH v2 0/[0-9]\] ' "$RFC/0000-cover-letter.patch"
	grep -q '^Subject: \[RFC PATCH v2 1/[0-9]\] block: add' "$RFC"/0001-*
	run grep -r '@SUBMITTER@' "$RFC"
	[ -z "$output" ]
	SUBMITTER=Jane run write
	[ "$status" -ne 0 ]
	[[ $output == *'pass it as "Name <mail>"'* ]]
}

@test "without a signature it says so" {
	run write
	[[ $output == *"nobody has signed off"* ]]
}

@test "what was not measured is not there, and it says so" {
	run write
	[ "$status" -eq 0 ]
	for f in demo bench policy-cost stack matrix copy; do
		cover | grep -q "not measured here: build/$f.json is missing"
	done
	cover | grep -q 'not tested here'
	run grep -E '^@' "$RFC/0000-cover-letter.patch"
	[ -z "$output" ]
}

@test "the tables have the numbers that were measured" {
	cat > build/demo.json <<-E
		{"kernel": "7.3.4-x", "iommu": "strict",
		 "iommu_maps_per_io": {"stock": 4711, "blkdmabuf": 42}}
	E
	cat > build/bench.json <<-E
		{"rows": [$(for path in registered,9000 dmabuf,4500; do
			printf '{"source": "icount", "kernel": "kernel", "at": "first",
				"mode": "interrupt", "buffer": "fragmented",
				"iommu": "strict", "size": 4096, "batch": 8,
				"path": "%s", "insns_per_io": %d},' ${path/,/ }
		done) {"source": "clock"}],
		 "targets": [{"target": "a", "value": 0.5, "limit": 0.6, "met": true},
			{"target": "b", "value": null, "limit": 1, "met": null},
			{"target": "c", "value": 2, "limit": 1, "met": false}]}
	E
	echo '[{"policy": "place", "insns_per_io": 1234, "overhead_pct": 1.5}]' \
		> build/policy-cost.json
	cat > build/stack.json <<-E
		[{"on": "dm-linear", "path": "premapped", "maps_per_io": 0,
		  "bytes": 100, "mismatches": 0},
		 {"on": "loop", "path": "refused", "reason": "driver"}]
	E
	cat > build/matrix.json <<-E
		[{"device": "nvme", "path": "premapped", "bytes": 10, "mismatches": 0},
		 {"device": "nvme", "path": "failed", "bytes": 5, "mismatches": 3},
		 {"device": "ahci", "path": "copied", "bytes": 7, "mismatches": 0}]
	E
	echo '[{"on": "brd, 2 threads", "bytes": 77, "mismatches": 5}]' \
		> build/copy.json
	printf '1..3\nok 1 a\nok 2 b # skip c is missing\nnot ok 3 d\n' \
		> build/tap/one.tap
	write
	cover > text
	grep -q 'ordinary direct I/O  4711$' text
	grep -q 'dma-buf  *42$' text
	grep -qE '^  strict +4 KiB x8 +9000 +4500 +- +0.5$' text
	grep -qE '^  met +0.5 <= 0.6 +a$' text
	grep -qE '^  not measured +- <= 1 +b$' text
	grep -qE '^  MISSED +2 <= 1 +c$' text
	grep -qE '^  place +1234 +\+1.5 %$' text
	grep -qx '    dm-linear' text
	grep -q '100 bytes compared, 0 wrong' text
	grep -qE '^  nvme +1 +0 +0 +0$' text
	grep -q 'compared, 3 wrong, 1 failed' text
	grep -q '77 bytes copied, 5 wrong' text
	grep -q '1 runs and boots: 1 tests passed, 1 failed, 1 skipped' text
	grep -q 'failed: one: d' text
	run grep 'not measured here' text
	[ -z "$output" ]
}

@test "a file that is not what the tables expect stops it" {
	echo '{"rows": 1}' > build/bench.json
	run write
	[ "$status" -ne 0 ]
	[[ $output == *"run 'make bench'"* ]]
}

@test "without a series it says what to do" {
	rm -r build/series
	run write
	[ "$status" -ne 0 ]
	[[ $output == *"run 'make series'"* ]]
}

@test "the cover letter fits in a mail" {
	run awk 'length > 75 && !/:\/\//' "$REPO/kern/rfc/cover.txt"
	[ -z "$output" ] || { echo "$output"; false; }
	# Each reference is made, and given.
	for n in $(sed -n 's/^\[\([0-9]*\)\] http.*/\1/p' "$REPO/kern/rfc/cover.txt"); do
		[ "$(grep -c "\[$n\]" "$REPO/kern/rfc/cover.txt")" -ge 2 ]
	done
}

@test "the patches of kern/rfc pass checkpatch" {
	[ -e "$REPO/build/linux/scripts/checkpatch.pl" ] ||
		skip "build/linux is missing"
	SUBMITTER='Jane Doe <jane@doe.example>' write
	cd "$REPO/build/linux"
	# Whoever has no git here cannot be told about licenses.
	for p in "$RFC"/*-Documentation-* "$RFC"/*-MAINTAINERS-*; do
		GIT_DIR=/nonexistent scripts/checkpatch.pl --strict --quiet \
			--no-summary --terse --show-types "$p"
	done
}
