#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The manual pages of the library, the device and the policies say what headers
# and sources say: each function, error, constant, member and knob is there, the
# synopses are the declarations, and the examples compile. Of blkdmabufctl(8),
# blkdmabufctl.bats says so. Needs no VM.

load host

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	header=$root/user/lib/libblkdmabuf.h
	abi=$root/include/uapi/linux/blk-dmabuf.h
	ops=$root/kern/include/linux/blk-dmabuf-policy.h
	device=$root/user/man/blk-dmabuf.4
	policies=$root/user/man/blkdmabuf-policies.7
	pages=("$root"/user/man/*.[1-8])
	library=("$root"/user/man/*.3)
	[ ${#library[@]} -gt 5 ]
	cd "$BATS_TEST_TMPDIR" || exit
}

# has WHAT: each line of the file "should" is in the file "is", too.
has() {
	sort -u is > is.sorted
	sort -u should > should.sorted
	[ -s should ]
	comm -13 is.sorted should.sorted > lost
	[ ! -s lost ] || { echo "# $1 lacks:"; cat lost; false; } >&2
}

functions() {
	tr '\n' ' ' < "$header" | grep -o 'blkdmabuf_[a-z_]*([^)]*);' |
		sed 's/(.*//'
}

# names PAGE...: what the NAME section of each says it is about
names() {
	sed -s -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([^ ]*\).*/\1/p' "$@"
}

# section NAME PAGE: its source
section() {
	sed -n "/^\.Sh $1\$/,/^\.Sh /p" "$2" | sed '$d'
}

@test "mandoc finds no mistake in any page" {
	command -v mandoc > /dev/null || skip "no mandoc"
	# Which other pages are there depends on the machine.
	mandoc -Tlint "${pages[@]}" 2> /dev/null |
		grep -v 'referenced manual' > is || true
	cat is >&2
	[ ! -s is ]
}

@test "man shows each page without a warning" {
	command -v man > /dev/null || skip "no man"
	for page in "${pages[@]}"; do
		MANWIDTH=80 man --warnings -E UTF-8 -P cat -l "$page" > out 2> err
		cat err >&2
		[ ! -s err ]
		grep -q '^NAME' out
	done
}

@test "each function of the library is in the NAME of one page" {
	functions > should
	names "${library[@]}" | grep -v '^libblkdmabuf$' > is
	same functions
	[ -z "$(sort is | uniq -d)" ]
}

@test "each page says all that is to be said of a function" {
	for page in "${library[@]}"; do
		for name in LIBRARY SYNOPSIS DESCRIPTION 'RETURN VALUES' \
			EXAMPLES ERRORS 'SEE ALSO'; do
			grep -q "^\.Sh $name\$" "$page" ||
				{ echo "$page: no $name" >&2; false; }
		done
	done
}

# The declarations of the page meet those of the header, which it includes.
@test "the synopsis of each page is what the header declares" {
	command -v mandoc > /dev/null || skip "no mandoc"
	for page in "${library[@]}"; do
		echo "$page" >&2
		mandoc -T ascii -O width=1000 "$page" | sed 's,.\x08,,g' |
			sed -n '/^SYNOPSIS/,/^DESCRIPTION/{//!p}' > synopsis.c
		grep -q '^ *#include <libblkdmabuf.h>' synopsis.c
		gcc -Wall -Wextra -Werror -I"$root/user/lib" \
			-I"$root/include/uapi" -c synopsis.c
		sed -n 's/^ *\(blkdmabuf_[a-z_]*\)(.*/\1/p' synopsis.c > is
		[ "$page" = "$root/user/man/libblkdmabuf.3" ] || {
			names "$page" > should
			same "synopsis and name of $page"
		}
	done
}

# "function -Eerror" for each that the comment in front of a function has
documented_errors() {
	awk '/^\/\*\*/ { name = "" }
		!name && match($0, /blkdmabuf_[a-z_]+ - /) {
			name = substr($0, RSTART, RLENGTH - 3) }
		name { line = $0
			while (match(line, /-E[A-Z0-9]+/)) {
				print name, substr(line, RSTART + 1, RLENGTH - 1)
				line = substr(line, RSTART + RLENGTH) } }
		/\*\// { name = "" }' "$header"
}

@test "each error that the header knows is among the errors of the page" {
	documented_errors > errors
	[ "$(wc -l < errors)" -gt 50 ]
	while read -r function error; do
		page=$(grep -l "^\.Nm $function\( ,\)\?\$" "${library[@]}")
		{ section ERRORS "$page"; section 'RETURN VALUES' "$page"; } |
			grep -q "Er $error\b" ||
			{ echo "$page: $function: $error" >&2; false; }
	done < errors
}

# examples PAGE: each display of its EXAMPLES to a file, example-N
examples() {
	rm -f example-*
	section EXAMPLES "$1" | awk '/^\.Bd -literal/ { n++; on = 1; next }
		/^\.Ed/ { on = 0 }
		on { gsub(/\\e/, "\\"); sub(/^\\&/, ""); print > ("example-" n) }'
}

@test "the examples compile, and link with the library" {
	for page in "${library[@]}" "$device"; do
		examples "$page"
		n=0
		for f in example-*; do
			grep -q '^#include' "$f" || continue
			n=$((n + 1))
			echo "$page: $f" >&2
			mv "$f" example.c
			gcc -Wall -Wextra -Werror -fPIC -shared -Wl,-z,defs \
				-I"$root/user/lib" -I"$root/include/uapi" \
				-o example.so example.c \
				"$root/build/user/libblkdmabuf.so.1" -luring
		done
		[ $n -ge 1 ] || { echo "$page has none" >&2; false; }
	done
}

@test "the examples show a function of their page" {
	for page in "${library[@]}"; do
		section EXAMPLES "$page" > text
		names "$page" > functions
		[ "$page" != "$root/user/man/libblkdmabuf.3" ] ||
			echo blkdmabuf_register > functions
		sed 's/$/(/' functions | grep -qF -f - text ||
			{ echo "$page" >&2; false; }
	done
}

@test "the policy compiles as its page says" {
	need_clang
	examples "$policies"
	policy=$(grep -l '^#include' example-*)
	command=$(sed -n 's/^clang //p' example-*)
	[ -n "$command" ]
	name=${command##* }
	mv "$policy" "$name"
	cp "$root/build/vmlinux.h" .
	export CPATH=$root/bpf:$root/build/bpftool/libbpf/include
	# shellcheck disable=SC2086
	"$CLANG" -Wall -Werror $command
	grep -q "policy load ./${name%.c}.o " example-*
	"$root/build/bpftool/bpftool" -j gen skeleton "${name%.c}.o" name mine |
		grep -q 'maps.mine'
	# What it does is told in CONTRIBUTING, too, and tested from there.
	sed -n '/^```c$/,/^```$/{//!p}' "$root/CONTRIBUTING.md" > there
	sed -n '/^const volatile/,$p' "$name" | diff there -
}

# members FILE STRUCT: as they are declared
members() {
	awk -v start="struct $2 {" '$0 == start { on = 1; next }
		/^}/ { on = 0 }
		on && /;/ { sub(/;.*/, ""); sub(/\[.*/, ""); print $NF }' "$1"
}

# told PAGE STRUCT: what stands between its name and that of another
told() {
	awk -v name="$2" '/Vt struct / { on = 0
			for (i = 1; i <= NF; i++)
				on = on || $i == name }
		on && /^\.(It )?Va / {
			sub(/^\.(It )?Va /, "")
			n = split($0, words, /[ ,.;]+/)
			for (i = 1; i <= n; i++)
				print words[i] }' "$1"
}

@test "the page of the device has each member of each structure" {
	sed -n 's/^struct \(blk_dmabuf_[a-z_]*\) {/\1/p' "$abi" > structs
	[ "$(wc -l < structs)" -ge 9 ]
	while read -r struct; do
		members "$abi" "$struct" > should
		told "$device" "$struct" > is
		has "struct $struct in the page"
	done < structs
}

@test "the page of the device has each constant of the ABI" {
	sed -n -e 's/^\t\(BLK_DMABUF_[A-Z_0-9]*\)\t*= .*/\1/p' \
		-e 's/^#define \(BLK_DMABUF_[A-Z_0-9]*\).*/\1/p' "$abi" |
		grep -vx BLK_DMABUF_IOC > should
	[ "$(wc -l < should)" -gt 60 ]
	grep -o 'BLK_DMABUF_[A-Z_0-9]*' "$device" > is
	has "constants in the page"
}

@test "the page of policies has each member of the table, with its type" {
	sed -n 's/^\t\([a-z0-9]*\) (\*\([a-z_]*\))(\(.*\));/"\1 \2" "\3"/p' \
		"$ops" > should
	[ "$(wc -l < should)" -ge 7 ]
	sed -n '/^\.Ss Members/,/^\.Ss Life/s/^\.It Fn //p' "$policies" > is
	same members
	grep -q '^\.It Va name$' "$policies"
}

@test "the page of policies has each member of what a policy sees" {
	for struct in blk_dmabuf_queue blk_dmabuf_grant blk_dmabuf_desc; do
		members "$ops" $struct > should
		told "$policies" $struct > is
		has "struct $struct in the page"
	done
}

@test "the page of policies has each function that a policy can call" {
	sed -n '/^__bpf_kfunc /{N;s/.*\(bpf_blk_dmabuf_[a-z_]*\)(.*/\1/p}' \
		"$root/kern/block/blk-dmabuf-policy.c" > should
	[ "$(wc -l < should)" -ge 7 ]
	sed -n '/^\.Ss What a policy can call/,/^\.Ss [^W]/p' "$policies" |
		sed -n 's/^\.\(It Fn\|Fo\) "[a-z0-9]* \(bpf_[a-z_]*\)".*/\2/p' > is
	same functions
}

@test "the page of policies has each policy, and each of its knobs" {
	(cd "$root/bpf" && ls -- *.bpf.c) | sed 's/\.bpf\.c$//' > should
	sed -n '/^\.Ss Policies that/,/^\.Sh /s/^\.It Cm //p' "$policies" > is
	same policies
	cp should policies
	grep -c '^const volatile' "$root"/bpf/*.bpf.c | awk -F: '{ n += $2 }
		END { exit n < 10 }'
	while read -r policy; do
		sed -n 's/^const volatile [a-z0-9]* \([a-z_]*\) = .*/\1/p' \
			"$root/bpf/$policy.bpf.c" > should
		[ -s should ] || continue
		sed -n "/^\.It Cm $policy\$/,/^\.\(It Cm\|El\)/{
			s/^\.Va \([a-z_]*\).*/\1/p}" "$policies" > is
		has "knobs of $policy in the page"
	done < policies
}

@test "pages refer to pages that are there" {
	for page in "${pages[@]}"; do
		names "$page" | sed "s/\$/ ${page##*.}/"
	done > there
	grep -q '^blkdmabuf_bind 3$' there
	grep -qx 'blkdmabuf 4' there
	sed -n 's/^\.Xr \(\(lib\)\?blk-\?dmabuf[^ ]* [0-9]\).*/\1/p' \
		"${pages[@]}" > should
	mv there is
	has "the set of pages"
}
