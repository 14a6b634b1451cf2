# SPDX-License-Identifier: GPL-2.0-only
# bash completion for blkdmabufctl: the program itself knows what fits.

_blkdmabufctl()
{
	local words=("${COMP_WORDS[@]:1:COMP_CWORD}")

	mapfile -t COMPREPLY < <("$1" __complete "${words[@]}" 2>/dev/null)
}

# Where the program has nothing to offer a file name is wanted.
complete -o default -F _blkdmabufctl blkdmabufctl
