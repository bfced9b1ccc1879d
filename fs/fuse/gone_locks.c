/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gone_locks.h"

#include <errno.h>

#include "util.h"

void locks_fail_gone(struct mounts *mounts)
{
	_cleanup_free_ node_t *nodes = NULL;
	size_t count = 0;
	struct stat st;

	if (lock_table_waited(mounts->locks, &nodes, &count) < 0)
		log_error("cannot end waiting for locks of a deleted state: "
		          "out of memory");
	for (size_t i = 0; i < count; i++) {
		if (fs_getattr(mounts->fs, nodes[i], &st) == -ESTALE)
			lock_table_fail(mounts->locks, nodes[i], -ESTALE);
	}
}
