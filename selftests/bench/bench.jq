# SPDX-License-Identifier: GPL-2.0-only
#
# What selftests/bench/bench makes of its rows: the targets, a table, and the data of
# charts. A ratio is of instructions, unless it says otherwise.

def all_keys:
  {kernel: null, iommu: null, source: null, mode: null, path: null, size: null,
   batch: null, depth: null, buffer: null, at: null, direction: "read",
   access: "random", threads: 1, policy: null, insns_per_io: null,
   iops: null, iops_min: null, iops_max: null, mib_per_second: null,
   ratio: null, p50_ns: null, p99_ns: null, p999_ns: null, cpu_ns: null,
   switches: null, interrupts: null, maps: null, unmaps: null,
   invalidations: null, allocations: null, refused: null} + .;

# The instructions of one cell, null where there are none. Ordinary memory is
# scattered, so that is the buffer unless another one is named.
def insns($want):
  ({kernel: "kernel", source: "icount", mode: "interrupt",
    buffer: "fragmented", at: "first"} + $want) as $all |
  first(.[] | . as $row |
    select(all($all | to_entries[]; $row[.key] == .value)) |
    .insns_per_io) // null;

def quotient($a; $b): if $a and $b then $a / $b else null end;

def target($text; $value; $limit):
  {target: $text, value: $value, limit: $limit,
   met: (if $value == null then null else $value <= $limit end)};

def size_name: if .size >= 1048576 then "\(.size / 1048576) MiB"
  else "\(.size / 1024) KiB" end;

def cell_name: "\(size_name) x\(.batch)";

# ---- the targets ----

# Of the unpatched kernel's, if there is one.
def against_registered($iommu; $size; $batch; $limit):
  {iommu: $iommu, size: $size, batch: $batch} as $c |
  {path: "registered"} as $stock |
  target("\($iommu), \($c | cell_name), of registered buffers";
    quotient(insns($c + {path: "dmabuf"});
      insns($c + $stock + {kernel: "kernel-stock"}) // insns($c + $stock));
    $limit);

def polled_targets:
  {mode: "polled", size: 4096, batch: 32} as $c |
  target("polled 4 KiB x32, strict, of registered buffers in passthrough";
    quotient(insns($c + {iommu: "strict", path: "dmabuf"});
      insns($c + {iommu: "passthrough", path: "registered"})); 1.00),
  (("strict", "lazy", "passthrough") as $iommu |
    target("polled 4 KiB x32, \($iommu), of NVMe commands";
      quotient(insns($c + {iommu: $iommu, path: "dmabuf"});
        insns($c + {iommu: $iommu, path: "passthrough"})); 1.00));

def shape_targets:
  ("strict", "passthrough") as $iommu |
  {iommu: $iommu, path: "dmabuf", batch: 1} as $c |
  target("\($iommu), 512 KiB of a contiguous buffer, of 4 KiB";
    quotient(insns($c + {size: 524288, buffer: "contiguous"});
      insns($c + {size: 4096, buffer: "contiguous"})); 1.05),
  (quotient(insns($c + {size: 4096, at: "last"}); insns($c + {size: 4096})) |
    target("\($iommu), last 4 KiB of a fragmented buffer, off the first";
      if . == null then null else (. - 1 | fabs) end; 0.01));

def policy_targets:
  (("strict", "passthrough") as $iommu | {iommu: $iommu, size: 4096} as $c |
    (quotient(insns($c + {batch: 1, path: "place_map_queue"});
       insns($c + {batch: 1, path: "dmabuf"})) |
     target("\($iommu), place and map_queue at depth 1, more than none";
       if . == null then null else . - 1 end; 0.03)),
    (quotient(insns($c + {mode: "polled", batch: 32, path: "place_map_queue"});
       insns($c + {mode: "polled", batch: 32, path: "dmabuf"})) |
     target("\($iommu), place and map_queue in polled batches, more than none";
       if . == null then null else . - 1 end; 0.08)));

def stat_targets:
  ("strict", "passthrough") as $iommu |
  {iommu: $iommu, size: 4096, batch: 1} as $c |
  (quotient(insns($c + {path: "stat"}); insns($c + {path: "dmabuf"})) |
   target("\($iommu), stat running at depth 1, more than none";
     if . == null then null else . - 1 end; 0.05));

# I/O per second, as a multiple of what registered buffers reach. In another mode
# that is another boot, and the machine may have been busy with something else.
def iops($want):
  ({kernel: "kernel", source: "clock", mode: "interrupt",
    buffer: "fragmented", depth: 32, direction: "read", access: "random",
    threads: 1} + $want) as $all |
  first(.[] | . as $row |
    select(all($all | to_entries[]; $row[.key] == .value)) | .iops) // null;

def iops_targets:
  def times($text; $ours; $theirs; $limit):
    target("I/O per second, " + $text; quotient(iops($theirs); iops($ours));
      1 / $limit);
  ([4096, 3], [524288, 4]) as [$size, $limit] | {size: $size, batch: 1} as $c |
  ($c | cell_name) as $name |
  (($c + {iommu: "strict", path: "dmabuf"}) as $ours |
   times("strict, \($name), registered buffers of dma-buf"; $ours;
     $c + {iommu: "strict", path: "registered"}; $limit),
   times("strict, \($name), registered in passthrough of dma-buf"; $ours;
     $c + {iommu: "passthrough", path: "registered"}; 1)),
  times("passthrough, \($name), registered buffers of dma-buf";
    $c + {iommu: "passthrough", path: "dmabuf"};
    $c + {iommu: "passthrough", path: "registered"}; 1);

# Nothing is to be left to count in any row with a dma-buf.
def count_target($iommu):
  [.[] | select(.kernel == "kernel" and .iommu == $iommu and
    (.path | IN("dmabuf", "minimal", "place_map_queue", "pieces", "policy")))] |
  map(.maps, .unmaps, (if $iommu == "lazy" then empty
    else .invalidations end)) | map(values) |
  target("\($iommu), maps, unmaps, invalidations of a dma-buf";
    if length == 0 then null else max end; 0);

# Objects that an I/O allocates beyond those of registered buffers, in the same cell.
# The array of a vectored command is its own, so that is left out. What the rest of
# the system allocates meanwhile is counted, too: there are runs of twenty commands, so
# one of it is 0.05.
def allocation_target($iommu):
  def cell: [.mode, .buffer, .size, .batch, .at];
  map(select(.kernel == "kernel" and .iommu == $iommu and .source == "icount" and
    .allocations != null)) |
  (map(select(.path == "registered") | {key: (cell | tojson), value: .allocations}) |
    from_entries) as $theirs |
  [.[] | select(.path | IN("dmabuf", "minimal", "place_map_queue")) |
    .allocations - ($theirs[cell | tojson] // empty)] |
  target("\($iommu), allocations of an I/O on a dma-buf beyond registered buffers\u0027";
    if length == 0 then null else max end; 0.1);

# What is less is no cost.
def ordinary_targets:
  ("strict", "passthrough") as $iommu |
  ([4096, 1], [4096, 32], [131072, 8], [524288, 4]) as [$size, $batch] |
  ("stock", "registered", "registered+channel") as $path |
  {iommu: $iommu, size: $size, batch: $batch} as $c |
  (if $path == "stock" then $path else "registered" end) as $same |
  quotient(insns($c + {path: $path});
    insns($c + {path: $same, kernel: "kernel-stock"})) |
  target("\($iommu), \($c | cell_name), " +
      {stock: "O_DIRECT", registered: "registered buffers",
       "registered+channel": "registered buffers with a channel open"}[$path] +
      ", more than unpatched";
    if . == null then null else . - 1 end;
    if $path == "registered+channel" then 0.003 else 0.001 end);

def targets:
  [against_registered("strict"; 4096; 1; 0.81),
   against_registered("strict"; 4096; 32; 0.61),
   against_registered("strict"; 131072; 8; 0.16),
   against_registered("strict"; 524288; 4; 0.036),
   against_registered("passthrough"; 4096; 1; 0.95),
   against_registered("passthrough"; 4096; 32; 0.87),
   against_registered("passthrough"; 131072; 8; 0.42),
   against_registered("passthrough"; 524288; 4; 0.20),
   polled_targets, shape_targets, policy_targets, stat_targets, iops_targets,
   (("strict", "lazy", "passthrough") as $iommu | count_target($iommu),
     allocation_target($iommu)),
   ordinary_targets];

# More CPUs than one, of one; of the rows of bench-scale.
def scale_targets:
  [("strict", "lazy", "passthrough") as $iommu |
   ("dmabuf, one channel", "dmabuf, a channel each") as $path |
   map(select(.iommu == $iommu and .path == $path)) | select(length > 1) |
   (map(select(.cpus == 1))[0].insns_per_io) as $one |
   target("\($iommu), \($path): 2, 4, 8 CPUs, of one";
     quotient(map(.insns_per_io) | max; $one); 1.05)];

# ---- text ----

def pad($n): tostring | . + ([range($n - length)] | map(" ") | join(""));
def lpad($n): tostring | ([range($n - length)] | map(" ") | join("")) + .;
def round_to($n): . * pow(10; $n) | round / pow(10; $n);

def target_lines:
  .targets[] |
  (if .met == null then "not measured" elif .met then "met" else "MISSED" end |
    pad(13)) +
  ((.value | if . == null then "-" else round_to(4) end) | lpad(8)) + " <= " +
  (.limit | round_to(4) | pad(6)) + " " + .target;

def table:
  ["stock", "registered", "passthrough", "dmabuf", "place_map_queue", "pieces"]
    as $paths |
  "Instructions of the guest per read:",
  (["IOMMU", "RING", "BUFFER", "I/O"] | map(pad(12)) | join("")) +
  (["O_DIRECT", "REGISTERED", "NVME CMDS", "DMA-BUF", "+POLICY", "IN PAGES",
     "RATIO"] |
    map(lpad(11)) | join("")),
  (.rows | map(select(.source == "icount" and .kernel == "kernel" and
     .at == "first")) |
   group_by([.iommu, .mode, .buffer, .size, .batch])[] | . as $cell | .[0] |
   ([.iommu, .mode, .buffer, cell_name] | map(pad(12)) | join("")) +
   ([$paths[] as $p | first($cell[] | select(.path == $p) | .insns_per_io) //
      null | if . == null then "-" else round end | lpad(11)] | join("")) +
   (quotient(first($cell[] | select(.path == "dmabuf") | .insns_per_io) // null;
      first($cell[] | select(.path == "registered") | .insns_per_io) // null) |
     (if . == null then "-" else round_to(3) end) | lpad(11)));

# What tells a row that was timed from random reads of one thread, one at a time.
def clock_words:
  [(.mode | select(. != "interrupt")), (.direction | select(. != "read")),
   (.access | select(. != "random")), (.buffer | select(. != "fragmented")),
   (.batch | select(. > 1) | "batch \(.)"),
   (.threads | select(. > 1) | "\(.) threads")];

# Two sizes are enough for a terminal.
def clock_table:
  "I/Os per second of each path as a multiple of those with registered buffers; " +
    "99th percentile",
  "of the latency and CPU time of a dma-buf's, likewise:",
  (["IOMMU", "WHAT", "I/O"] | [., [12, 30, 9]] | transpose |
    map(.[1] as $n | .[0] | pad($n)) | join("")) +
  (["DEPTH", "O_DIRECT", "NVME CMDS", "DMA-BUF", "+POLICY", "P99", "CPU"] |
    map(lpad(10)) | join("")),
  (.rows | map(select(.source == "clock" and
     (.size == 4096 or .size == 524288))) |
   map(. + {what: (clock_words | join(" "))}) |
   # Rows of a policy have been timed beside some without, which come once more.
   group_by([.iommu, .what, .size, .depth])[] | . as $cell | .[0] |
   ([.iommu | pad(12)] + [.what | pad(30)] + [size_name | pad(9)] | join("")) +
   (.depth | lpad(10)) +
   ([("stock", "passthrough", "dmabuf") as $p |
      first($cell[] | select(.path == $p) | .ratio) // null] +
    [first($cell[] | select(.policy == "place_map_queue") | .ratio) // null] +
    [("p99_ns", "cpu_ns") as $key |
      quotient(first($cell[] | select(.path == "dmabuf") | .[$key]) // null;
        first($cell[] | select(.path == "registered") | .[$key]) // null)] |
    map((if . == null then "-" else round_to(2) end) | lpad(10)) | join("")));

def maps_table:
  "1 GiB (fragmented: 512 MiB) registered and mapped, by what it is made of:",
  (["IOMMU", "BUFFER", "STEP"] | map(pad(14)) | join("")) +
  (["MS", "INSTRUCTIONS", "A PAGE"] | map(lpad(14)) | join("")),
  (.mapping | group_by([.iommu, .buffer])[] | . as $cell |
   map(.what) | reduce .[] as $w ([]; if index([$w]) then . else . + [$w] end) |
   .[] as $what |
   ($cell | map(select(.what == $what)) |
    map({key: .source, value: .}) | from_entries) as $by |
   ([$cell[0].iommu, $cell[0].buffer, $what] | map(pad(14)) | join("")) +
   ([($by.clock.ns // null | if . then . / 1e6 | round_to(2) else "-" end),
     ($by.icount.ns // "-"), ($by.icount.ns_per_page // "-")] |
    map(lpad(14)) | join("")));

def scale_table:
  "Instructions of block layer, driver and io_uring per 4 KiB read, by CPUs that read",
  "(compare within a line: pages and IOMMU are not among them):",
  (["IOMMU", "PATH"] | map(pad(26)) | join("")) +
  (["1", "2", "4", "8"] | map(lpad(9)) | join("")),
  (.scaling | group_by([.iommu, .path])[] | . as $cell |
   ([.[0].iommu, .[0].path] | map(pad(26)) | join("")) +
   ([(1, 2, 4, 8) as $cpus | [$cell[] | select(.cpus == $cpus) |
     .insns_per_io | round][0] // "-" | lpad(9)] | join("")));

# ---- charts: tab-separated, the first line names the columns ----

def insns_chart($iommu):
  ["stock", "registered", "passthrough", "dmabuf", "place_map_queue"] as $paths |
  (["I/O", "O_DIRECT", "registered buffers", "NVMe commands", "dma-buf",
    "dma-buf, policy"] | @tsv),
  (map(select(.source == "icount" and .kernel == "kernel" and
     .iommu == $iommu and .mode == "interrupt" and .at == "first" and
     .buffer == "fragmented")) |
   group_by([.size, .batch])[] | . as $cell |
   [(.[0] | cell_name), ($paths[] as $p |
     first($cell[] | select(.path == $p) | .insns_per_io) // "nan" |
     . // "nan")] | @tsv);

def throughput_chart:
  (["I/O", "strict", "lazy", "passthrough"] | @tsv),
  (map(select(.source == "clock" and .mode == "interrupt" and
     .path == "dmabuf" and .buffer == "fragmented" and clock_words == [])) |
   group_by([.size, .depth])[] | . as $cell |
   [(.[0] | "\(size_name), QD \(.depth)"),
    (("strict", "lazy", "passthrough") as $iommu |
      first($cell[] | select(.iommu == $iommu) | .ratio) // "nan" |
      . // "nan")] | @tsv);
