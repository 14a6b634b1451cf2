#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What `make install` puts somewhere works there: the library links with what
# pkg-config says, only its own names are visible, and `make uninstall` leaves
# nothing behind.

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.."
	export DEST=$BATS_FILE_TMPDIR/dest
	make -s install DESTDIR="$DEST" PREFIX=/usr
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	export PKG_CONFIG_PATH=$DEST/usr/lib/pkgconfig
	export PKG_CONFIG_SYSROOT_DIR=$DEST
}

@test "tool, library, headers, manual page, completion and policies are there" {
	for f in bin/blkdmabufctl lib/libblkdmabuf.a lib/libblkdmabuf.so.0 \
		lib/libblkdmabuf.so include/libblkdmabuf.h \
		include/linux/blk-dmabuf.h share/man/man8/blkdmabufctl.8 \
		share/bash-completion/completions/blkdmabufctl \
		share/doc/blkdmabuf/examples/roundtrip.c; do
		[ -e "$DEST/usr/$f" ] || { echo "$f"; false; }
	done
	ls "$DEST"/usr/lib/blkdmabuf/*.bpf.o
}

@test "the installed tool runs" {
	"$DEST/usr/bin/blkdmabufctl" --help > /dev/null
}

# Those that load policies want libbpf as well, which not every machine has.
@test "each example builds as its head says" {
	cd "$DEST/usr/share/doc/blkdmabuf/examples"
	for f in *.c; do
		command=$(sed -n 's/^ \*   \(cc .*\)/\1/p' "$f")
		case $f,$command in
		*.bpf.c,*) continue ;;
		*-lbpf*) pkg-config --exists libbpf || continue ;;
		*,) echo "$f says nothing"; false ;;
		esac
		eval "$command -Wall -Werror -o $BATS_TEST_TMPDIR/${f%.c}"
	done
	cd "$BATS_TEST_TMPDIR"
	for f in roundtrip read-file checkpoint share; do
		readelf -d $f | grep -q 'NEEDED.*libblkdmabuf.so.0'
	done
	LD_LIBRARY_PATH=$DEST/usr/lib ldd roundtrip |
		grep -q 'libblkdmabuf.so.0 => /'
}

@test "the example builds with what pkg-config says, static" {
	cd "$BATS_TEST_TMPDIR"
	# shellcheck disable=SC2046
	gcc -Wall -D_GNU_SOURCE -static -o example \
		"$BATS_TEST_DIRNAME/../../user/examples/roundtrip.c" \
		$(pkg-config --static --cflags --libs libblkdmabuf)
	run readelf -d example
	[[ $output == *"no dynamic section"* ]]
	run ./example
	[[ $output == *"usage: "* ]]
}

@test "the library shows its own names alone, with a version" {
	run nm -D --defined-only "$DEST/usr/lib/libblkdmabuf.so.0"
	[ "$status" -eq 0 ]
	[ -n "$output" ]
	run grep -vE ' [TAR] (blkdmabuf_[a-z_0-9]*@@)?[A-Z]*BLKDMABUF_[0-9.]+' <<< "$output"
	[ -z "$output" ] || { echo "$output"; false; }
}

@test "uninstall leaves nothing behind" {
	cp -r "$DEST" "$BATS_TEST_TMPDIR/dest"
	make -s uninstall DESTDIR="$BATS_TEST_TMPDIR/dest" PREFIX=/usr
	run find "$BATS_TEST_TMPDIR/dest" ! -type d
	[ -z "$output" ]
}
