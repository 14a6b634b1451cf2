#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Both shells offer what is in the tables of blkdmabufctl, and nothing else: the
# scripts ask the program, so what is tested is that they ask it right. What the
# program answers, blkdmabufctl.bats compares with the tables. Needs no VM.

load host

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	ctl=${BLKDMABUFCTL:-$root/build/user/blkdmabufctl}
	[ -x "$ctl" ]
	cd "$BATS_TEST_TMPDIR" || exit
	# An option's values that are the same on every machine.
	mkdir policies
	touch policies/{one,two}.bpf.o
	export BLKDMABUF_POLICIES=$PWD/policies
}

tables() { "$ctl" -j --help | jq -r "$1"; }

# in_bash WORD...: what bash offers for the last one, as it splits the line
in_bash() {
	# shellcheck disable=SC2016 # for the other bash
	bash -c '. "$1"; ctl=$2; shift 2
		COMP_WORDS=("$ctl" "$@") COMP_CWORD=$#
		_blkdmabufctl "$ctl"
		printf "%s\n" "${COMPREPLY[@]}"' bash \
		"$root/user/ctl/blkdmabufctl.bash" "$ctl" "$@" | sed '/^$/d'
}

# in_zsh WORD...: the same of zsh, with what the completion system does in
# between; FILES where it goes for file names.
in_zsh() {
	# shellcheck disable=SC2016 # for zsh
	zsh -f -c 'script=$1; shift
		compadd() { print -rl -- "${(@P)2}" }
		compset() { PREFIX=${PREFIX#${~2}} }
		_files() { print FILES }
		words=("$@") CURRENT=$# PREFIX=${@[-1]}
		set --
		. "$script"' zsh "$root/user/ctl/blkdmabufctl.zsh" "$ctl" "$@"
}

# offers SHELL: each command, and of each its options
offers() {
	local words
	"$1" "" > is
	tables '.commands[].name | split(" ")[0]' > should
	same "commands in $1"
	while read -r words; do
		# shellcheck disable=SC2086
		"$1" $words -- > is
		tables ".commands[] | select(.name == \"$words\") |
			(.options[] | \"--\" + .name)" > should
		tables '.options[] | "--" + .name' >> should
		same "options of $words in $1"
	done < <(tables '.commands[].name')
	[ "$("$1" unm)" = unmap ]
}

@test "bash offers each command and each option of it" {
	offers in_bash
}

@test "zsh offers each command and each option of it" {
	command -v zsh > /dev/null || skip "no zsh"
	offers in_zsh
}

# Values come behind "=", too, and do not count as arguments there. bash takes
# the sign for a word of its own, and zsh does not.
@test "bash completes what follows a value" {
	[ "$(in_bash policy load -s a = b tw)" = two ]
	[ "$(in_bash policy load --set = a = b tw)" = two ]
	[ "$(in_bash policy load --set=a=b tw)" = two ]
	[ -z "$(in_bash policy load --as = tw)" ]
	[ "$(in_bash --pin = x unm)" = unmap ]
}

@test "zsh completes what follows a value" {
	command -v zsh > /dev/null || skip "no zsh"
	[ "$(in_zsh policy load -s a=b tw)" = two ]
	[ "$(in_zsh policy load --set=a=b tw)" = two ]
	[ "$(in_zsh policy load --as=tw)" = FILES ]
	[ "$(in_zsh --pin=x unm)" = unmap ]
}

# What is asked, by a program that writes it down.
@test "values behind the sign are those that follow it as a word" {
	cat > ctl <<-'END'
	#!/bin/bash
	printf '<%s>' "$@" > "$0.asked"
	echo system
	END
	chmod +x ctl
	ctl=$PWD/ctl
	[ "$(in_bash read /dev/x --heap = sys)" = system ]
	[ "$(cat ctl.asked)" = '<__complete><read></dev/x><--heap><sys>' ]
	[ "$(in_bash read /dev/x --heap =)" = system ]
	[ "$(cat ctl.asked)" = '<__complete><read></dev/x><--heap><>' ]
	command -v zsh > /dev/null || skip "no zsh"
	[ "$(in_zsh read /dev/x --heap=sys)" = system ]
	[ "$(cat ctl.asked)" = '<__complete><read></dev/x><--heap><sys>' ]
	[ "$(in_zsh read '/dev/a\ b' --heap=)" = system ]
	[ "$(cat ctl.asked)" = '<__complete><read></dev/a b><--heap><>' ]
}

@test "where the program has nothing to offer it is a file name" {
	[ -z "$(in_bash read ./)" ]
	grep -q '^complete -o default ' "$root/user/ctl/blkdmabufctl.bash"
	command -v zsh > /dev/null || skip "no zsh"
	[ "$(in_zsh read ./)" = FILES ]
}

# What the stand-ins above leave open: zsh finds the function, and calls it.
@test "an interactive zsh completes the line" {
	command -v zsh > /dev/null || skip "no zsh"
	mkdir functions bin
	cp "$root/user/ctl/blkdmabufctl.zsh" functions/_blkdmabufctl
	ln -s "$ctl" bin/blkdmabufctl
	cat > .zshrc <<-END
	fpath=($PWD/functions \$fpath)
	path=($PWD/bin \$path)
	autoload -Uz compinit
	compinit -D -u
	dump() { print -r -- "\$BUFFER" >> $PWD/line; BUFFER= }
	zle -N dump
	bindkey '^X' dump
	END
	cat > drive <<-'END'
	zmodload zsh/zpty
	zpty shell zsh -i
	type() {
		zpty -w -n shell "$1"$'\t\x18'
		repeat 100; do
			[[ "$(wc -l < line 2> /dev/null)" -ge $2 ]] && return
			zpty -r -t shell discard; sleep 0.1
		done
	}
	type 'blkdmabufctl unm' 1
	type 'blkdmabufctl register /nothing --hug' 2
	type 'blkdmabufctl policy load tw' 3
	zpty -d shell
	END
	ZDOTDIR=$PWD TERM=dumb timeout 60 zsh -f drive
	cat > should <<-END
	blkdmabufctl unmap
	blkdmabufctl register /nothing --hugetlb
	blkdmabufctl policy load two
	END
	sed 's/ *$//' line | diff - should
}
