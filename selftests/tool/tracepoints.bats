#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The tracepoints tell what was done, each field of it: they are what policies
# are debugged with and what `blkdmabufctl stat` counts.
#
# vm: main
# log-allow: nvme.*I/O error -- disk6 fails on purpose
# log-allow: (critical medium|I/O) error, dev nvme -- the same, told by the block layer

load ../dmabuf

PIN=/sys/fs/bpf/blkdmabuf

setup() {
	DEV=$(disk 0)
	trace_on blk_dmabuf
	echo 1 > "$GATE"
}

teardown() {
	rm -rf $PIN
	trace_whole
	trace_off
}

# events NAME FIELD=VALUE...: those of that name with all these fields, or words
events() {
	awk -v name="blk_dmabuf_$1:" -v want="${*:2}" '
		BEGIN { n = split(want, field, " ") }
		{
			at = index($0, name)
			if (!at)
				next
			line = substr($0, at + length(name)) " "
			for (i = 1; i <= n; i++)
				if (!index(line, " " field[i] " "))
					next
			print line
		}' "$TRACE/trace"
}

# saw N NAME FIELD=VALUE...: so many of them
saw() {
	local n
	n=$(events "${@:2}" | wc -l)
	if [ "$n" -ne "$1" ]; then
		echo "$n, not $1, of: ${*:2}"
		grep blk_dmabuf_ "$TRACE/trace"
		return 1
	fi
}

# all_between FIELD LOW HIGH < EVENTS: so it is in each, and there are some
all_between() {
	awk -v name="$1=" -v low="$2" -v high="$3" '
		{ for (i = 1; i <= NF; i++) if (index($i, name) == 1) {
			n = substr($i, length(name) + 1) + 0
			if (n < low || n > high) { print; bad = 1 }
			seen++
		} }
		END { exit bad || !seen || seen != NR }'
}

# register OPTIONS...: prints the id
register() { "$CTL" -j register "$DEV" "$@" | jq .id; }

# shown ID FIELD: of the registration, as the tool has it
shown() { "$CTL" -j show "$1" | jq -r "$2"; }

# mapping ID: the fields that name a mapping, which registrations can share
mapping() {
	printf 'inode=%s dev=%s' "$(shown "$1" .inode)" \
		"$(basename "$(readlink -f "/sys/block/${DEV##*/}/device/device")")"
}

devno() { cat "/sys/class/block/${1##*/}/dev"; }

@test "attach tells which dma-buf was registered on which disk" {
	for source in '--udmabuf 2M' '--heap system:1M'; do
		trace_clear
		# shellcheck disable=SC2086
		id=$(register $source --no-map)
		saw 1 attach
		saw 1 attach "id=$id" "disk=${DEV##*/}" \
			"exporter=$(shown "$id" .exporter)" \
			"inode=$(shown "$id" .inode)" \
			"bytes=$(shown "$id" .bytes)"
		saw 0 map
	done
	trace_clear
	run "$CTL" register "$(disk 4)" --udmabuf 1M
	saw 0 attach
}

@test "map tells each new mapping and what it is like" {
	id=$(register --udmabuf 2M --no-map)
	saw 0 map
	"$CTL" map "$id"
	# A kernel that checks the use of the DMA API wants all memory synced.
	saw 1 map "$(mapping "$id")" generation=1 peer=0 \
		"ranges=$(shown "$id" .ranges)" \
		"sync=$(shown "$id" 'if .sync then 1 else 0 end')"
	# No new one, no event.
	"$CTL" map "$id"
	saw 1 map
	"$CTL" unmap "$id"
	"$CTL" read "$DEV" --id "$id" --length 4K
	saw 1 map "$(mapping "$id")" generation=2
	saw 2 map
}

@test "invalidate tells the end of each mapping, and whose wish it was" {
	id=$(register --udmabuf 2M)
	mapping=$(mapping "$id")
	"$CTL" unmap "$id"
	saw 1 invalidate "$mapping" generation=1 revoked=0
	# Nothing was in flight, a grace period or two is all it took.
	events invalidate | all_between drain_ns 0 2000000000
	"$CTL" map "$id"
	"$CTL" unregister "$id"
	saw 1 invalidate "$mapping" generation=2 revoked=0
	saw 2 invalidate
}

@test "invalidate tells how long I/O was waited for" {
	# 16 reads of 100 ms each, all at a time.
	"$BIN/dmabuf-lifetime" unmapping_waits_for_io_in_flight
	events invalidate revoked=0 | head -n 1 |
		all_between drain_ns 50000000 10000000000
}

@test "invalidate tells that the exporter took a mapping away" {
	need /sys/kernel/debug/kunit/blk-dmabuf-life/run
	# Their exporter does so; none that user space can have here does.
	echo 1 > /sys/kernel/debug/kunit/blk-dmabuf-life/run
	events invalidate revoked=1
	[ "$(events invalidate revoked=1 generation=1 | wc -l)" -ge 1 ]
	[ "$(events invalidate revoked=0 | wc -l)" -ge 1 ]
}

# refused REASON ERROR some|none|either COMMAND...: it is told so, about some
# registration or none
refused() {
	local ids
	trace_clear
	"${@:4}" > "$BATS_TEST_TMPDIR/out" 2>&1 < /dev/null || :
	events refuse "reason=$1" "error=$2" > "$BATS_TEST_TMPDIR/events"
	cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/events"
	ids=$(tr ' ' '\n' < "$BATS_TEST_TMPDIR/events" | grep '^id=')
	if [ "$3" = either ]; then
		return
	elif [ "$3" = none ]; then
		[ "$(sort -u <<< "$ids")" = id=0 ]
	else
		! grep -qx id=0 <<< "$ids" || return 1
	fi
}

@test "refuse tells why something was not registered" {
	refused integrity -95 none "$CTL" register "$(disk 4)" --udmabuf 1M
	refused zoned -95 none "$CTL" register "$(disk 5)" --udmabuf 1M
	refused no-driver -95 none "$BIN/dmabuf-abi" register_refuses_drivers
	refused duplicate -17 none "$BIN/dmabuf-abi" register_refuses_a_second
	refused no-dmabuf -22 none "$BIN/dmabuf-abi" register_tells_what_is_no_dmabuf
}

@test "refuse tells why something was not bound" {
	refused not-registered -2 none "$BIN/dmabuf-abi" bind_of_an_unregistered
	refused no-dmabuf -22 none "$BIN/dmabuf-abi" bind_of_what_is_no_dmabuf
}

@test "refuse tells why an I/O was none, and of which registration" {
	refused no-slot -2 none "$BIN/dmabuf-abi" io_to_an_empty_slot
	refused range -34 some "$BIN/dmabuf-abi" io_outside_the_buffer
	# Position and length are looked at before the slot is.
	refused unaligned -22 either "$BIN/dmabuf-abi" io_unaligned_for_the_device
	refused access -13 some "$BIN/dmabuf-abi" a_read_only_dmabuf_cannot
	refused dead -19 some "$BIN/dmabuf-lifetime" a_slot_outlives
	# What was refused is no I/O.
	saw 0 complete reason=io-error
}

# four_ios read|write DEVICE: 256 KiB each, at 16 MiB of the device and 4 KiB of the buffer.
four_ios() {
	"$CTL" "$1" "$2" --id "$id" --offset 16M --buf-offset 4K --length 1M \
		--block-size 256K
}

@test "submit tells where each I/O goes" {
	id=$(register --udmabuf 2M)
	for way in read write; do
		trace_clear
		four_ios $way "$DEV"
		for n in 0 1 2 3; do
			saw 1 submit "dev=$(devno "$DEV")" "id=$id" slot=0 $way \
				hint=0 len=262144 \
				"offset=$((4096 + n * 262144))" \
				"pos=$((16777216 + n * 262144))"
		done
		saw 4 submit
	done
}

@test "submit and complete tell a partition's positions on its disk" {
	id=$(register --udmabuf 2M)
	trace_clear
	four_ios read "${DEV}p2"
	saw 4 submit "dev=$(devno "$DEV")" "id=$id"
	saw 1 submit "pos=16777216"
	saw 4 complete "dev=$(devno "$DEV")" "id=$id"
	saw 1 complete "pos=16777216"
}

@test "submit tells slot and hint that the application gave" {
	"$IO" --direction read --sizes 4K --count 8 --hint 77 "$DEV"
	saw 8 submit slot=0 hint=77 len=4096
}

@test "complete tells how each I/O ended" {
	id=$(register --udmabuf 2M)
	for way in read write; do
		trace_clear
		four_ios $way "$DEV"
		for n in 0 1 2 3; do
			saw 1 complete "dev=$(devno "$DEV")" "id=$id" slot=0 \
				$way len=262144 result=262144 reason=ok \
				"pos=$((16777216 + n * 262144))"
		done
		saw 4 complete
		events complete | all_between latency_ns 1000 60000000000
	done
}

@test "complete tells the hardware queue" {
	id=$(register --udmabuf 2M)
	for cpu in 0 1; do
		trace_clear
		taskset -c $cpu "$CTL" read "$DEV" --id "$id" --length 64K \
			--block-size 4K
		hctx=$(grep -lwE "$cpu" "/sys/block/${DEV##*/}"/mq/*/cpu_list)
		hctx=$(basename "$(dirname "$hctx")")
		saw 16 complete "hctx=$hctx"
		saw 16 complete
	done
}

@test "complete tells how long an I/O took" {
	# It takes 100 ms whatever it does.
	"$CTL" read "$(disk 3)" --to /dev/null --length 64K --block-size 64K
	saw 1 complete
	events complete | all_between latency_ns 95000000 10000000000
}

@test "complete tells what the device failed" {
	run "$CTL" read "$(disk 6)" --offset 8M --length 64K --to /dev/null
	[ "$status" -eq 1 ]
	saw 1 submit "dev=$(devno "$(disk 6)")" read pos=8388608
	saw 1 complete "dev=$(devno "$(disk 6)")" read pos=8388608 len=65536 \
		result=-61 reason=io-error
	saw 0 refuse
}

# What cannot be split without waiting is handed to the device twice, the second
# time by a worker; only then is it an I/O.
@test "an I/O that takes many requests is completed once" {
	"$IO" --direction write --sizes 3M --count 4 "$DEV"
	[ "$(events submit len=3145728 write | sort -u | wc -l)" -eq 4 ]
	saw 4 complete len=3145728 result=3145728 write
	saw 4 complete
}

@test "each I/O that is submitted is completed" {
	"$IO" --sizes 4K,64K --depth 16 --threads 2 --count 200 "$DEV"
	saw 800 complete
	# What had to wait, for pages in the cache say, was submitted twice.
	[ "$(events submit | wc -l)" -ge 800 ]
	for name in submit complete; do
		events $name | grep -o 'id=[0-9]*\|\(read\|write\) pos=.* len=[0-9]*' |
			sort -u > "$BATS_TEST_TMPDIR/$name"
	done
	cmp "$BATS_TEST_TMPDIR/submit" "$BATS_TEST_TMPDIR/complete"
}
