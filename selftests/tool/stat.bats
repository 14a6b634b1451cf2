#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What blkdmabufctl stat and top say is what happened: each I/O and each byte of
# transfers that are known, once, in the row of its disk, registration, queue
# and policy; refusals by reason; latencies of a disk whose latency is known.
#
# vm: main
# log-allow: nvme.*I/O error -- disk6 fails on purpose
# log-allow: (critical medium|I/O) error, dev nvme -- the same, told by the block layer

load ../lib

FS=/sys/fs/bpf

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	PATH=$TOP/build/bpftool:$PATH
	DEV=$(disk 0)
	NAME=${DEV##*/}
	WATCH=''
}

teardown() {
	[ -z "$WATCH" ] || { kill "$WATCH"; wait "$WATCH"; } || :
	rm -rf "${FS:?}"/*
	wait_until 10 none_left
}

# A "!" in front of a command does not fail a test.
not() { ! "$@"; }

none_left() { [ "$("$CTL" -j list | jq length)" -eq 0 ]; }

# The two programs are attached when all else is ready.
watching() { [ "$(bpftool link list | grep -c "tp 'blk_dmabuf_")" -eq 2 ]; }
nobody_watches() { ! bpftool link list | grep -q "tp 'blk_dmabuf_"; }

watched() { bpftool map list | grep -Ew 'watch_(ios|recent|refusals)'; }

# watch COMMAND...: in the background, counting when this returns
watch() {
	"$CTL" "$@" > report 2> err 3>&- &
	WATCH=$!
	wait_until 20 watching
}

# watch_end [SIGNAL]: what it saw is in the file "report"
watch_end() {
	local rc=0
	kill "-${1:-TERM}" "$WATCH"
	wait "$WATCH" || rc=$?
	WATCH=''
	cat report err
	[ $rc -eq 0 ]
	[ ! -s err ]
}

# says FILTER [OPTION...]: is it true of the report, or of all of them with -s?
says() { jq -e "${@:2}" "$1" report > /dev/null || { echo "not: $1"; false; }; }

register() { "$CTL" -j register "$@" --udmabuf 1M | jq .id; }

# policy FILE NAME DISK: without a tool of ours
policy() {
	bpftool struct_ops register "$TOP/build/$1" "$FS/$2"
	echo "$2" > "/sys/block/${3##*/}/queue/dmabuf_policy"
}

# puppet_hctx N: the puppet sends requests there, an index below 256
puppet_hctx() {
	local bytes at
	mapfile -t bytes < <(bpftool -j map dump name puppet.data |
		jq -r '.[0].value[]')
	at=$(readelf -sW "$TOP/build/selftests/bpf/puppet.bpf.o" |
		awk '$8 == "hctx" { print $2 }')
	bytes[16#$at]=$1 bytes[16#$at + 1]=0
	bytes[16#$at + 2]=0 bytes[16#$at + 3]=0
	bpftool map update name puppet.data key 0 0 0 0 value "${bytes[@]}"
}

@test "each I/O and byte of a known transfer is in every table, once" {
	id=$(register "$DEV")
	watch -j stat --interval 600
	"$CTL" read "$DEV" --id "$id" --length 1M --block-size 4K
	"$CTL" write "$DEV" --id "$id" --offset 64M --length 512K \
		--block-size 64K
	watch_end
	says '.registrations | length == 1'
	says ".registrations[0] | .id == $id and .disk == \"$NAME\""
	says '.registrations[0] | .reads == 256 and .read_bytes == 1048576'
	says '.registrations[0] | .writes == 8 and .write_bytes == 524288'
	says '[.policies, .queues] | map(map(.ios) | add) == [264, 264]'
	says '[.policies, .queues] | map(map(.bytes) | add) ==
		[1572864, 1572864]'
	says "[.policies, .queues] | flatten | all(.disk == \"$NAME\")"
	says '.policies | length == 1 and .[0].policy == null'
	says '[.policies, .queues, .registrations] | flatten |
		all(.errors == 0 and .placements == 0)'
	says '.refused == [] and .lost == 0'
	# The kernel keeps count of registrations by itself.
	"$CTL" -j show "$id" | jq -e '.reads == 256 and .writes == 8'
}

@test "the histogram has each I/O, and the percentiles are of it" {
	id=$(register "$DEV")
	watch -j stat --interval 600
	"$CTL" read "$DEV" --id "$id" --length 1M --block-size 4K
	watch_end
	says '[.policies, .queues, .registrations] |
		map(map(.histogram | map(.count) | add) | add) ==
		[256, 256, 256]'
	says '.policies[0] | [.histogram[].le_ns] == ([.histogram[].le_ns] | sort)'
	says '.policies[0] | (.histogram | last | .le_ns) as $longest |
		.latency | .avg_ns > 0 and .avg_ns <= $longest and
		.p50_ns <= .p99_ns and .p99_ns <= $longest'
	# Half of them took no longer than the one, less than half half of it.
	says '.policies[0] | .latency.p50_ns as $p |
		([.histogram[] | select(.le_ns <= $p).count] | add) >= 128 and
		([.histogram[] | select(.le_ns < $p).count] | add // 0) < 128'
}

@test "a disk that takes 100 ms takes at least 100 ms" {
	id=$(register "$(disk 3)")
	watch -j stat --interval 600
	"$CTL" read "$(disk 3)" --id "$id" --length 64K --block-size 4K --depth 4
	watch_end
	says '.registrations[0] | .reads == 16 and .latency.avg_ns >= 100e6'
	says '.registrations[0].histogram[0].le_ns > 100e6'
	says '.registrations[0].latency.p50_ns > 100e6'
}

@test "the queue is the one of the CPU that submits" {
	id=$(register "$DEV")
	watch -j stat --interval 600
	taskset -c 1 "$CTL" read "$DEV" --id "$id" --length 256K \
		--block-size 4K --depth 1
	watch_end
	hctx=$(grep -lw 1 "/sys/block/$NAME"/mq/*/cpu_list)
	hctx=$(basename "$(dirname "$hctx")")
	says "[.queues[].hctx] == [$hctx]"
}

@test "I/O under a policy is told from I/O under none, with its placements" {
	id=$(register "$DEV")
	policy selftests/bpf/puppet.bpf.o puppet "$DEV"
	watch -j stat --interval 600
	"$CTL" read "$DEV" --id "$id" --length 256K --block-size 4K
	echo none > "/sys/block/$NAME/queue/dmabuf_policy"
	"$CTL" read "$DEV" --id "$id" --length 64K --block-size 4K
	watch_end
	says '.policies | length == 2'
	says '.policies[] | select(.policy == "puppet") |
		.ios == 64 and .placements == 64'
	says '.policies[] | select(.policy == null) |
		.ios == 16 and .placements == 0'
	says '.registrations[0] | .reads == 80 and .placements == 64'
}

@test "what a wrong policy does is refused, by reason, and is no I/O" {
	id=$(register "$DEV")
	policy selftests/bpf/puppet.bpf.o puppet "$DEV"
	puppet_hctx 99
	watch -j stat --interval 600
	not "$CTL" read "$DEV" --id "$id" --length 4K --block-size 4K
	watch_end
	says ".refused == [{ id: $id, disk: \"$NAME\", reason: \"POLICY_HCTX\",
		count: 1 }]"
	says '[.policies, .queues, .registrations] | flatten == []'
}

@test "an error of the device is no I/O that went well" {
	bad=$(register "$(disk 6)") good=$(register "$(disk 6)")
	watch -j stat --interval 600
	not "$CTL" read "$(disk 6)" --id "$bad" --offset 8M --length 4K
	"$CTL" read "$(disk 6)" --id "$good" --offset 16M --length 4K
	watch_end
	says ".registrations[] | select(.id == $bad) | .errors == 1 and
		.reads == 0 and .latency == null and .histogram == []"
	says ".registrations[] | select(.id == $good) | .errors == 0 and
		.reads == 1 and .read_bytes == 4096"
	says '.policies[0] | .errors == 1 and .ios == 1'
	says '.refused == []'
}

@test "disks are told apart, and DEV shows one of them, also as a partition" {
	a=$(register "$DEV") b=$(register "$(disk 2)")
	policy bpf/guard.bpf.o guard "$(disk 2)"
	for dev in '' "$DEV" "$DEV"p1; do
		# shellcheck disable=SC2086 # none is none
		watch -j stat --interval 600 $dev
		"$CTL" read "$DEV" --id "$a" --length 64K --block-size 4K
		not "$CTL" read "$(disk 2)" --id "$b" --length 4K
		echo none > "/sys/block/$(basename "$(disk 2)")/queue/dmabuf_policy"
		"$CTL" read "$(disk 2)" --id "$b" --length 128K --block-size 4K
		echo guard > "/sys/block/$(basename "$(disk 2)")/queue/dmabuf_policy"
		watch_end
		says ".registrations[] | select(.id == $a) |
			.reads == 16 and .disk == \"$NAME\""
		if [ -z "$dev" ]; then
			says ".registrations[] | select(.id == $b) |
				.reads == 32 and .disk != \"$NAME\""
			says '.refused | length == 1 and
				.[0].reason == "NOT_ADMITTED"'
		else
			says '[.policies, .queues, .registrations] | flatten |
				all(.disk == "'"$NAME"'")'
			says '(.policies | length) == 1 and
				(.registrations | length) == 1'
			# As many queues as CPUs that it ran on meanwhile.
			says '[.queues[].ios] | add == 16'
			says '.refused == []'
		fi
	done
}

@test "nothing is counted twice or lost where intervals meet" {
	watch -j top --interval 1
	"$CTL" read "$DEV" --to /dev/null --block-size 4K --length 256M
	"$CTL" read "$DEV" --to /dev/null --block-size 4K --length 128M
	watch_end
	says 'length > 2 and all(.lost == 0)' -s
	says 'map(select(.policies != [])) | length > 1' -s
	says '[.[].policies[].ios] | add == 98304' -s
	says '[.[].queues[].bytes] | add == 402653184' -s
	says '[.[].registrations[].reads] | add == 98304' -s
}

@test "registrations that would share a counter are told apart" {
	# What is found without hashing has one for every 32nd, on a CPU.
	for _ in {0..32}; do ids+=("$(register "$DEV")"); done
	[ $((ids[32] - ids[0])) -eq 32 ]
	watch -j stat --interval 600
	for i in 0 32 0; do
		taskset -c 1 "$CTL" read "$DEV" --id "${ids[i]}" --length 64K \
			--block-size 4K
	done
	watch_end
	says ".registrations[] | select(.id == ${ids[0]}) | .reads == 32"
	says ".registrations[] | select(.id == ${ids[32]}) | .reads == 16"
	says '([.queues[].ios] | add == 48) and .lost == 0'
}

@test "stat ends by itself after --count intervals of --interval seconds" {
	"$CTL" -j stat --interval 1 --count 3 > report
	says 'length == 3 and all(.seconds >= 0.99)' -s
	"$CTL" -j stat --interval 2 > report
	says 'length == 1 and .[0].seconds >= 1.99' -s
	# One a line, for who reads lines.
	[ "$(wc -l < report)" -eq 1 ]
	says 'all(.time | fromdate > 0)' -s
}

@test "Ctrl-C ends the interval, and what was seen of it is told" {
	# enabling job control keeps SIGINT from being ignored in the background
	set -m
	id=$(register "$DEV")
	watch -j stat --interval 600 --count 5
	"$CTL" read "$DEV" --id "$id" --length 64K --block-size 4K
	watch_end INT
	set +m
	says 'length == 1 and .[0].seconds < 300' -s
	says '.registrations[0].reads == 16'
}

@test "the text has a table for each, and no empty ones" {
	id=$(register "$DEV")
	watch stat --interval 600
	"$CTL" read "$DEV" --id "$id" --length 1M --block-size 4K
	watch_end
	grep '^[0-9:]*  256 I/Os, 1 MiB in .* s, 0 errors, 0 refused$' report
	grep -A 1 '^POLICIES .*I/O/S' report | grep "^$NAME  *none  *[0-9]"
	grep -A 1 '^QUEUES .*I/O/S' report | grep "^$NAME  *hctx [0-9]  *[0-9]"
	grep -A 1 '^REGISTRATIONS .*READS/S' report | grep "^ *$id $NAME  *[0-9]"
	not grep REFUSED report
	[ "$(sed '1,/^LATENCY/d' report | awk '{ n += $2 } END { print n }')" = 256 ]
	[ "$(wc -L < report)" -le 80 ]
}

@test "the text says in words why something was refused, or that it was quiet" {
	id=$(register "$DEV")
	policy bpf/guard.bpf.o guard "$DEV"
	watch stat --interval 600
	not "$CTL" read "$DEV" --id "$id" --length 4K
	watch_end
	grep -A 1 '^REFUSED' report |
		grep "$NAME  *1 NOT_ADMITTED .*did not admit"
	grep 'no I/O in .* s, 1 refused' report
	not grep POLICIES report
	"$CTL" stat > report
	grep '^[0-9:]*  no I/O in 1.0 s, 0 refused$' report
	[ "$(wc -l < report)" -eq 1 ]
}

drawn() { grep -q "$1" screen; }

# top_start LINES ARGS...: on a terminal of that size; keys go to fd 5
top_start() {
	local height=$1
	shift
	rm -f keys screen
	mkfifo keys
	TERM=xterm script -qefc "stty rows $height cols 60
		$CTL top $*
		printf '\nended with %s\n' \$?; stty -a" screen < keys > /dev/null 3>&- &
	WATCH=$!
	exec 5> keys
	wait_until 20 watching
}

# top_end: it restores the terminal and exits with 0
top_end() {
	wait_until 10 drawn 'ended with [0-9]'
	exec 5>&-
	wait "$WATCH"
	WATCH=''
	grep 'ended with 0' screen
	grep -E '(^|[^-])icanon' screen
	grep -E '(^|[^-])echo ' screen
	sed -n '/ended with [0-9]/q;p' screen > drawn
	# The alternate screen without a cursor, and back.
	[ "$(grep -o $'\e\\[?[0-9]*[hl]' drawn | tr -d '\n')" = \
		$'\e[?1049h\e[?25l\e[?25h\e[?1049l' ]
}

# What was drawn, each time after a line "=frame", without control sequences.
frames() {
	sed 's/\x1b\[H/\n=frame\n/g' drawn | sed '1,/^=frame/d' |
		sed 's/\x1b\[[?0-9]*[a-zA-Z]//g; s/\r//'
}

@test "top redraws a terminal until q" {
	need script
	id=$(register "$DEV")
	top_start 40
	"$CTL" read "$DEV" --id "$id" --length 1M --block-size 4K
	wait_until 20 drawn POLICIES
	# It goes on, and what is over is gone.
	wait_until 20 drawn 'no I/O'
	printf x >&5
	not wait_until 2 drawn 'ended with [0-9]'
	printf q >&5
	top_end
	# Nothing is as wide as to make the terminal wrap.
	[ "$(frames | wc -L)" -le 60 ]
	wait_until 10 nobody_watches
}

@test "top says how many rows a small terminal has no room for" {
	need script
	ids=$(for _ in {1..12}; do register "$DEV"; done)
	top_start 16 --interval 2
	for id in $ids; do
		"$CTL" read "$DEV" --id "$id" --length 64K --block-size 4K
	done
	wait_until 20 drawn REGISTRATIONS
	wait_until 5 drawn ' more)'
	printf q >&5
	top_end
	# No frame is longer than the screen.
	frames | awk '
		/^=frame/ { n = 0; next }
		{ if (++n > most) most = n }
		END { exit most > 16 }'
}

@test "top without a terminal writes one report after the other" {
	"$CTL" top --count 2 > report
	[ "$(grep -c 'no I/O' report)" -eq 2 ]
	not grep $'\e' report
}

@test "nothing is left in the kernel when nobody watches" {
	watch stat --interval 600
	watched
	watch_end
	wait_until 10 nobody_watches
	not watched
}

@test "what cannot be watched is said, and by whom" {
	for cmd in stat top; do
		fails 2 'interval' -- $cmd --interval 0
		fails 2 'count' -- $cmd --count 0
		fails 2 'interval' -- $cmd --interval -1
		fails 1 'block device' -- $cmd /dev/null
		fails 1 'No such' -- $cmd /dev/nothing
	done
	AS=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	fails 1 'CAP_BPF' -- stat
	fails 1 'CAP_BPF' -- top
}
