# SPDX-License-Identifier: GPL-2.0-only
#
# What the tests and the benchmark left in build/, as tables for a mail. Each function
# takes one of the files; a number that is not in it is "-", none is made up.

def pad($n): tostring | . + " " * ([$n - length, 0] | max);
def lpad($n): tostring | " " * ([$n - length, 0] | max) + .;
def round_to($n): . * pow(10; $n) | round / pow(10; $n);
def or_dash(f): if . == null then "-" else f end;
def size: if . >= 1048576 then "\(. / 1048576) MiB" else "\(. / 1024) KiB" end;

# Words after each other, in lines that a mail has room for.
def wrap($indent): reduce .[] as $w ([""];
	if (.[-1] + $w | length) + $indent > 70 then .[:-1] + [.[-1] | rtrimstr(" ")] + [$w + ", "]
	else .[-1] += $w + ", " end) | .[-1] |= rtrimstr(", ") |
	map(" " * $indent + .)[];

# ---- demo.json ----

def demo:
  "  IOMMU \(.iommu), \(.kernel)",
  "  ordinary direct I/O  \(.iommu_maps_per_io.stock)",
  "  dma-buf              \(.iommu_maps_per_io.blkdmabuf)";

# ---- bench.json ----

def insns($cell; $path):
  first($cell[] | select(.path == $path) | .insns_per_io) // null;

def bench:
  "  " + ("IOMMU" | pad(12)) + ("I/O" | pad(14)) +
    (["registered", "dma-buf", "+policy", "ratio"] | map(lpad(11)) | join("")),
  (.rows | map(select(.source == "icount" and .kernel == "kernel" and
     .at == "first" and .mode == "interrupt" and .buffer == "fragmented")) |
   group_by([.iommu, .size, .batch])[] | . as $cell |
   (insns($cell; "registered")) as $there | (insns($cell; "dmabuf")) as $here |
   "  " + (.[0].iommu | pad(12)) + ("\(.[0].size | size) x\(.[0].batch)" | pad(14)) +
   ([$there, $here, insns($cell; "place_map_queue")] |
     map(or_dash(round) | lpad(11)) | join("")) +
   (if $there and $here then $here / $there | round_to(3) else "-" end |
     lpad(11)));

def targets:
  .targets[] | "  " +
  (if .met == null then "not measured" elif .met then "met" else "MISSED" end |
    pad(14)) + (.value | or_dash(round_to(4)) | lpad(8)) + " <= " +
  (.limit | pad(6)) + " " + .target;

# ---- policy-cost.json ----

def policy:
  .[] | "  " + (.policy | pad(28)) + (.insns_per_io | lpad(8)) +
  (.overhead_pct | or_dash(if . > 0 then "+\(.)" else "\(.)" end) | lpad(9)) + " %";

# ---- stack.json ----

# A path that was taken in one direction and not in the other is both.
def on_path($path): group_by(.on) |
  map(select(map(.path) | unique | index($path)) | .[0].on);

def wrong: map(.mismatches // 0) | add;

def stack:
  ("  premapped:", (on_path("premapped") | wrap(4)),
   "  refused:", (on_path("refused") | wrap(4)),
   "  \(map(.bytes // 0) | add) bytes compared, \(wrong) wrong; " +
   "\(map(select(.path == "premapped") | .maps_per_io // 0) | max) IOMMU mappings" +
   " per premapped I/O");

# ---- matrix.json ----

def matrix:
  "  " + ("device" | pad(22)) +
    (["premapped", "copied", "refused", "missing"] | map(lpad(10)) | join("")),
  (. as $rows | (map(.device) | unique[]) as $device |
   ($rows | map(select(.device == $device))) as $cells |
   "  " + ($device | pad(22)) + (["premapped", "copied", "refused", "missing"] |
     map(. as $path | $cells | map(select(.path == $path)) | length | lpad(10)) |
     join(""))),
  "  Cells of a device: buffers, IOMMU modes, directions. " +
  "\(map(.bytes // 0) | add) bytes",
  "  compared, \(wrong) wrong, \(map(select(.path == "failed")) | length) failed.";

# ---- copy.json ----

def copy:
  (map(.on | sub(", .*"; "")) | unique | wrap(2)),
  "  \(map(.bytes) | add) bytes copied, \(wrong) wrong";
