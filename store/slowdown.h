/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slowing writers down while a commit is running, so that many writes wait for
 * a moment each, and none for the rest of the commit.  Inside store/ only.
 */
#ifndef COPPICE_SLOWDOWN_H
#define COPPICE_SLOWDOWN_H

#include <stddef.h>
#include <stdint.h>

/* A running commit, and the bounds of the open group until it ends. */
struct slowdown {
	int64_t elapsed;  /* ns since the commit began */
	int64_t expected; /* ns that it takes in all, about; 0: not known */
	/* Bytes of the open group between which writers are slowed down. */
	size_t first, mark;
	int64_t most; /* ns of a single wait */
};

/*
 * Return the nanoseconds that a writer should wait when the open group has
 * `bytes` bytes: until the commit has proceeded by the share that these bytes
 * have of the way from `first` to `mark`.  0: not at all, or the mark is passed
 * and the writer must wait for the end of the commit.
 */
int64_t slowdown_ns(const struct slowdown *slowdown, size_t bytes);

#endif
