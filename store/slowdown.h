/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slowing writers down while a commit is running, so that many of them wait for
 * a moment each, instead of one for the rest of the commit.  Inside store/
 * only.
 */
#ifndef COPPICE_SLOWDOWN_H
#define COPPICE_SLOWDOWN_H

#include <stddef.h>
#include <stdint.h>

/* A running commit, and how far the open group may grow until it ends. */
struct slowdown {
	int64_t elapsed;  /* ns since the commit began */
	int64_t expected; /* ns that it takes in all, about; 0: not known */
	/* Bytes of the open group between which writers are slowed down. */
	size_t first, mark;
	int64_t most; /* ns of a single wait */
};

/*
 * Return for how many nanoseconds a writer should wait when the open group has
 * `bytes` bytes: until the commit has proceeded as far from its beginning to
 * its end as these bytes lie between `first` and `mark`.  0: not at all, or
 * the mark is passed, and the end of the commit must be waited for.
 */
int64_t slowdown_ns(const struct slowdown *slowdown, size_t bytes);

#endif
