/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory for caches and unsaved changes of a store whose options name
 * none: a share of the machine's, within the limits of the process's cgroup.
 */
#ifndef COPPICE_MEMORY_DEFAULT_H
#define COPPICE_MEMORY_DEFAULT_H

#include <stdint.h>

/* Bytes: the default on a machine of at most 8 GiB, and the largest one. */
#define MEMORY_DEFAULT_USUAL (UINT64_C(256) << 20)
#define MEMORY_DEFAULT_MOST (UINT64_C(1) << 30)

/*
 * Return the default in bytes: 1/32 of the physical memory, but at least 256
 * MiB and at most 1 GiB; and never more than a quarter of the physical memory
 * or of a limit of the process's cgroup or of those above it, but at least 16
 * MiB.  `root` is the directory that holds proc and sys: "" for the machine's.
 * Files that cannot be read limit nothing: without /proc/meminfo it is 256 MiB.
 */
uint64_t memory_default(const char *root);

#endif
