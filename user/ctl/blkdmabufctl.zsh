#compdef blkdmabufctl
# SPDX-License-Identifier: GPL-2.0-only
# zsh completion for blkdmabufctl: the program itself knows what fits. Installed
# as _blkdmabufctl in a directory of $fpath.

_blkdmabufctl()
{
	local -a typed offers

	(( CURRENT > 2 )) && typed=("${(@Q)words[2,CURRENT-1]}")
	# Of "--pin=x" what is to be completed is the value.
	if [[ $PREFIX = --*=* ]]; then
		typed+=("${PREFIX%%=*}")
		compset -P '*='
	fi
	typed+=("${(Q)PREFIX}")
	offers=(${(f)"$("${(Q)words[1]}" __complete "${typed[@]}" 2>/dev/null)"})
	# Where the program has nothing to offer a file name is wanted.
	if (( ${#offers} )); then
		compadd -a offers
	else
		_files
	fi
}

_blkdmabufctl "$@"
