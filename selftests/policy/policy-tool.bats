#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# blkdmabufctl policy: what it loads is what bpftool would load, with knobs set
# by name; it shows what the kernel runs, whoever loaded it; and what it cannot
# do leaves everything as it was.
#
# vm: iommu=strict nvme=2 cpus=4

load ../lib

FS=/sys/fs/bpf
PIN=$FS/blkdmabuf
PUPPET=$TOP/build/selftests/bpf/puppet.bpf.o
KNOBS=$TOP/build/selftests/bpf/knobs.bpf.o

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	DEV=$(disk 0)
	ATTR=/sys/block/${DEV##*/}/queue/dmabuf_policy
}

teardown() {
	rm -rf "${FS:?}"/*
	wait_until 10 nothing_left
}

nothing_left() {
	[ "$(cat "$ATTR")" = '[none]' ] && empty list && empty policy list
}

# empty COMMAND: it lists nothing
empty() { [ "$("$CTL" -j "$@" | jq length)" -eq 0 ]; }

selected() { grep -qF "[$1]" "$ATTR"; }

# shows NAME JQ: it is true of what 'policy show' says
shows() {
	"$CTL" -j policy show "$1" > shown
	jq -e "$2" shown || { cat shown; false; }
}

# read_some [MiB]: 64 KiB at a time
read_some() {
	"$CTL" -j read "$DEV" --to /dev/null --length "${1:-1}M" \
		--block-size 64K --depth 1 > /dev/null
}

@test "load, attach, detach, unload: the policy works in between" {
	"$CTL" policy load "$PUPPET"
	[ -e "$PIN/policy/puppet/link" ]
	selected none
	read_some
	shows puppet '.state.places == 0 and .disks == []'
	[ "$("$CTL" policy attach puppet "$DEV")" = "${DEV##*/}: puppet" ]
	selected puppet
	read_some
	# One more: the first finds nothing mapped, and is placed again.
	shows puppet '.state.places - .state.again == 16'
	shows puppet '.state.map_queues == 16 and .state.completes >= 16'
	shows puppet ".disks == [\"${DEV##*/}\"] and .state.inits == 1"
	"$CTL" policy detach "$DEV"
	selected none
	read_some
	shows puppet '.state.places - .state.again == 16 and .state.exits == 1'
	# In sysfs' words.
	"$CTL" policy select puppet "$DEV"
	selected puppet
	"$CTL" policy select none "$DEV"
	selected none
	fails 1 nobody "no such" -- policy select nobody "$DEV"
	"$CTL" -j policy unload puppet | jq -e '.unloaded == "puppet"'
	[ ! -e "$PIN/policy/puppet" ]
	fails 1 puppet "no such" -- policy show puppet
}

@test "a policy of the library is found by its name, and in a directory of one's own" {
	"$CTL" policy load stripe -s chunk=64K -s named=yes
	shows stripe '.knobs == {"chunk":65536,"width":0,"named":true}'
	shows stripe '.members == ["init","place"]'
	cp "$TOP/build/bpf/near.bpf.o" mine.bpf.o
	BLKDMABUF_POLICIES=$PWD "$CTL" policy load mine
	shows near '.object == "near" and (.maps[0].name == "disks")'
	[ -e "$PIN/policy/near/disks" ]
	# Who happens to be in a directory does not mean what is there.
	fails 1 mine BLKDMABUF_POLICIES -- policy load mine
	fails 1 nosuch BLKDMABUF_POLICIES -- policy load nosuch
	fails 1 ./nosuch "make bpf" -- policy load ./nosuch.bpf.o
}

@test "knobs of every kind are set, and shown as they are" {
	"$CTL" policy load "$KNOBS"
	shows knobs '.knobs == {"small":1,"little":-1,"medium":2,"negative":-3,
		"large":4,"flag":false,"colour":"RED","text":"abc",
		"many":"[1,2,3,4,]","pair":"{5,6,}"}'
	"$CTL" policy unload knobs
	"$CTL" policy load "$KNOBS" -s small=255 -s little=-128 \
		--set medium=0x10 --set=negative=-2147483648 -s large=15E \
		-sflag=on -s colour=GREEN -s text=abcdefg -s 'many[3]=1K'
	shows knobs '.knobs == {"small":255,"little":-128,"medium":16,
		"negative":-2147483648,"large":17293822569102704640,"flag":true,
		"colour":"GREEN","text":"abcdefg",
		"many":"[1,2,3,1024,]","pair":"{5,6,}"}'
}

@test "the program sees the knobs that were set" {
	"$CTL" policy load "$KNOBS" -s small=100 -s 'many[0]=1000' -s colour=BLUE
	"$CTL" policy attach knobs "$DEV"
	# 1 - 1 + 2 - 3 + 4 + 0 + 0 + 'a' + 5 + 6 + 9 + 8 + 1 + 2 + 3 + 4
	shows knobs ".state.sum == $((1 - 1 + 2 - 3 + 4 + 97 + 11 + 17 + 10 +
		99 + 999 - 2))"
}

@test "a knob that is not there, or a value that does not fit, loads nothing" {
	fails 2 nope "chunk, width, named" -- policy load stripe -s nope=1
	fails 2 chunk 32 -- policy load stripe -s chunk=4G
	fails 2 chunk -- policy load stripe -s chunk=-1
	fails 2 chunk -- policy load stripe -s chunk=
	fails 2 chunk -- policy load stripe -s chunk=64Q
	fails 2 named true -- policy load stripe -s named=2
	fails 2 little signed -- policy load "$KNOBS" -s little=128
	fails 2 little signed -- policy load "$KNOBS" -s little=-129
	fails 2 small unsigned -- policy load "$KNOBS" -s small=256
	fails 2 text 7 -- policy load "$KNOBS" -s text=abcdefgh
	fails 2 'below 4' -- policy load "$KNOBS" -s many=1
	fails 2 element -- policy load "$KNOBS" -s 'many[4]=1'
	fails 2 element -- policy load "$KNOBS" -s 'small[0]=1'
	fails 2 colour enum -- policy load "$KNOBS" -s colour=PINK
	fails 2 pair -- policy load "$KNOBS" -s pair=1
	fails 2 constant -- policy load "$KNOBS" -s constant=1
	fails 2 private -- policy load "$KNOBS" -s private=1
	nothing_left
	[ ! -e "$PIN/policy/knobs" ]
}

@test "a policy under another name is told by its object" {
	"$CTL" policy load stripe --as bulk
	"$CTL" policy load stripe --as even_bulkier_15
	"$CTL" policy attach bulk "$DEV"
	selected bulk
	shows bulk '.name == "bulk" and .object == "stripe"'
	"$CTL" -j policy list | jq -e 'map(.name) == ["bulk", "even_bulkier_15"]
		and map(.object) == ["stripe", "stripe"]
		and (map(.disks | length) == [1, 0])'
	[ "$("$CTL" policy list | grep -c stripe)" -eq 2 ]
	fails 2 none -- policy load stripe --as none
	fails 2 15 -- policy load stripe --as sixteen_is_too_m
	fails 2 a.b -- policy load stripe --as a.b
}

@test "a name that is taken is refused, and what has it stays" {
	"$CTL" policy load stripe -s chunk=4K
	fails 1 exists "swap stripe" -- policy load stripe
	shows stripe '.knobs.chunk == 4096'
	[ -e "$PIN/policy/stripe/link" ]
}

@test "swap replaces the programs on the disks, and keeps name and pin" {
	"$CTL" policy load "$PUPPET" --as it
	"$CTL" policy attach it "$DEV"
	link=$(jq .link_id <("$CTL" -j policy show it))
	read_some
	"$CTL" policy swap it stripe -s chunk=8K
	selected it
	shows it ".object == \"stripe\" and .knobs.chunk == 8192 and
		.link_id == $link and .pin == \"$PIN/policy/it\""
	read_some
	"$CTL" policy swap it guard
	[ -e "$PIN/policy/it/quotas" ]
	"$CTL" policy swap it "$PUPPET"
	[ ! -e "$PIN/policy/it/quotas" ]
	shows it '.state.inits == 1 and .state.places == 0'
	read_some
	shows it '.state.places > 0'
	rm -r "$PIN/policy/it"
	wait_until 10 nothing_left
}

@test "swap keeps maps if told so, and only where they fit" {
	"$CTL" policy load guard
	"$CTL" policy attach guard "$DEV"
	$BPFTOOL map update pinned "$PIN/policy/guard/quotas" \
		key 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 value 0 0 0 1 0 0 0 0
	read_some
	"$CTL" policy swap guard guard -s open=no --keep-maps
	read_some
	"$CTL" policy swap guard guard
	# Its map is empty: root may no longer bind anything.
	run "$CTL" read "$DEV" --to /dev/null --length 64K
	[ "$status" -eq 1 ]
	fails 1 quotas stripe.bpf.o -- policy swap guard stripe --keep-maps
	shows guard '.object == "guard"'
	selected guard
}

@test "a swap that init refuses changes nothing" {
	"$CTL" policy load steer
	"$CTL" policy attach steer "$DEV"
	fails 1 steer init -- policy swap steer steer -s margin=100
	shows steer ".knobs.margin == 25 and .disks == [\"${DEV##*/}\"]"
	selected steer
	fails 1 nobody -- policy swap nobody stripe
	fails 1 nosuch -- policy swap steer nosuch
	fails 2 nope -- policy swap steer steer -s nope=1
	shows steer '.knobs.margin == 25'
}

@test "an init that refuses a disk is told, and the disk has none" {
	"$CTL" policy load steer -s margin=100
	fails 1 steer "$DEV" init -- policy attach steer "$DEV"
	selected none
}

@test "swaps under load lose nothing" {
	need "$BIN/dmabuf-io"
	"$CTL" policy load "$PUPPET" --as it
	"$CTL" policy attach it "$DEV"
	"$BIN/dmabuf-io" --direction read --sizes 4K,64K --depth 32 --threads 2 \
		--seconds 600 "$DEV" > io 2>&1 &
	io=$!
	wait_until 60 placing
	for _ in 1 2 3 4 5; do
		"$CTL" policy swap it "$PUPPET" > /dev/null
		wait_until 60 placing
	done
	kill -0 $io || { cat io; false; }
	kill $io
	wait $io || { cat io; false; }
}

placing() { shows it '.state.places > 100 and .state.failed == 0' > /dev/null; }

@test "what bpftool has loaded is shown, swapped and unloaded as well" {
	$BPFTOOL struct_ops register "$TOP/build/bpf/steer.bpf.o" $FS/steer
	"$CTL" policy attach steer "$DEV"
	shows steer '.object == "steer" and .pin == null and .knobs.idle == 8'
	"$CTL" policy swap steer steer -s idle=3
	shows steer '.pin == null and .knobs.idle == 3'
	"$CTL" policy unload steer
	selected none
	empty policy list
}

@test "a policy that was registered without a link is shown, and unloaded" {
	$BPFTOOL struct_ops register "$TOP/build/selftests/bpf/linkless.bpf.o"
	"$CTL" policy attach linkless "$DEV"
	shows linkless '.link_id == 0 and .object == "linkless"'
	fails 1 linkless "without a link" -- policy swap linkless stripe
	selected linkless
	"$CTL" policy unload linkless
	selected none
	empty policy list
}

@test "what the verifier refuses is told in its words" {
	fails 1 "only read is supported" writes -- \
		policy load "$BIN/bpf/writes.bpf.o"
	jq -e '.log | contains("only read is supported")' json
	fails 1 "open policy" -- policy load "$TOP/README.md.o"
	echo rubbish > rubbish.o
	fails 1 rubbish -- policy load ./rubbish.o
	nothing_left
}

@test "an object without a policy is told so" {
	fails 1 blk_dmabuf_ops -- policy load "$TOP/build/user/ctl/watch.bpf.o"
}

@test "what can have no policy, or is no device, is told apart" {
	"$CTL" policy load minimal
	fails 1 /dev/null -- policy attach minimal /dev/null
	fails 1 /dev/nothing -- policy attach minimal /dev/nothing
	fails 1 nobody "policy list" -- policy attach nobody "$DEV"
	fails 2 detach -- policy attach none "$DEV"
	[ ! -b /dev/nullb0 ] || fails 1 /dev/nullb0 -- policy attach minimal /dev/nullb0
	selected none
}

@test "a pin that cannot be made leaves nothing loaded" {
	fails 1 bpffs /tmp/x -- policy load minimal --pin /tmp/x
	[ ! -e /tmp/x ]
	# Nor is anything removed where somebody keeps files.
	mkdir -p files/policy/minimal
	echo mine > files/policy/minimal/mine
	fails 1 bpffs files -- policy load minimal --pin "$PWD/files"
	[ "$(cat files/policy/minimal/mine)" = mine ]
	nothing_left
	"$CTL" policy load minimal --pin $FS/mine
	[ -e $FS/mine/policy/minimal/link ]
}

@test "a pin that was left behind is in nobody's way" {
	"$CTL" policy load guard
	$BPFTOOL link detach pinned "$PIN/policy/guard/link"
	empty policy list
	"$CTL" policy load guard
	shows guard ".pin == \"$PIN/policy/guard\""
}

@test "a user without privilege is told what is missing" {
	chmod 777 .
	"$CTL" policy load minimal
	for command in "policy list" "policy show minimal" "policy load stripe" \
		"policy unload minimal" "policy swap minimal stripe" \
		"policy attach minimal $DEV"; do
		# shellcheck disable=SC2086
		run setpriv --reuid=65534 --regid=65534 --clear-groups \
			"$CTL" $command
		echo "$command: $status $output"
		[ "$status" -eq 1 ]
		[[ $output == *"; try: run it as root"* ]]
	done
	shows minimal '.disks == []'
}
