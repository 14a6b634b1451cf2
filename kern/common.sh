# SPDX-License-Identifier: GPL-2.0-only
# Shared by kern/prepare, kern/build, kern/hooks and user/fio/headers: where things
# are, the small git repository in build/linux, and the package archive. Sourced,
# not run.
# shellcheck shell=bash

set -eu -o pipefail
export LC_ALL=C

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
KERN=$TOP/kern
BUILD=$TOP/build
TREE=$BUILD/linux
STATE=$TREE/.git/blkdmabuf

ME=${0#"$TOP"/}
say() { printf '%s: %s\n' "$ME" "$*"; }
warn() { printf '%s: %s\n' "$ME" "$*" >&2; }
die() { warn "$*"; exit 1; }

need() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null ||
			die "$tool is missing; run 'make deps'"
	done
}

# base KEY: a value of kern/BASE
base() { sed -n "s/^$1=//p" "$KERN/BASE"; }

# Whatever the developer's git is set up to do (signing, hooks, diff
# algorithms, word prefixes) must not change what a patch looks like.
plain_git() {
	GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \
		git -c core.hooksPath=/dev/null "$@"
}

tree_git() { plain_git -C "$TREE" "$@"; }

base_commit() { cat "$STATE/base"; }

# The files that kern/ adds to the kernel, as paths in the kernel tree.
overlay_files() {
	(cd "$KERN" && find . -mindepth 2 -type f ! -path './patches/*' \
		! -path './series/*' ! -path './rfc/*' ! -name '*~' ! -name '.*' -printf '%P\n')
	printf '%s\n' include/uapi/linux/blk-dmabuf.h
}

# overlay_source PATH: where an overlay file really is
overlay_source() {
	case $1 in
	include/uapi/linux/blk-dmabuf.h) printf '%s\n' "$TOP/$1" ;;
	*) printf '%s\n' "$KERN/$1" ;;
	esac
}

patch_files() { find "$KERN/patches" -name '*.patch' 2>/dev/null | sort; }

series_hash() {
	local patches
	mapfile -t patches < <(patch_files)
	cat /dev/null "${patches[@]}" | sha256sum | cut -d' ' -f1
}

# Edits to base files that git in build/linux does not know about: newer than
# the unpacked tree and neither tracked nor an overlay link.
untracked_edits() {
	[ -e "$STATE/unpacked" ] || return 0
	(cd "$TREE" && find . -path ./.git -prune -o -type f \
		! -name '*.pyc' ! -name '.checkpatch-camelcase*' \
		-newer .git/blkdmabuf/unpacked -printf '%P\n') | sort |
		comm -23 - <(tree_git ls-files | sort)
}

# The machine's own Debian entry with another suite, so that mirror, proxy and
# keyring are what this machine uses anyway.
own_entry() {
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	{ cat /etc/apt/sources.list.d/*.sources || :; } 2>/dev/null |
		own_entry_deb822 "$1" "$codename"
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list || :; } \
		2>/dev/null | own_entry_line "$1" "$codename"
}

own_entry_deb822() {
	awk -v suite="$1" -v codename="$2" '
	function flush() {
		if (uris != "" && hit)
			printf "Types: deb\nURIs:%s\nSuites: %s\n" \
			       "Components: main\n%s\n", uris, suite, signed
		uris = signed = ""; hit = 0; in_signed = 0
	}
	/^#/ { next }
	/^[ \t]*$/ { flush(); next }
	/^[^ \t]/ { in_signed = 0 }
	tolower($1) == "uris:" { uris = substr($0, 6) }
	tolower($1) == "suites:" {
		for (i = 2; i <= NF; i++)
			if ($i == codename || $i == "stable")
				hit = 1
	}
	tolower($1) == "signed-by:" { in_signed = 1 }
	in_signed { signed = signed $0 "\n" }
	END { flush() }'
}

own_entry_line() {
	awk -v suite="$1" -v codename="$2" '
	$1 == "deb" {
		opts = ""
		rest = $0
		sub(/^deb[ \t]+/, "", rest)
		if (rest ~ /^\[/) {
			opts = substr(rest, 2, index(rest, "]") - 2)
			sub(/^\[[^]]*\][ \t]*/, "", rest)
		}
		split(rest, f, /[ \t]+/)
		if (f[2] != codename && f[2] != "stable")
			next
		printf "Types: deb\nURIs: %s\nSuites: %s\n", f[1], suite
		printf "Components: main\n"
		n = split(opts, o, /[ \t]+/)
		for (i = 1; i <= n; i++)
			if (sub(/^signed-by=/, "", o[i]))
				printf "Signed-By: %s\n", o[i]
		printf "\n"
	}'
}

# apt with a state directory of its own, build/apt or $APT_DIR: the machine's suites
# stay as they are.
private_apt() {
	local tool=$1 dir=${APT_DIR:-$BUILD/apt}
	shift
	"$tool" -q -o Dir::Etc::SourceList="$dir/own.sources" \
		-o Dir::Etc::SourceParts=- -o Dir::State::Lists="$dir/lists" \
		-o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root \
		-o Acquire::Languages=none -o Acquire::Retries=3 \
		-o APT::Default-Release= "$@"
}

# kmake FLAVOUR ARGS...: make in the kernel tree, objects in build/FLAVOUR
kmake() {
	local out=$BUILD/$1 cc=gcc
	shift
	if command -v ccache >/dev/null && [ "${CCACHE_DISABLE:-}" = "" ]; then
		cc='ccache gcc'
		# Checkouts at different paths share what they compiled.
		export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$TOP}
		export CCACHE_NOHASHDIR=1
	fi
	mkdir -p "$out"
	# An empty LOCALVERSION keeps the state of git out of the release.
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
		make -C "$TREE" O="$out" CC="$cc" HOSTCC="$cc" LOCALVERSION= \
		KBUILD_BUILD_USER=blkdmabuf KBUILD_BUILD_HOST=localhost "$@"
}

# unpatched_tree DIR: make DIR the kernel tree without the project's change, with
# hard links, so that it costs no space. git replaces files, it never writes into
# them.
unpatched_tree() {
	local dir=$1
	if [ ! -d "$dir" ] || ! cmp -s "$STATE/base" "$dir/.unpatched-base"
	then
		rm -rf "$dir"
		mkdir "$dir"
		(cd "$TREE" && find . -mindepth 1 -maxdepth 1 ! -name .git \
			-exec cp -al -t "$dir" {} +)
		tree_git worktree prune
		tree_git worktree add -q --no-checkout --detach "$dir.git" \
			"$(base_commit)"
		mv "$dir.git/.git" "$dir/.git"
		rmdir "$dir.git"
		tree_git worktree repair "$dir" > /dev/null 2>&1
		plain_git -C "$dir" reset -q
		cp "$STATE/base" "$dir/.unpatched-base"
	fi
	# Links to files of this project have no place in it.
	find "$dir" -path '*/.git' -prune -o -type l -print |
		while read -r l; do
			case $(readlink "$l") in
			*../kern/* | *../include/uapi/linux/blk-dmabuf.h)
				rm "$l" ;;
			esac
		done
	plain_git -C "$dir" checkout -q -f --detach "$(base_commit)"
}

# fragment FLAVOUR: what is asked of Kconfig. An unpatched kernel knows none of our
# options.
fragment() {
	cat "$KERN/blkdmabuf.config" "$KERN/test.config" |
		case $1 in
		kernel-bench) cat - "$KERN/bench.config" ;;
		kernel-stock) cat - "$KERN/bench.config" |
			sed '/^CONFIG_BLK_DMABUF/d' ;;
		kernel-debug) cat - "$KERN/debug.config" ;;
		*) cat ;;
		esac
}

config_inputs() {
	fragment "$1"
	(cd "$TREE" && { tree_git ls-files '*Kconfig*'; overlay_files |
		grep Kconfig || :; } | xargs -d '\n' cat)
	gcc --version
}

# lost FLAVOUR CONFIG: wanted options that did not survive Kconfig; a later
# fragment overrides an earlier one
lost() {
	local line name
	fragment "$1" | { grep -E '^CONFIG_[A-Z0-9_a-z]+=' || :; } |
	awk -F= '{ want[$1] = $0 } END { for (n in want) print want[n] }' |
	while read -r line; do
		name=${line%%=*}
		case $line in
		*=n) ! grep -q "^$name=" "$2" || echo "$line" ;;
		*) grep -qxF "$line" "$2" || echo "$line" ;;
		esac
	done
}

# configure FLAVOUR: everything off, then the fragments, then look whether
# each wanted option survived. An unchanged result keeps its time stamp.
configure() {
	local flavour=$1 out=$BUILD/$1 hash new gone
	hash=$(config_inputs "$flavour" | sha256sum)
	if [ -e "$out/.config" ] &&
	   [ "$(cat "$out/.blkdmabuf-config" 2>/dev/null)" = "$hash" ]; then
		return 0
	fi
	say "configuring $flavour"
	mkdir -p "$out"
	fragment "$flavour" > "$out/wanted.config"
	new=$out/new.config
	rm -f "$new"
	kmake "$flavour" -s KCONFIG_CONFIG="$new" \
		KCONFIG_ALLCONFIG="$out/wanted.config" allnoconfig \
		> "$out/config.log" 2>&1 ||
		{ cat "$out/config.log" >&2; die "Kconfig failed"; }
	gone=$(lost "$flavour" "$new")
	if [ -n "$gone" ]; then
		warn "options that Kconfig dropped (a dependency is missing):"
		printf '  %s\n' "${gone//$'\n'/$'\n'  }" >&2
		exit 1
	fi
	cmp -s "$new" "$out/.config" || mv "$new" "$out/.config"
	rm -f "$new"
	printf '%s\n' "$hash" > "$out/.blkdmabuf-config"
}
