#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The Debian packages are in order, work on a machine that has nothing but what they
# ask for, and leave nothing on it when they are purged.

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.."
	command -v dh > /dev/null || return 0
	make -s user
	git status --porcelain --ignored > "$BATS_FILE_TMPDIR/before"
	touch "$BATS_FILE_TMPDIR/now"
	make -s deb
	git status --porcelain --ignored > "$BATS_FILE_TMPDIR/after"
}

# people KEY VALUE: one more of what build/people.json says of the packages
people() { printf '{"deb":{"%s":%s}}\n' "$1" "$2" > "build/people-deb-$1.json"; }

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	command -v dh > /dev/null || skip "debhelper is missing"
	DEB=$PWD/build/deb
	VERSION=$(sed -n 's/^VERSION := //p' Makefile)
}

package() { echo "$DEB/$1_${VERSION}_amd64.deb"; }

# has PACKAGE FILE...: with such a path, a pattern, in it
has() {
	local file
	dpkg-deb -c "$(package "$1")" > "$BATS_TEST_TMPDIR/list"
	for file in "${@:2}"; do
		grep -q " \./$file\( -> .*\)\?$" "$BATS_TEST_TMPDIR/list" ||
			{ echo "$1 has no $file"; return 1; }
	done
}

@test "three packages, with the Makefile's version, hold what they should" {
	people packages "$(find "$DEB" -maxdepth 1 -name '*.deb' | wc -l)"
	[ "$(find "$DEB" -maxdepth 1 -name '*.deb' | wc -l)" -eq 3 ]
	has blkdmabuf usr/bin/blkdmabufctl usr/lib/blkdmabuf/minimal.bpf.o \
		usr/share/man/man8/blkdmabufctl.8.gz \
		usr/share/man/man7/blkdmabuf-policies.7.gz \
		usr/share/man/man4/blk-dmabuf.4.gz \
		usr/share/bash-completion/completions/blkdmabufctl \
		usr/share/zsh/vendor-completions/_blkdmabufctl
	has libblkdmabuf1 'usr/lib/.*/libblkdmabuf.so.1'
	has libblkdmabuf-dev 'usr/lib/.*/libblkdmabuf.so' \
		'usr/lib/.*/libblkdmabuf.a' usr/include/libblkdmabuf.h \
		usr/include/linux/blk-dmabuf.h usr/include/blkdmabuf.bpf.h \
		usr/share/man/man3/libblkdmabuf.3.gz \
		usr/share/doc/libblkdmabuf-dev/examples/roundtrip.c
	for f in bpf/*.bpf.c; do
		f=${f##*/}
		has blkdmabuf "usr/lib/blkdmabuf/${f%.c}.o"
	done
}

@test "lintian finds nothing" {
	command -v lintian > /dev/null || skip "lintian is missing"
	run lintian --allow-root "$DEB"/*.deb
	echo "$output"
	people lintian_errors "$(grep -c '^[EW]:' <<< "$output")"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "every lintian tag that is overridden has its reason above it" {
	run awk '!/^#/ && !reason { print FILENAME ": " $0; bad = 1 }
		{ reason = /^#/ || reason && NF }
		END { exit bad }' packaging/debian/*.lintian-overrides
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "the symbols file has the names of the map file, and no others" {
	dpkg-deb -I "$(package libblkdmabuf1)" symbols |
		sed -n 's/^ \(blkdmabuf_[a-z_0-9]*\)@.*/\1/p' | sort \
		> "$BATS_TEST_TMPDIR/symbols"
	[ -s "$BATS_TEST_TMPDIR/symbols" ]
	sed -n 's/^\t*\(blkdmabuf_[a-z_0-9]*\);/\1/p' user/lib/libblkdmabuf.map |
		sort | diff - "$BATS_TEST_TMPDIR/symbols"
}

@test "making them writes nothing outside build/, and no object of make user" {
	diff "$BATS_FILE_TMPDIR/before" "$BATS_FILE_TMPDIR/after"
	run find build/user build/bpf build/bpftool -type f \
		-newer "$BATS_FILE_TMPDIR/now"
	[ -z "$output" ] || { echo "$output"; false; }
}

# files: those in the chroot that are not somebody's log or cache
files() {
	(cd "$ROOT" && find . -path ./proc -prune -o -path ./sys -prune -o \
		-path ./dev -prune -o -path ./var/log -prune -o \
		-path ./var/cache -prune -o -path ./var/lib/dpkg -prune -o \
		-path ./tmp -prune -o -name ld.so.cache -prune -o -print | sort)
}

inside() { chroot "$ROOT" env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin "$@"; }

@test "in a clean Debian they install, work, and leave nothing when purged" {
	local reason
	ROOT=$BATS_TEST_TMPDIR/root
	reason=$(packaging/chroot "$ROOT" 2>&1 > /dev/null) ||
		{ people install '"not tried"'; skip "${reason#packaging/chroot: }"; }
	files > "$BATS_TEST_TMPDIR/before"
	cp "$DEB"/*.deb "$ROOT/tmp"
	inside sh -c 'dpkg -i /tmp/*.deb'
	inside blkdmabufctl --version | grep -F "$VERSION"
	# Shared and static, as the heads of the examples say.
	inside sh -c 'cd /tmp && examples=/usr/share/doc/libblkdmabuf-dev/examples
		cc -Wall -Werror -D_GNU_SOURCE -o shared $examples/roundtrip.c \
			$(pkg-config --cflags --libs libblkdmabuf) -luring &&
		cc -Wall -Werror -D_GNU_SOURCE -o static $examples/roundtrip.c \
			-static $(pkg-config --static --cflags --libs libblkdmabuf) &&
		ldd shared' | grep 'libblkdmabuf.so.1 => /'
	for program in shared static; do
		run inside /tmp/$program
		[[ $output == *"usage: "* ]]
	done
	people install '"ok"'
	inside dpkg --purge blkdmabuf libblkdmabuf-dev libblkdmabuf1
	run inside dpkg -l
	[[ $output != *blkdmabuf* ]]
	files | diff "$BATS_TEST_TMPDIR/before" -
	people remove '"ok"'
}
