/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The changes that an export has made, and those that have failed. */
#ifndef COPPICE_EXPORT_REPORT_H
#define COPPICE_EXPORT_REPORT_H

#include "import_source.h"

/* Counts of names, and bytes of contents that were written. */
struct export_counts {
	uint64_t added, changed, deleted, bytes;
};

struct export_report {
	struct import_progress *progress;
	bool list; /* print each change, as `diff` does */
	struct export_counts counts;
};

/*
 * Count and print a change: '+', 'M' or '-' of a name in the directory `path`,
 * which is "" or has a slash before each name.  "" is the directory itself.
 */
void report_change(struct export_report *r, char op, const char *path,
                   const char *name);
/*
 * Count and print that a name could not be made what it should be.  Return the
 * error if the export has to end: a full disk; else 0.
 */
int report_failure(struct export_report *r, const char *path, const char *name,
                   int err);

#endif
