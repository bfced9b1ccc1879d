/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Negative entries: names that a mount's kernel may have cached as missing.
 * They are kept for longer than the kernel caches them, so that the name can be
 * invalidated when it is added.
 */
#ifndef COPPICE_NEGATIVE_H
#define COPPICE_NEGATIVE_H

#include "fs.h"

enum {
	NEGATIVE_KEEP = 5, /* seconds that the kernel may cache the entry */
	NEGATIVE_FORGET =
	        15, /* seconds after which the entry is dropped here */
	NEGATIVES_MAX = 16384,
};

struct negatives;

/* Create an empty table.  -ENOMEM. */
int negatives_create(struct negatives **ret_negatives);
void negatives_destroy(struct negatives *negatives); /* takes NULL */
/*
 * Add an entry before the reply.  Return false if there are too many, or no
 * memory: the kernel must not cache this one.
 */
bool negatives_add(struct negatives *negatives, node_t parent,
                   const char *name);
/*
 * Return true if the kernel may have cached the name as missing, and remove the
 * entry: the caller invalidates the name.
 */
bool negatives_take(struct negatives *negatives, node_t parent,
                    const char *name);

#endif
