/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl: all that can stand on its command line, a row each.  Who
 * includes this says before what becomes of a row:
 *
 * COMMAND(id, function, name, arguments, at least and at most so many of these,
 *	help, how to complete each; the last goes on).  A name of two words is a
 *	command of a group.
 * OPTION(id, type, member of struct options, name, letter, argument, how to
 *	complete it, commands that have it, help)
 */
#ifndef COMMAND
#define COMMAND(...)
#endif
#ifndef OPTION
#define OPTION(...)
#endif

COMMAND(CHECK, cmd_check, "check", "[DEV|FILE]...",
	0, MAX_ARGS, "say whether kernel, device and file can do it, and how",
	K_DEV_OR_FILE, K_DEV_OR_FILE)
COMMAND(REGISTER, cmd_register, "register", "DEV|FILE",
	1, 1, "register a dma-buf on a disk", K_DEV_OR_FILE)
COMMAND(UNREGISTER, cmd_unregister, "unregister", "ID|all",
	1, 1, "end a registration, or all pinned", K_ID_OR_ALL)
COMMAND(MAP, cmd_map, "map", "ID",
	1, 1, "make the DMA mapping now", K_ID)
COMMAND(UNMAP, cmd_unmap, "unmap", "ID",
	1, 1, "drop the DMA mapping until the next I/O", K_ID)
COMMAND(LIST, cmd_list, "list", "[DEV|FILE]",
	0, 1, "list all registrations, or those of a disk", K_DEV_OR_FILE)
COMMAND(SHOW, cmd_show, "show", "ID",
	1, 1, "show all about one registration", K_ID)
COMMAND(READ, cmd_read, "read", "DEV|FILE",
	1, 1, "read a device or file into a file or a dma-buf", K_DEV_OR_FILE)
COMMAND(WRITE, cmd_write, "write", "DEV|FILE",
	1, 1, "write a file or a dma-buf to a device or file", K_DEV_OR_FILE)
COMMAND(COPY, cmd_copy, "copy", "SRC DST",
	2, 2, "copy between devices and files", K_DEV_OR_FILE, K_DEV_OR_FILE)
COMMAND(RECEIVE, cmd_receive, "receive", "DEV|FILE",
	1, 1, "write what a TCP connection brings, from the NIC's buffer",
	K_DEV_OR_FILE)
COMMAND(SEND, cmd_send, "send", "DEV|FILE",
	1, 1, "send a device or file by TCP, from the storage's buffer",
	K_DEV_OR_FILE)
COMMAND(POLICY_LOAD, cmd_policy_load, "policy load", "POLICY",
	1, 1, "load a policy and keep it pinned", K_POLICY_FILE)
COMMAND(POLICY_SELECT, cmd_policy_select, "policy select", "NAME|none DEV",
	2, 2, "select a policy for a disk, as sysfs does", K_POLICY, K_DEV)
COMMAND(POLICY_ATTACH, cmd_policy_attach, "policy attach", "NAME DEV",
	2, 2, "the same as select, in the words of other tools",
	K_POLICY, K_DEV)
COMMAND(POLICY_SWAP, cmd_policy_swap, "policy swap", "NAME POLICY",
	2, 2, "replace a policy on all its disks under load",
	K_POLICY, K_POLICY_FILE)
COMMAND(POLICY_DETACH, cmd_policy_detach, "policy detach", "DEV",
	1, 1, "select none for a disk", K_DEV)
COMMAND(POLICY_UNLOAD, cmd_policy_unload, "policy unload", "NAME",
	1, 1, "end a policy, on all its disks", K_POLICY)
COMMAND(POLICY_LIST, cmd_policy_list, "policy list", "",
	0, 0, "list policies and who uses them", K_NONE)
COMMAND(POLICY_SHOW, cmd_policy_show, "policy show", "NAME",
	1, 1, "show a policy's members, knobs, counters and maps", K_POLICY)
COMMAND(STAT, cmd_stat, "stat", "[DEV|FILE]",
	0, 1, "watch I/O for a while and add it up", K_DEV_OR_FILE)
COMMAND(TOP, cmd_top, "top", "[DEV|FILE]",
	0, 1, "the same, live on the whole terminal", K_DEV_OR_FILE)
COMMAND(BENCH, cmd_bench, "bench", "DEV|FILE",
	1, 1, "measure it beside what the kernel does without it",
	K_DEV_OR_FILE)

OPTION(HELP, FLAG, help, "help", 'h', NULL, K_NONE, EVERY,
	"print help, of a command if there is one")
OPTION(VERSION, FLAG, version, "version", 0, NULL, K_NONE, EVERY,
	"print the version")
OPTION(JSON, FLAG, json, "json", 'j', NULL, K_NONE, EVERY,
	"write JSON, errors too")
OPTION(PIN, STRING, pin, "pin", 0, "DIR", K_FILE, EVERY,
	"bpffs directory of the map that keeps registrations")
OPTION(UDMABUF, SIZE, udmabuf, "udmabuf", 0, "SIZE", K_NONE,
	C(CHECK) | C(REGISTER) | WIRE, "use new memory of this size")
OPTION(HEAP_SIZE, STRING, heap_size, "heap", 0, "NAME:SIZE", K_HEAP,
	C(REGISTER) | WIRE, "use new memory from a dma-heap")
OPTION(HEAP, STRING, heap, "heap", 0, "NAME", K_HEAP, C(CHECK) | MOVING,
	"go through memory from a dma-heap")
OPTION(HUGETLB, FLAG, hugetlb, "hugetlb", 0, NULL, K_NONE,
	C(CHECK) | C(REGISTER) | MOVING | WIRE,
	"make the new memory out of huge pages")
OPTION(VFIO, LIST, vfio, "vfio", 0, "BDF:BAR[:OFFSET:LENGTH]", K_NONE,
	C(CHECK) | C(REGISTER),
	"use memory of a PCI device that vfio-pci drives")
OPTION(PROBE, FLAG, probe, "probe", 0, NULL, K_NONE, C(CHECK),
	"move 1M both ways, and put back what was there")
OPTION(PROBE_RANGE, SIZE, probe_range, "probe-range", 0, "OFFSET", K_NONE,
	C(CHECK), "do that there")
OPTION(ID, U32, id, "id", 0, "ID", K_ID, C(READ) | C(WRITE) | WIRE,
	"use the dma-buf of this registration")
OPTION(FD, U32, fd, "fd", 0, "N", K_NONE,
	C(CHECK) | C(REGISTER) | C(READ) | C(WRITE) | WIRE,
	"use this open file, a dma-buf")
OPTION(PID, U32, pid, "pid", 0, "PID", K_NONE,
	C(CHECK) | C(REGISTER) | C(READ) | C(WRITE) | WIRE,
	"the file is open in that process")
OPTION(NO_MAP, FLAG, no_map, "no-map", 0, NULL, K_NONE, C(REGISTER),
	"leave the DMA mapping to the first I/O")
OPTION(ALLOW_COPY, FLAG, allow_copy, "allow-copy", 0, NULL, K_NONE,
	C(CHECK) | C(REGISTER) | MOVING,
	"let the CPU copy what cannot be done otherwise")
OPTION(REQUIRE_P2P, FLAG, require_p2p, "require-p2p", 0, NULL, K_NONE, MOVING,
	"refuse memory that is not another device's")
OPTION(OFFSET, SIZE, offset, "offset", 0, "SIZE", K_NONE,
	C(READ) | C(WRITE) | WIRE, "start there on the device or in the file")
OPTION(LENGTH, SIZE, length, "length", 0, "SIZE", K_NONE, MOVING | WIRE,
	"that much; otherwise to the end of the source")
OPTION(BUF_OFFSET, SIZE, buf_offset, "buf-offset", 0, "SIZE", K_NONE,
	C(READ) | C(WRITE), "start there in the dma-buf")
OPTION(TO, STRING, to, "to", 0, "FILE", K_FILE, C(READ),
	"write the data to a file, - for standard output")
OPTION(FROM, STRING, from, "from", 0, "FILE", K_FILE, C(WRITE),
	"take the data from a file, - for standard input")
OPTION(SRC_OFFSET, SIZE, src_offset, "src-offset", 0, "SIZE", K_NONE, C(COPY),
	"start there in SRC")
OPTION(DST_OFFSET, SIZE, dst_offset, "dst-offset", 0, "SIZE", K_NONE, C(COPY),
	"start there in DST")
OPTION(BLOCK_SIZE, SIZE, block_size, "block-size", 0, "SIZE", K_NONE,
	MOVING | WIRE, "size of one I/O, 1M unless given")
OPTION(DEPTH, U32, depth, "depth", 0, "N", K_NONE, MOVING | WIRE,
	"I/Os at a time, 16 unless given")
OPTION(CREATE, FLAG, create, "create", 0, NULL, K_NONE,
	C(WRITE) | C(COPY) | C(RECEIVE),
	"make the file that is written to, if it is not there")
OPTION(FORCE, FLAG, force, "force", 0, NULL, K_NONE,
	MOVING | WIRE | C(BENCH) | C(REGISTER) | C(CHECK),
	"go on though a device is in use, or memory is short")
OPTION(SET, LIST, set, "set", 's', "KNOB=VALUE", K_NONE, LOADING,
	"set a knob of the policy; may be repeated")
OPTION(AS, STRING, as, "as", 0, "NAME", K_NONE, C(POLICY_LOAD),
	"register it under another name than its own")
OPTION(KEEP_MAPS, FLAG, keep_maps, "keep-maps", 0, NULL, K_NONE, C(POLICY_SWAP),
	"go on with the maps that are there")
OPTION(INTERVAL, U32, interval, "interval", 0, "SECONDS", K_NONE, WATCHING,
	"add up over that long, 1 unless given")
OPTION(COUNT, U32, count, "count", 0, "N", K_NONE, WATCHING,
	"stop after so many intervals")
OPTION(SIZES, STRING, sizes, "sizes", 0, "SIZE,...", K_NONE, C(BENCH),
	"sizes of I/Os, 4K,128K unless given")
OPTION(DEPTHS, STRING, depths, "depths", 0, "N,...", K_NONE, C(BENCH),
	"I/Os in flight, 1,32 unless given")
OPTION(BATCH, U32, batch, "batch", 0, "N", K_NONE, C(BENCH),
	"wait for so many at a time, 1 unless given")
OPTION(MODE, STRING, mode, "mode", 0, "MODE", K_NONE, C(BENCH),
	"interrupt (unless given), polled or sqpoll")
OPTION(RANDOM, FLAG, random, "random", 0, NULL, K_NONE, C(BENCH),
	"at random positions, as without this option")
OPTION(SEQUENTIAL, FLAG, sequential, "sequential", 0, NULL, K_NONE, C(BENCH),
	"one position after the other")
OPTION(BUFFER, STRING, buffer, "buffer", 0, "KIND", K_NONE, C(BENCH),
	"plain (unless given), contiguous or fragmented")
OPTION(THREADS, U32, threads, "threads", 0, "N", K_NONE, C(BENCH),
	"so many, each with a ring and a CPU")
OPTION(SECONDS, STRING, seconds, "seconds", 0, "SECONDS", K_NONE, C(BENCH),
	"for a round of a row, 1 unless given")
OPTION(ROUNDS, U32, rounds, "rounds", 0, "N", K_NONE, C(BENCH),
	"how often each row is measured, 3 unless given")
OPTION(WRITE, FLAG, write, "write", 0, NULL, K_NONE, C(BENCH),
	"write instead of reading: destroys what is there")
OPTION(WITHOUT_POLICY, FLAG, without_policy, "without-policy", 0, NULL, K_NONE,
	C(BENCH), "deselect the policy for the row without one")
OPTION(LISTEN, STRING, listen, "listen", 0, "[ADDR]:PORT", K_NONE, C(RECEIVE),
	"wait there for a connection")
OPTION(CONNECT, STRING, connect, "connect", 0, "ADDR:PORT", K_NONE, C(SEND),
	"connect to a receiver there")
OPTION(NETDEV, STRING, netdev, "netdev", 0, "IF", K_NETDEV, C(CHECK) | WIRE,
	"the NIC that shares the buffer")
OPTION(QUEUE, U32, queue, "queue", 0, "N", K_NONE, C(CHECK) | C(RECEIVE),
	"its first queue; the last free one unless given")
OPTION(QUEUES, U32, queues, "queues", 0, "N", K_NONE, C(RECEIVE),
	"so many of its queues, 1 unless given")
OPTION(ENGINE, STRING, engine, "engine", 0, "ENGINE", K_NONE, C(RECEIVE),
	"devmem (unless given) or zcrx")
OPTION(NO_COPY, FLAG, no_copy, "no-copy", 0, NULL, K_NONE, C(RECEIVE),
	"refuse what would have to be copied to make whole blocks")

#undef COMMAND
#undef OPTION
