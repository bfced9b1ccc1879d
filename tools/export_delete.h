/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deleting the names of an export's target that the state does not have. */
#ifndef COPPICE_EXPORT_DELETE_H
#define COPPICE_EXPORT_DELETE_H

#include "export_report.h"

struct export_delete {
	const struct path_filter *filter; /* excluded files are kept */
	bool dry_run;
	dev_t store_dev; /* the store's directory, which is kept */
	ino_t store_ino;
	struct export_report *report;
};

/* The names that a directory of the state has. */
struct name_set {
	char **names;
	size_t len, room;
};

/* -ENOMEM */
int name_set_add(struct name_set *set, const char *name);
void name_set_release(struct name_set *set);

/*
 * Delete the names of an open directory that are not in the set, which gets
 * sorted.  Excluded files and other file systems are kept.  `path` is that of
 * the directory, as for report_change().  Failures are reported; -ENOMEM.
 */
int export_extras_delete(const struct export_delete *d, int dir,
                         const char *path, struct name_set *set);
/*
 * Delete a directory with everything in it.  -ENOTEMPTY: some entries are kept;
 * -EBUSY: it is a mount point or the store; -ENOMEM.
 */
int export_dir_delete(const struct export_delete *d, int dir, const char *path,
                      const char *name);

/* Return true if a directory can be read and has no names. */
bool dir_is_empty(int dir);

enum { TEMPORARY_LEN = 40 }; /* with the NUL */
/* Return a new name for a file that will replace another. */
void temporary_name(char ret_name[TEMPORARY_LEN]);

#endif
