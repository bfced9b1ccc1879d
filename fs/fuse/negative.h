/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Negative entries: names that a mount's kernel may have cached as missing.
 * They are remembered for longer than the kernel caches them, in order to
 * invalidate them when the name is added.
 */
#ifndef COPPICE_NEGATIVE_H
#define COPPICE_NEGATIVE_H

#include "fs.h"

enum {
	NEGATIVE_KEEP = 5, /* seconds that the kernel may cache the entry */
	NEGATIVE_FORGET =
	        15, /* seconds after which it is no longer remembered */
	NEGATIVES_MAX = 16384,
};

struct negatives;

/* -ENOMEM */
int negatives_create(struct negatives **ret_negatives);
void negatives_destroy(struct negatives *negatives); /* takes NULL */
/*
 * Add an entry before the reply.  Return false if too many are remembered: the
 * kernel must not cache this one.
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
