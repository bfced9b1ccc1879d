/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts that disk_env.c and disk_write.c share. Inside store/ only. */
#ifndef COPPICE_DISK_ENV_H
#define COPPICE_DISK_ENV_H

#include "disk.h"

enum { TABLES = 6 };

struct tables {
	struct {
		const char *name;
		unsigned flags;
		MDB_dbi dbi;
	} at[TABLES];
};

struct tables tables_init(const struct disk *disk);
/* Open the tables' handles; flags: of the transaction. */
int tables_open(struct tables *tables, MDB_env *env, unsigned flags,
                bool create);
/* Register the tables' handles with the checker of pages. */
int tables_name(const struct tables *tables, const struct opening *opening);

/* Open the environment at the path; flags: MDB_RDONLY, MDB_NOLOCK. */
int opening_create(struct disk *disk, const char *path, unsigned flags,
                   struct opening **ret_opening);
void opening_destroy(struct opening *opening); /* NULL is ignored */
/*
 * Count so many read transactions of the opening as aborted.  Return the
 * opening if it is unused from now on, for the caller to destroy without the
 * lock; else NULL.  pool_lock held.
 */
struct opening *opening_leave(struct opening *opening, unsigned txns);

/* Wake the threads in disk_wait().  pool_lock held. */
void disk_changed(struct disk *disk);
/* Wait for a change.  pool_lock held, and released meanwhile. */
void disk_wait(struct disk *disk);

#endif
