# SPDX-License-Identifier: GPL-2.0-only
# bash completion for blkdmabufctl: the program itself knows what fits.

_blkdmabufctl()
{
	local word words=()

	# "--pin=x" is one word to the program, and three to bash.
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if [[ ${#words[@]} -gt 0 &&
			( $word = "=" || ${words[-1]} = *"=" ) ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
	done
	# What is typed of it is the value.
	if [[ ${words[-1]} = --*=* ]]; then
		word=${words[-1]}
		words[-1]=${word%%=*}
		words+=("${word#*=}")
	fi
	mapfile -t COMPREPLY < <("$1" __complete "${words[@]}" 2>/dev/null)
}

# Where the program has nothing to offer a file name is wanted.
complete -o default -F _blkdmabufctl blkdmabufctl
