#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The runner counts right and cannot be talked into a green result: a project of
# its own in a temporary directory, with a vm that only pretends.

setup() {
	ROOT=$BATS_TEST_TMPDIR/project
	mkdir -p "$ROOT"/selftests/{host,room} "$ROOT/build"
	cp "$BATS_TEST_DIRNAME"/../{run,lib.bash,log-check} "$ROOT/selftests/"
	cd "$ROOT"
	# What a VM leaves behind when all is well: for each NAME:SUITE, the TAP
	# that the suite's own "tap:" lines hold, and a whole log.
	cat > selftests/vm <<-'EOF'
		#!/bin/bash
		for word; do
			case $word in name=*) out=build/vm/${word#name=} ;; esac
		done
		rm -rf "$out"; mkdir -p "$out"
		echo "$*" >> build/boots
		touch "$out/booted"
		printf '%s\n' 'Linux version 7' 'blkdmabuf-log: end boot' \
			> "$out/boot.dmesg"
		for word; do
			case $word in *:*) ;; *) continue ;; esac
			IFS=: read -r name suite _ <<< "$word"
			suite=$(echo selftests/*/"$suite.bats")
			sed -n 's/^# tap: //p' "$suite" > "$out/$name.tap"
			if grep -q '# dies' "$suite"; then
				printf '%s\n' booting 'BUG: oh no' > "$out/console.log"
				exit 1
			fi
			if grep -q '# meets' "$suite"; then
				touch "build/met.$name"
				for _ in {1..50}; do
					set -- build/met.*
					[ $# = 2 ] && break
					sleep 0.1
				done
				[ $# = 2 ] || exit 1
			fi
			! grep -q '# stays' "$suite" || sleep 60
			{
				echo "blkdmabuf-log: begin $name"
				sed -n 's/^# log: //p' "$suite"
				echo "blkdmabuf-log: end $name"
			} > "$out/$name.dmesg"
			touch "$out/$name.done"
		done
	EOF
	chmod +x selftests/vm
}

# suite NAME LINE...: each LINE a comment of the suite
suite() {
	local name=$1
	shift
	printf '# %s\n' "$@" > "selftests/room/$name.bats"
}

last() { printf '%s\n' "${lines[-1]}"; }

@test "tests, skips, the boot log and the suite's log are counted" {
	suite one 'vm: nvme=1' 'tap: 1..3' 'tap: ok 1 a' 'tap: ok 2 b' \
		'tap: ok 3 c # skip fio is missing'
	run selftests/run
	[ "$status" -eq 0 ]
	[ "$(last)" = "4 passed, 0 failed, 1 skipped" ]
	grep -q '^1\.\.4' build/tap/one.tap
}

@test "a failed test fails the run" {
	suite one 'vm: nvme=1' 'tap: 1..2' 'tap: ok 1 a' 'tap: not ok 2 b'
	run selftests/run
	[ "$status" -ne 0 ]
	[ "$(last)" = "3 passed, 1 failed, 0 skipped" ]
}

@test "a test that was planned and did not run has failed" {
	suite one 'vm: nvme=1' 'tap: 1..3' 'tap: ok 1 a'
	run selftests/run
	[ "$status" -ne 0 ]
	[ "$(last)" = "3 passed, 2 failed, 0 skipped" ]
}

@test "a skip that names nothing has failed" {
	suite one 'vm: nvme=1' 'tap: 1..2' 'tap: ok 1 a' 'tap: ok 2 b # skip'
	run selftests/run
	[ "$status" -ne 0 ]
	[ "$(last)" = "3 passed, 1 failed, 0 skipped" ]
}

@test "no tests at all are a failure" {
	run selftests/run
	[ "$status" -ne 0 ]
	[ "$(last)" = "0 passed, 1 failed, 0 skipped" ]
	suite one 'vm: nvme=1' 'tap: 1..0'
	run selftests/run
	[ "$status" -ne 0 ]
}

@test "a dirty kernel log fails a suite whose tests all passed" {
	suite one 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a' \
		'log: DMAR: [DMA Write] Request device [00:04.0] fault addr 0'
	run selftests/run
	[ "$status" -ne 0 ]
	[[ $output == *"not ok 2 kernel log is clean"* ]]
	[ "$(last)" = "2 passed, 1 failed, 0 skipped" ]
}

@test "a line that the suite allows, with a reason, is overlooked" {
	suite one 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a' \
		'log-allow: I/O error, dev nvme1 -- it is pulled' \
		'log: I/O error, dev nvme1n1, sector 8'
	run selftests/run
	[ "$status" -eq 0 ]
	suite one 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a' \
		'log-allow: I/O error, dev nvme1' \
		'log: I/O error, dev nvme1n1, sector 8'
	run selftests/run
	[ "$status" -ne 0 ]
}

@test "a VM that dies fails the suite it died in, the next one gets another" {
	suite a 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a'
	suite b 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a' 'dies'
	suite c 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a'
	run selftests/run
	[ "$status" -ne 0 ]
	[ "$(wc -l < build/boots)" -eq 2 ]
	[[ $output == *"not ok 2 the VM lives to the end of the run"* ]]
	[[ $output == *"# console: b: BUG: oh no"* ]]
	# Two boots, a and c with their logs, one test of b that had ended.
	[ "$(last)" = "7 passed, 2 failed, 0 skipped" ]
}

@test "suites with the same profile share a boot, others do not" {
	suite a 'vm: nvme=1 mem=1G' 'tap: 1..1' 'tap: ok 1 a'
	suite b 'vm: nvme=1 mem=1G timeout=10' 'tap: 1..1' 'tap: ok 1 a'
	suite c 'vm: tag=x nvme=2' 'vm: tag=y nvme=1 mem=1G share=no' \
		'tap: 1..1' 'tap: ok 1 a'
	run selftests/run
	[ "$status" -eq 0 ]
	[ "$(wc -l < build/boots)" -eq 3 ]
	[ -s build/tap/c-x.tap ]
	[ -s build/tap/c-y.tap ]
}

@test "a suite that does not say where it runs is an error" {
	suite a 'tap: 1..1'
	run selftests/run
	[ "$status" -ne 0 ]
	[[ $output == *"has no 'vm:' line"* ]]
}

@test "a suite that does not exist is an error" {
	run selftests/run nothing
	[ "$status" -ne 0 ]
	[[ $output == *"no such suite: nothing"* ]]
}

@test "a suite is found by its name in whatever room it is" {
	mkdir selftests/other
	suite one 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a'
	suite two 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a'
	mv selftests/room/two.bats selftests/other/
	run selftests/run two
	[ "$status" -eq 0 ]
	[ "$(last)" = "3 passed, 0 failed, 0 skipped" ]
	[ -s build/tap/two.tap ]
	run selftests/run
	[ "$status" -eq 0 ]
	[ "$(last)" = "5 passed, 0 failed, 0 skipped" ]
}

@test "two suites of one name are an error" {
	mkdir selftests/other
	suite one 'vm: nvme=1' 'tap: 1..1' 'tap: ok 1 a'
	cp selftests/room/one.bats selftests/other/
	for names in '' one; do
		# shellcheck disable=SC2086
		run selftests/run $names
		[ "$status" -ne 0 ]
		[[ $output == *"two suites are called one"* ]]
		[ ! -e build/boots ]
	done
	# Programs are all built to one directory.
	mv selftests/other/one.bats selftests/other/one.c
	run selftests/run one
	[ "$status" -ne 0 ]
}

@test "a host suite that cannot be loaded is a failure" {
	printf '@test "x" {\n\ttrue\n' > selftests/host/broken.bats
	run selftests/run --host
	[ "$status" -ne 0 ]
	[[ $(last) == *" 0 skipped" ]]
}

# Said in setup() it has no effect: a suite that builds for long was cut off.
@test "a suite that needs longer than others says so in setup_file" {
	printf '%s\n' 'setup_file() { export BATS_TEST_TIMEOUT=20; }' \
		'@test "takes its time" {' 'sleep 3' '}' \
		> selftests/host/long.bats
	TEST_TIMEOUT=1 run selftests/run --host
	[ "$status" -eq 0 ]
	sed -i s/setup_file/setup/ selftests/host/long.bats
	TEST_TIMEOUT=1 run selftests/run --host
	[ "$status" -ne 0 ]
}

@test "two boots are under way at a time, and both are counted" {
	suite one 'vm: nvme=1' 'meets' 'tap: 1..1' 'tap: ok 1 a'
	suite two 'vm: nvme=2' 'meets' 'tap: 1..2' 'tap: ok 1 a' 'tap: not ok 2 b'
	run selftests/run
	[ "$status" -eq 1 ]
	[ "$(last)" = "6 passed, 1 failed, 0 skipped" ]
	[[ $output == *"# failed: two: not ok 2 b"* ]]
	rm build/met.*
	JOBS=1 run selftests/run
	[[ $output == *"the VM lives to the end"* ]]
}

@test "who ends the run ends what it has started" {
	suite one 'vm: nvme=1' 'stays' 'tap: 1..1' 'tap: ok 1 a'
	suite two 'vm: nvme=2' 'stays' 'tap: 1..1' 'tap: ok 1 a'
	selftests/run > out 2>&1 3>&- &
	until [ "$(wc -l < build/boots)" = 2 ]; do sleep 0.1; done 2> /dev/null
	kill $!
	run wait $!
	sleep 0.5
	! pgrep -f "$PWD/selftests/vm name=" || false
	[ -z "$(ls build/vm/output.* build/vm/results.* 2> /dev/null)" ]
}
