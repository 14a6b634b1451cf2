# SPDX-License-Identifier: GPL-2.0-only
#
# build/matrix.json for people: jq -rf selftests/devices/matrix.jq build/matrix.json
#
# A line is a device in the IOMMU modes in which it does the same, a column a
# buffer, a word how its data goes: premapped, copied, or why neither; "-" was not
# tried, and why not is below the table.

def modes: ["strict", "lazy", "passthrough", "off"];

# Both directions have one word, or two.
def word: (map(if .path == "refused" then .reason
		elif .path == "missing" then "-"
		elif .path == "failed" then "FAILED"
		else .path end) | unique | join("/"));

# What was not tried agrees with anything.
def agrees($b): [., $b] | transpose |
	all(.[0] == .[1] or .[0] == "-" or .[1] == "-");
def with($b): [., $b] | transpose |
	map(if .[0] == "-" then .[1] else .[0] end);

# [{modes, words}]: as few lines as can be
def lines: reduce .[] as $m ([];
	(map(.words | agrees($m.words)) | index(true)) as $i |
	if ($m.words | all(. == "-")) then .
	elif $i == null then . + [$m]
	else .[$i] |= {modes: (.modes + $m.modes),
		words: (.words | with($m.words))} end);

def unsorted_unique: reduce .[] as $x ([];
	if index([$x]) then . else . + [$x] end);

def pad($n): . + " " * ([$n - length, 0] | max);

. as $rows |
(map(.buffer) | unsorted_unique) as $buffers |
(map(.device) | unsorted_unique) as $devices |
([["device", "IOMMU"] + $buffers] + [
	$devices[] as $device |
	[modes[] as $mode | $rows |
		map(select(.device == $device and .iommu == $mode)) |
		select(length > 0) |
		{modes: [$mode], words: [$buffers[] as $b |
			map(select(.buffer == $b)) | word]}] | lines |
	to_entries[] |
	[if .key == 0 then $device else "" end,
		(if .value.modes == modes then "any"
		else .value.modes | join(" ") end)] + .value.words
]) as $table |
([range($table[0] | length) as $i | $table | map(.[$i] | length) | max]) as $widths |
($table[] | [to_entries[] | .value as $v | .key as $k | $v | pad($widths[$k])] |
	join("  ") | sub(" +$"; "")),
"",
"\(map(select(.path == "premapped" or .path == "copied")) | length) cells of I/O, \(map(.bytes) | add) bytes, \(map(.mismatches) | add) wrong; \(map(select(.path == "premapped" and .maps_per_io != 0)) | length) premapped cells with maps of data.",
(map(select(.path == "missing") | "not tried: \(.device), \(.buffer), \(.iommu): \(.reason)") |
	map(select(test(", bar, ") | not)) | unsorted_unique[]),
(map(select(.path == "missing" and .buffer == "bar") | "not tried: bar, \(.iommu): \(.reason)") | unsorted_unique[]),
(map(select(.path == "failed") | "FAILED: \(.device), \(.buffer), \(.iommu), \(.dir): \(.reason)")[])
