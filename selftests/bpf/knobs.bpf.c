// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that has a knob of every kind, for blkdmabufctl to set and to show.
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

enum colour { RED, GREEN = 7, BLUE = -2 };

const volatile u8 small = 1;
const volatile s8 little = -1;
const volatile u16 medium = 2;
const volatile s32 negative = -3;
const volatile u64 large = 4;
const volatile bool flag = false;
const volatile enum colour colour = RED;
const volatile char text[8] = "abc";
const volatile u32 many[4] = { 1, 2, 3, 4 };
const volatile struct { u32 a, b; } pair = { 5, 6 };

/* Neither is a knob: the compiler may have used its value. */
const u32 constant = 9;
static const volatile u32 private = 8;

u64 sum;

s32 BLKDMABUF_OP_SLEEPABLE(knobs_init, struct blk_dmabuf_queue *queue)
{
	int i;

	sum = small + little + medium + negative + large + flag + colour +
	      text[0] + pair.a + pair.b + constant + private;
	bpf_for(i, 0, 4)
		sum += many[i];
	return 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops knobs = {
	.init	= (void *)knobs_init,
	.name	= "knobs",
};
