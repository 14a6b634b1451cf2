/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl: for the files that work with BPF objects.
 */
#ifndef BLKDMABUFCTL_BPF_H
#define BLKDMABUFCTL_BPF_H

#include <stdbool.h>
#include <stdint.h>

struct bpf_object;
struct btf;
struct json_object;

/**
 * knob_set - set a "const volatile" variable of an object before it is loaded
 * @obj: opened, not loaded
 * @assign: "name=value", or "name[n]=value" for one element of an array
 *
 * Return: EXIT_OK, or EXIT_USAGE and it has been told why.
 */
int knob_set(struct bpf_object *obj, const char *assign);

/**
 * vars_json - add the global variables of a data section to an object
 * @obj: where they go, by name
 * @btf: types of the object that is loaded
 * @section_id: type of the section
 * @data: its content
 * @knobs: only those that are const volatile
 */
void vars_json(struct json_object *obj, const struct btf *btf,
	       uint32_t section_id, const void *data, bool knobs);

#endif /* BLKDMABUFCTL_BPF_H */
