/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names that a mount's kernel was told do not exist, and may believe so for a
 * while: remembered for longer than that, to be able to tell it otherwise.
 */
#ifndef COPPICE_NEGATIVE_H
#define COPPICE_NEGATIVE_H

#include "fs.h"

enum {
	NEGATIVE_KEEP = 5,    /* seconds the kernel may believe it */
	NEGATIVE_FORGET = 15, /* it has not kept it from an answer so old */
	NEGATIVES_MAX = 16384,
};

struct negatives;

/* -ENOMEM */
int negatives_create(struct negatives **ret_negatives);
void negatives_destroy(struct negatives *negatives); /* takes NULL */
/* About to be told.  False: too many are remembered; it must not be kept. */
bool negatives_add(struct negatives *negatives, node_t parent,
                   const char *name);
/*
 * Return true if the kernel may believe that the name does not exist, and
 * forget that it was told so: the caller invalidates the name.
 */
bool negatives_take(struct negatives *negatives, node_t parent,
                    const char *name);

#endif
