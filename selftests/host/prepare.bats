#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Preparing the kernel tree applies what it should, refuses what it must, and
# never loses a developer's work: on a project and a kernel of a few files.

setup() {
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	unset KERNEL_SHA256
	REPO=$BATS_TEST_DIRNAME/../..
	ROOT=$BATS_TEST_TMPDIR/project
	TREE=$ROOT/build/linux
	mkdir -p "$ROOT/kern/block" "$ROOT/kern/patches" "$ROOT/include/uapi/linux"
	cp "$REPO"/kern/{prepare,hooks,common.sh,BASE} "$ROOT/kern/"
	echo 'int new;' > "$ROOT/kern/block/new.c"
	echo '/* abi */' > "$ROOT/include/uapi/linux/blk-dmabuf.h"
	make_kernel
	cd "$ROOT"
	# No need for gigabytes here.
	sed -i 's/^NEED_GB=.*/NEED_GB=0/' kern/prepare
	export KERNEL_SRC=$BATS_TEST_TMPDIR/linux
}

make_kernel() {
	local dir k=$BATS_TEST_TMPDIR/linux
	for dir in block drivers/nvme drivers/dma-buf drivers/md io_uring \
		include/linux include/uapi/linux include/trace/events fs/iomap \
		lib; do
		mkdir -p "$k/$dir"
		seq 1 20 | sed "s,^,$dir line ," > "$k/$dir/file.c"
	done
	printf '%s\n' 'VERSION = 7' 'PATCHLEVEL = 3' 'SUBLEVEL = 4' 'NAME = x' \
		> "$k/Makefile"
	printf '/*\n' > "$k/.gitignore"
	find "$k" -exec touch -d '2020-01-01' {} +
}

prepare() { kern/prepare --tree; }

# hook FILE LINE TEXT MESSAGE: a commit in build/linux
hook() {
	sed -i "$2s/.*/$3/" "$TREE/$1"
	git -C "$TREE" -c user.name=A -c user.email=a@b commit -qam "$4"
}

@test "the tree has the new files as links, and a second run does nothing" {
	prepare
	[ -L "$TREE/block/new.c" ]
	[ "$(cat "$TREE/block/new.c")" = 'int new;' ]
	[ -L "$TREE/include/uapi/linux/blk-dmabuf.h" ]
	run prepare
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "a new file that is gone loses its link" {
	prepare
	rm kern/block/new.c
	prepare
	[ ! -L "$TREE/block/new.c" ]
}

@test "a new file that the base has already is refused" {
	echo x > kern/block/file.c
	run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"block/file.c exists in the base already"* ]]
}

@test "commits become patches, and patches the same commits again" {
	prepare
	hook block/file.c 3 changed "block: change a line"
	hook drivers/nvme/file.c 5 changed "nvme: change a line"
	kern/hooks save
	kern/hooks check
	[ "$(ls kern/patches | wc -l)" -eq 2 ]
	cp -r kern/patches before
	rm -rf build
	prepare
	kern/hooks check
	diff -r before kern/patches
	[ "$(sed -n 3p "$TREE/block/file.c")" = changed ]
}

@test "other patches touch only the files that differ" {
	prepare
	hook block/file.c 3 changed "block: change a line"
	hook drivers/nvme/file.c 5 changed "nvme: change a line"
	kern/hooks save
	touch -d '2021-01-01' "$TREE/block/file.c"
	sed -i 's/^+changed/+again/' kern/patches/0002-*
	prepare
	[ "$(sed -n 5p "$TREE/drivers/nvme/file.c")" = again ]
	[ "$(stat -c %y "$TREE/block/file.c" | cut -c1-4)" = 2021 ]
}

@test "edits that are not committed are not overwritten" {
	prepare
	echo 'precious' >> "$TREE/block/file.c"
	echo 'From nobody' > kern/patches/0001-x.patch
	run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"uncommitted edits"* ]]
	grep -q precious "$TREE/block/file.c"
}

@test "commits that are not saved are not dropped" {
	prepare
	hook block/file.c 3 precious "block: change a line"
	echo 'From nobody' > kern/patches/0001-x.patch
	run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"commits of its own"* ]]
	grep -q precious "$TREE/block/file.c"
}

@test "a patch that needs fuzz is refused and the tree left alone" {
	prepare
	hook block/file.c 10 changed "block: change a line"
	kern/hooks save
	sed -i 's/^ block line 9$/ block line nine/' kern/patches/0001-*
	run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"do not apply to this kernel"* ]]
	[ "$(sed -n 10p "$TREE/block/file.c")" = changed ]
}

@test "a patch may touch a file that git did not know" {
	prepare
	kern/prepare --track lib/file.c
	hook lib/file.c 4 changed "lib: change a line"
	kern/hooks save
	rm -rf build
	prepare
	[ "$(sed -n 4p "$TREE/lib/file.c")" = changed ]
	kern/hooks check
}

@test "an edit that git does not know is not forgotten when saving" {
	prepare
	sed -i 4s/.*/changed/ "$TREE/lib/file.c"
	run kern/hooks save
	[ "$status" -ne 0 ]
	[[ $output == *"lib/file.c"*"--track"* ]]
	kern/prepare --track lib/file.c
	[ "$(git -C "$TREE" diff --numstat | cut -f3)" = lib/file.c ]
	git -C "$TREE" -c user.name=A -c user.email=a@b commit -qam "lib: x"
	kern/hooks save
	grep -q '^-lib line 4$' kern/patches/0001-lib-x.patch
}

@test "tracking keeps the commits above the base" {
	prepare
	hook block/file.c 3 changed "block: change a line"
	kern/hooks save
	kern/prepare --track lib/file.c
	kern/hooks check
	[ "$(git -C "$TREE" log --format=%s | wc -l)" -eq 2 ]
	run git -C "$TREE" status --porcelain --untracked-files=no
	[ -z "$output" ]
}

@test "hooks over the budget fail" {
	prepare
	seq 1 500 >> "$TREE/block/file.c"
	run kern/hooks stat
	[ "$status" -ne 0 ]
	[[ $output == *"500  of 430 changed lines"* ]]
}

@test "a tarball with another checksum is refused" {
	tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/k.tar.xz" linux
	KERNEL_SRC=$BATS_TEST_TMPDIR/k.tar.xz run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"has sha256"* ]]
	[ ! -e "$TREE" ]
	KERNEL_SRC=$BATS_TEST_TMPDIR/k.tar.xz \
	KERNEL_SHA256=$(sha256sum < "$BATS_TEST_TMPDIR/k.tar.xz" | cut -d' ' -f1) \
		prepare
	[ -e "$TREE/block/file.c" ]
}

@test "a file of a tarball can be tracked after it was edited" {
	tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/k.tar.xz" linux
	KERNEL_SRC=$BATS_TEST_TMPDIR/k.tar.xz \
	KERNEL_SHA256=$(sha256sum < "$BATS_TEST_TMPDIR/k.tar.xz" | cut -d' ' -f1) \
		prepare
	sed -i 4s/.*/changed/ "$TREE/lib/file.c"
	kern/prepare --track lib/file.c
	[ "$(git -C "$TREE" diff --numstat)" = "1	1	lib/file.c" ]
}

@test "a tree of another kernel is refused" {
	sed -i 's/^PATCHLEVEL.*/PATCHLEVEL = 4/' "$KERNEL_SRC/Makefile"
	run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"this is Linux 7.4.4"* ]]
	[ ! -e "$TREE" ]
}

@test "a newer 7.3.x is taken with a word about it" {
	sed -i 's/^SUBLEVEL.*/SUBLEVEL = 9/' "$KERNEL_SRC/Makefile"
	run prepare
	[ "$status" -eq 0 ]
	[[ $output == *"this is 7.3.9"* ]]
}

@test "too little space is said before anything is written" {
	sed -i 's/^NEED_GB=.*/NEED_GB=1000000/' kern/prepare
	run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"make room"* ]]
	[ ! -e "$TREE" ]
}

@test "an interrupted start is started over" {
	mkdir -p build/linux.new/block build/linux
	echo half > build/linux.new/block/file.c
	prepare
	[ "$(wc -l < "$TREE/block/file.c")" -eq 20 ]
}

@test "without network it says what to do" {
	command -v apt-get > /dev/null || skip "apt-get is missing"
	unset KERNEL_SRC
	http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 run prepare
	[ "$status" -ne 0 ]
	[[ $output == *"check the network"* ]]
	[[ $output == *"KERNEL_SRC="* ]]
}

# An archive whose downloads take their time; says when one has begun.
slow_archive() {
	local bin=$BATS_TEST_TMPDIR/bin
	unset KERNEL_SRC
	mkdir -p "$bin"
	cat > "$bin/apt-get" <<-EOF
		#!/bin/bash
		case " \$* " in *" download "*)
			touch "$BATS_TEST_TMPDIR/downloading"
			exec sleep 3 ;;
		esac
	EOF
	printf '#!/bin/bash\necho "p | %s | archive"\n' \
		"$(sed -n 's/^version=//p' kern/BASE)" > "$bin/apt-cache"
	chmod +x "$bin"/*
	PATH=$bin:$PATH
}

# interrupt SIGNAL: kern/prepare alone, without its children, during a download
interrupt() {
	local pid
	"$ROOT/kern/prepare" --tree > out 2>&1 &
	pid=$!
	for _ in {1..100}; do
		[ ! -e "$BATS_TEST_TMPDIR/downloading" ] || break
		sleep 0.1
	done
	kill "-$1" $pid
	wait $pid || :
	rm "$BATS_TEST_TMPDIR/downloading"
}

# What reported the progress of a download used to hold the lock for ever when
# only the script was killed.
@test "a download that was interrupted does not block the next run" {
	command -v apt-get > /dev/null || skip "apt-get is missing"
	slow_archive
	for signal in TERM KILL; do
		interrupt $signal
		flock -w 10 build/prepare.lock true
	done
}

@test "a download that was terminated leaves nothing running" {
	command -v apt-get > /dev/null || skip "apt-get is missing"
	slow_archive
	interrupt TERM
	# apt is let go on to its end.
	for _ in {1..100}; do
		pgrep -f "$ROOT/kern/prepare" || break
		sleep 0.1
	done
	run pgrep -f "$ROOT/kern/prepare"
	[ -z "$output" ]
}

@test "a run that waits for another one says so" {
	mkdir -p build
	flock build/prepare.lock sleep 2 &
	sleep 0.5
	run prepare
	[ "$status" -eq 0 ]
	[[ $output == *"waiting"* ]]
	[ -e "$TREE/block/file.c" ]
}

# ---- what is built of it ----------------------------------------------------

# 'make demo' on a new machine: only 'make modules' makes the linker's script.
@test "the modules of the tests build where no others were built" {
	cd "$REPO"
	[ -e build/kernel/vmlinux ] || skip "no kernel has been built"
	rm -f build/kernel/scripts/module.lds build/kernel/kmod/memnic.ko
	kern/build kernel kmod
	[ -e build/kernel/kmod/memnic.ko ]
}
