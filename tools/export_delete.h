/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of an export's target that the state does not have. */
#ifndef COPPICE_EXPORT_DELETE_H
#define COPPICE_EXPORT_DELETE_H

#include "export_report.h"

struct export_delete {
	const struct path_filter *filter; /* what it excludes stays */
	bool dry_run;
	dev_t store_dev; /* a directory that stays */
	ino_t store_ino;
	struct export_report *report;
};

/* The names in a directory of the state. */
struct name_set {
	char **names;
	size_t len, room;
};

/* -ENOMEM */
int name_set_add(struct name_set *set, const char *name);
void name_set_release(struct name_set *set);

/*
 * Delete the names that an open directory has beside those of the set, which is
 * sorted.  Stays what the filter excludes, and what is on another file system.
 * `path` is that of the directory, as report_change() takes it.  -ENOMEM
 */
int export_extras_delete(const struct export_delete *d, int dir,
                         const char *path, struct name_set *set);
/*
 * Delete a directory with everything in it.  -ENOTEMPTY: something stays;
 * -ENOMEM.
 */
int export_dir_delete(const struct export_delete *d, int dir, const char *path,
                      const char *name);

/* Return true if a directory can be read and has no names. */
bool dir_is_empty(int dir);

enum { TEMPORARY_LEN = 40 }; /* with the NUL */
/* Return a new name for a file that will replace another. */
void temporary_name(char ret_name[TEMPORARY_LEN]);

#endif
