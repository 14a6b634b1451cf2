#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What blkdmabufctl says about itself is one story: its tables, help, manual
# page and completion agree, and errors in the command line are exit status 2
# with nothing on standard output that does not belong there. Needs no VM.

setup() {
	root=$BATS_TEST_DIRNAME/../..
	ctl=${BLKDMABUFCTL:-$root/build/user/blkdmabufctl}
	man=$root/user/man/blkdmabufctl.8
	lib=$root/user/lib/libblkdmabuf
	abi=$root/include/uapi/linux/blk-dmabuf.h
	[ -x "$ctl" ]
	cd "$BATS_TEST_TMPDIR" || exit
}

# Standard output and standard error apart, which run mixes.
apart() {
	status=0
	"$@" >out 2>err </dev/null || status=$?
}

tables() {
	"$ctl" -j --help | jq -r "$1"
}

# each_command FUNCTION: called with the words of each command
each_command() {
	local words
	while read -r words; do
		# shellcheck disable=SC2086
		"$1" $words
	done < <(tables '.commands[].name')
}

# same WHAT: the files "is" and "should" hold the same lines.
same() {
	sort -u is > is.sorted
	sort -u should > should.sorted
	[ -s should ]
	diff is.sorted should.sorted || { echo "# $1 differ" >&2; false; }
}

@test "the manual page has the commands of the program" {
	tables '.commands[].name' > should
	sed -n 's/^\.It \(Xo \)\?Cm \([a-z ]*[a-z]\).*/\2/p' "$man" |
		sed 's/ Op$//' > is
	same commands
}

@test "the manual page has the options of the program" {
	tables '(.options, .commands[].options)[] | "--" + .name' > should
	tables '(.options, .commands[].options)[] | .letter | select(.) |
		"-" + .' >> should
	grep '^\.It.*Fl' "$man" | grep -o 'Fl -\?[a-z][a-z0-9-]*' |
		sed 's/Fl /-/' > is
	same options
}

@test "the manual page is without mistakes" {
	command -v mandoc >/dev/null || skip "no mandoc"
	# Which other pages are there depends on the machine.
	mandoc -Tlint "$man" 2>/dev/null | grep -v 'referenced manual' > is ||
		true
	cat is >&2
	[ ! -s is ]
}

options_in_help() {
	apart "$ctl" "$@" --help
	[ "$status" -eq 0 ]
	[ ! -s err ]
	tables ".commands[] | select(.name == \"$*\") |
		(.options[] | \"--\" + .name)" > should
	tables '.options[] | "--" + .name' >> should
	grep -o '^  ... *--[a-z0-9-]*' out | grep -o -e '--.*' > is
	same "options of $*"
}

@test "help of each command has its options, on standard output" {
	each_command options_in_help
}

@test "help has all commands" {
	"$ctl" --help | sed -n 's/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p' > is
	tables '.commands[].name' > should
	same commands
}

@test "help of a group has its commands and no others" {
	"$ctl" policy --help |
		sed -n 's/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p' > is
	tables '.commands[].name' | grep '^policy ' > should
	same commands
}

@test "completion offers the commands" {
	"$ctl" __complete "" > is
	tables '.commands[].name | split(" ")[0]' > should
	same commands
	[ "$(wc -l < is)" -eq "$(wc -l < is.sorted)" ]
	"$ctl" __complete policy "" > is
	tables '.commands[].name | split(" ") | select(.[1])[1]' > should
	same "commands of the group"
}

options_completed() {
	"$ctl" __complete "$@" -- > is
	tables ".commands[] | select(.name == \"$*\") |
		(.options[] | \"--\" + .name)" > should
	tables '.options[] | "--" + .name' >> should
	same "options of $*"
}

@test "completion offers the options of a command and no others" {
	each_command options_completed
}

@test "completion offers policies where one is wanted" {
	"$ctl" __complete policy load "" > is
	(cd "$root/bpf" && ls -- *.bpf.c) | sed 's/\.bpf\.c$//' > should
	same policies
	[ "$("$ctl" __complete policy swap x str)" = stripe ]
	[ "$("$ctl" __complete policy load -s a=b ste)" = steer ]
	[ -z "$("$ctl" __complete policy load stripe "")" ]
}

@test "completion knows that an option takes a value" {
	"$ctl" __complete read /dev/x --length "" > is
	[ ! -s is ]
	[ "$("$ctl" __complete --pin x lis)" = list ]
	[ "$("$ctl" __complete read --length=4K --off)" = --offset ]
}

@test "completion offers devices below /dev, and leaves files to the shell" {
	[ -n "$(ls /sys/class/block)" ] || skip "no block devices"
	for command in check register list read write "copy x" receive send \
		stat top; do
		# shellcheck disable=SC2086
		"$ctl" __complete $command /dev/ > is
		(cd /sys/class/block && ls) | sed 's|^|/dev/|' > should
		same "devices of $command"
		for word in "" / /etc/pass ./x; do
			# shellcheck disable=SC2086
			[ -z "$("$ctl" __complete $command "$word")" ]
		done
	done
}

@test "bash gets the same from the completion script" {
	cat > script <<-END
	. $root/user/ctl/blkdmabufctl.bash
	COMP_WORDS=(blkdmabufctl unm) COMP_CWORD=1
	_blkdmabufctl $ctl
	echo "\${COMPREPLY[*]}"
	END
	[ "$(bash script)" = unmap ]
}

@test "a wrong command line exits with 2 and says so on standard error" {
	while read -r line; do
		# shellcheck disable=SC2086
		apart "$ctl" $line
		echo "# $line: $status" >&2
		[ "$status" -eq 2 ]
		[ ! -s out ]
		[ "$(wc -l < err)" -eq 1 ]
		grep -q '; try: ' err
	done < <(wrong)
}

@test "a wrong command line under -j is JSON on standard output" {
	while read -r line; do
		# shellcheck disable=SC2086
		apart "$ctl" -j $line
		echo "# $line: $status" >&2
		[ "$status" -eq 2 ]
		[ ! -s err ]
		jq -e '.error | .what and .advice and has("object") and
			has("errno") and has("code") and has("reason")' out
	done < <(wrong)
}

wrong() {
	cat <<-'END'

	frobnicate
	list --frobnicate
	list -x
	list --length 4K
	list a b
	--length 4K
	show
	show x
	show 0
	show 99999999999
	unregister
	unregister nothing
	copy /dev/null
	copy /dev/null -
	copy - /dev/null
	policy
	policy frobnicate
	policy load
	policy load a b
	policy load a -s
	policy load a -s --as
	policy load a --as
	policy load a --keep-maps
	policy attach a
	policy attach none /dev/null
	policy swap a
	policy show
	policy list a
	list -s a=b
	-s a=b policy load a
	stat --interval 0
	stat --count 0
	top --interval x
	register
	register /dev/null
	register /dev/null --udmabuf
	register /dev/null --udmabuf 4Q
	register /dev/null --udmabuf -4
	register /dev/null --udmabuf 99999999999999999999
	register /dev/null --udmabuf 16777216T
	register /dev/null --udmabuf 4K --fd 3
	register /dev/null --pid 1
	register /dev/null --fd x
	register /dev/null --heap system:4K --hugetlb
	register /dev/null --no-map=1 --udmabuf 4K
	read /dev/null
	read /dev/null --to x --id 1
	read /dev/null --to x --buf-offset 4K
	read /dev/null --id 1 --hugetlb
	read /dev/null --to x --depth 0
	read /dev/null --to x --depth 99999
	read /dev/null --to x --block-size 1
	read /dev/null --to x --block-size 1T
	read ./x --to y --create
	register ./x --udmabuf 4K --create
	write /dev/null --to x
	write /dev/null --from
	write ./x --create
	check --queue 1
	receive ./x --create
	receive ./x --listen :5201
	receive ./x --netdev lo
	receive ./x --listen 5201 --netdev lo
	receive ./x --listen : --netdev lo
	receive ./x --listen :1 --netdev lo --engine x
	receive ./x --listen :1 --netdev lo --queues 0
	receive ./x --listen :1 --netdev lo --queues 2 --engine zcrx
	receive ./x --listen :1 --netdev lo --udmabuf 4M --heap system:4M
	receive ./x --listen :1 --netdev lo --pid 1
	receive ./x --listen :1 --netdev lo --hugetlb
	receive ./x --listen :1 --netdev lo --block-size 32M
	receive ./x --listen :1 --netdev lo --length 0
	receive ./x --connect 127.0.0.1:1 --netdev lo
	send ./x --netdev lo
	send ./x --connect :1 --netdev lo
	send ./x --connect 127.0.0.1 --netdev lo
	send ./x --connect 127.0.0.1:1
	send ./x --connect 127.0.0.1:1 --netdev lo --no-copy
	send ./x --connect 127.0.0.1:1 --netdev lo --depth 0
	END
}

@test "-j is heard wherever it stands" {
	for args in "-j nope" "nope -j" "--json nope" "nope --json" "-hj" \
		"policy -j nope" "policy load a b -j"; do
		# shellcheck disable=SC2086
		apart "$ctl" $args
		[ ! -s err ]
		jq -e . out
	done
}

@test "what -s takes is no option" {
	apart "$ctl" policy load a b -sj=1
	[ ! -s out ]
	[ "$status" -eq 2 ]
}

@test "data and JSON do not share standard output" {
	apart "$ctl" -j read /dev/null --to -
	[ "$status" -eq 2 ]
	jq -e .error out
}

@test "the version is the same in text and JSON" {
	[ "blkdmabufctl $("$ctl" -j --version | jq -r .version)" = \
	  "$("$ctl" --version)" ]
}

@test "on a kernel without the feature each command says so" {
	[ ! -e /dev/blkdmabuf ] || skip "this kernel has /dev/blkdmabuf"
	while read -r line; do
		# shellcheck disable=SC2086
		apart "$ctl" $line
		echo "# $line: $status" >&2
		[ "$status" -eq 1 ]
		[ ! -s out ]
		grep -q '/dev/blkdmabuf.*; try: .*CONFIG_BLK_DMABUF' err
		# shellcheck disable=SC2086
		apart "$ctl" -j $line
		[ "$status" -eq 1 ]
		[ ! -s err ]
		jq -e '.error.code == "ENOENT"' out
	done <<-'END'
	register /dev/null --udmabuf 4K
	unregister 1
	map 1
	unmap 1
	list
	show 1
	policy load stripe
	policy attach a /dev/null
	policy swap a b
	policy detach /dev/null
	policy unload a
	policy list
	policy show a
	stat
	top
	read /dev/null --to x
	write /dev/null --from x
	copy x /dev/null/x
	register /etc/passwd --udmabuf 4K
	read /etc/passwd --to x
	write x --from /etc/passwd --create
	copy /etc/passwd x --create
	receive x --create --listen :1 --netdev lo
	send /etc/passwd --connect 127.0.0.1:1 --netdev lo
	END
	[ ! -e x ]
}

@test "check of a file says what file system it is on, on any kernel" {
	[ ! -e /dev/blkdmabuf ] || skip "this kernel has /dev/blkdmabuf"
	command -v findmnt >/dev/null || skip "no findmnt"
	echo x > file
	apart "$ctl" check file
	cat out
	[ "$status" -eq 1 ]
	grep -q "^filesystem  *-  *$(findmnt -n -o FSTYPE -T file)[ ,]" out
	grep -q '^direct-io  ' out
	grep -q '^file  *?  *not tried: /dev/blkdmabuf' out
	apart "$ctl" -j check file
	[ ! -s err ]
	jq -e '.checks[] | select(.name == "file") | .ok == null' out
	# Of a device there is nothing of that to tell.
	apart "$ctl" check
	! grep -e '^filesystem' -e '^file' out || false
}

@test "what is neither device nor file is told from what is not there" {
	for path in /dev/null .; do
		apart "$ctl" check $path
		[ "$status" -eq 1 ]
		[ ! -s out ]
		grep -q "open $path: .*neither a block device nor a file" err
	done
	apart "$ctl" check ./nothing
	[ "$status" -eq 1 ]
	grep -q 'open ./nothing: No such file' err
	apart "$ctl" -j check /dev/null
	jq -e '.error | .code == "ENOTBLK" and .reason == "NO_DEVICE"' out
}

@test "check tells what an unpatched kernel lacks" {
	[ ! -e /dev/blkdmabuf ] || skip "this kernel has /dev/blkdmabuf"
	apart "$ctl" check
	[ "$status" -eq 1 ]
	grep -q '^kernel  *no  *.*CONFIG_BLK_DMABUF' out
	# Whatever is wrong, or may be, there is something to try.
	echo x > file
	apart "$ctl" check file
	grep '^[a-z-]*  *\(no\|?\)  ' out > wrong
	! grep -v '; try: .' wrong || false
	[ "$(wc -l < wrong)" -gt 3 ]
	apart "$ctl" -j check
	[ "$status" -eq 1 ]
	[ ! -s err ]
	jq -e '.usable == false and (.checks | length) > 3' out
}

@test "check of a network device says what it is like, on any kernel" {
	[ -e /sys/class/net/lo ] || skip "no lo"
	apart "$ctl" check --netdev lo
	cat out
	[ "$status" -eq 1 ]
	grep -q '^nic  *-  *lo, driver' out
	apart "$ctl" -j check --netdev none-such
	[ "$status" -eq 1 ]
	[ ! -s err ]
	jq -e '.checks[] | select(.name == "nic") |
		.ok == false and .object == "none-such"' out
}

@test "what cannot be written to standard output is an error" {
	[ -e /dev/full ]
	status=0
	"$ctl" --help >/dev/full 2>err || status=$?
	[ "$status" -eq 1 ]
	grep -q 'standard output' err
}

@test "each reason of the ABI has words in the library" {
	sed -n 's/^\tBLK_DMABUF_\([A-Z_0-9]*\)\t*= [0-9]*,$/\1/p' "$abi" |
		grep -v -e '^UNMAPPED$' -e '^LIVE$' -e '^DEAD$' \
			-e '^CMD_' -e '^PATH_' -e '^IOMMU_' > should
	sed -n 's/^\tREASON(\([A-Z_0-9]*\),.*/\1/p' "$lib.c" > is
	same reasons
}

# words_of PREFIX ARRAY: each constant with it is in the array of the library
words_of() {
	sed -n "s/^\tBLK_DMABUF_\($1_[A-Z_0-9]*\)\t*= [0-9]*,\$/\1/p" "$abi" > should
	sed -n "s/^\t\[BLK_DMABUF_\($1_[A-Z_0-9]*\)\].*/\1/p" "$lib.c" > is
	same "$1"
}

@test "each path and each mode of the IOMMU has words in the library" {
	words_of PATH
	words_of IOMMU
}

@test "the version map has each function of the header" {
	tr '\n' ' ' < "$lib.h" | grep -o 'blkdmabuf_[a-z_]*([^)]*);' |
		sed 's/(.*//' > should
	sed -n 's/^\t\t\(blkdmabuf_[a-z_]*\);$/\1/p' "$lib.map" > is
	same functions
}
