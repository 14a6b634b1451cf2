#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What `make install` puts somewhere works there: the library links with what
# pkg-config says, only its own names are visible, and `make uninstall` leaves
# nothing behind.

load host

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.."
	export DEST=$BATS_FILE_TMPDIR/dest
	make -s install DESTDIR="$DEST" PREFIX=/usr
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	export PKG_CONFIG_PATH=$DEST/usr/lib/pkgconfig
	export PKG_CONFIG_SYSROOT_DIR=$DEST
	LIBBPF=build/bpftool/libbpf
}

@test "tool, library, headers, pages, completion, examples and policies are there" {
	for f in bin/blkdmabufctl lib/libblkdmabuf.a lib/libblkdmabuf.so.1 \
		lib/libblkdmabuf.so include/libblkdmabuf.h \
		include/linux/blk-dmabuf.h include/blkdmabuf.bpf.h \
		share/man/man8/blkdmabufctl.8 share/man/man7/blkdmabuf-policies.7 \
		share/man/man4/blk-dmabuf.4 share/man/man3/libblkdmabuf.3 \
		share/bash-completion/completions/blkdmabufctl \
		share/zsh/site-functions/_blkdmabufctl \
		share/doc/blkdmabuf/examples/roundtrip.c; do
		[ -s "$DEST/usr/$f" ] || { echo "$f"; false; }
	done
	ls "$DEST"/usr/lib/blkdmabuf/*.bpf.o
}

@test "there is a page under the name of each function, and of the device" {
	command -v man > /dev/null || skip "no man"
	names=$(sed -n 's/^\t\t\(blkdmabuf_[a-z_]*\);$/\1/p' user/lib/libblkdmabuf.map)
	[ "$(wc -w <<< "$names")" -gt 40 ]
	for name in $names blkdmabuf; do
		MANWIDTH=80 man -M "$DEST/usr/share/man" -P cat "$name" \
			> "$BATS_TEST_TMPDIR/page"
		grep -q "\<$name\>" "$BATS_TEST_TMPDIR/page" ||
			{ echo "$name"; false; }
	done
}

@test "the installed tool runs" {
	"$DEST/usr/bin/blkdmabufctl" --help > /dev/null
}

# Those that load policies want libbpf as well, newer than some distributions
# have it: the one that was built stands for it.
@test "each example builds as its head says" {
	export CPATH=$PWD/$LIBBPF/include LIBRARY_PATH=$PWD/$LIBBPF
	cp "$DEST"/usr/share/doc/blkdmabuf/examples/* "$BATS_TEST_TMPDIR"
	cd "$BATS_TEST_TMPDIR"
	for f in *.c; do
		command=$(sed -n 's/^ \*   \(cc .*\)/\1/p' "$f")
		case $f,$command in
		*.bpf.c,*) continue ;;
		*-lbpf) command="$command -lelf -lz" ;;
		*,) echo "$f says nothing"; false ;;
		esac
		echo "$command"
		eval "$command -Wall -Werror -o ${f%.c}"
	done
	for f in roundtrip read-file checkpoint share kv-cache; do
		readelf -d $f | grep -q 'NEEDED.*libblkdmabuf.so.1'
	done
	LD_LIBRARY_PATH=$DEST/usr/lib ldd roundtrip |
		grep -q 'libblkdmabuf.so.1 => /'
}

@test "the policy among the examples builds as its loader's head says" {
	need_clang
	export CPATH=$PWD/$LIBBPF/include:$DEST/usr/include
	cp build/vmlinux.h user/examples/own-policy.bpf.c "$BATS_TEST_TMPDIR"
	command=$(sed -n 's/^ \*   clang //p' user/examples/own-policy.c)
	[ -n "$command" ]
	cd "$BATS_TEST_TMPDIR"
	# shellcheck disable=SC2086
	"$CLANG" -Wall -Werror $command
	[ -s own-policy.bpf.o ]
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
	run nm -D --defined-only "$DEST/usr/lib/libblkdmabuf.so.1"
	[ "$status" -eq 0 ]
	[ -n "$output" ]
	run grep -vE ' [TAR] (blkdmabuf_[a-z_0-9]*@@)?[A-Z]*BLKDMABUF_[0-9.]+' <<< "$output"
	[ -z "$output" ] || { echo "$output"; false; }
}

@test "uninstall removes what was installed, and nothing else" {
	cp -r "$DEST" "$BATS_TEST_TMPDIR/dest"
	cd "$BATS_TEST_TMPDIR/dest/usr"
	# Of somebody else, in each directory.
	find . -type d -exec touch {}/other \;
	find . -type f -name other | sort > "$BATS_TEST_TMPDIR/others"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/others")" -gt 10 ]
	cd "$BATS_TEST_DIRNAME/../.."
	make -s uninstall DESTDIR="$BATS_TEST_TMPDIR/dest" PREFIX=/usr
	cd "$BATS_TEST_TMPDIR/dest/usr"
	find . ! -type d | sort | diff "$BATS_TEST_TMPDIR/others" -
}

@test "uninstall leaves no directory of its own behind" {
	cp -r "$DEST" "$BATS_TEST_TMPDIR/dest"
	make -s uninstall DESTDIR="$BATS_TEST_TMPDIR/dest" PREFIX=/usr
	run find "$BATS_TEST_TMPDIR/dest" ! -type d -o -name '*blkdmabuf*'
	[ -z "$output" ] || { echo "$output"; false; }
}
