/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reporting the changes of an export, and its failures. */
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
 * Count a change, and print it if r->list: '+', 'M' or '-' of a name in the
 * directory `path`, which is "" or has a slash before each name.  The name ""
 * is the directory itself.
 */
void report_change(struct export_report *r, char op, const char *path,
                   const char *name);
/*
 * Count and print that a name could not be made or changed.  Return the error
 * if the export has to end (-ENOSPC, -EDQUOT), else 0.
 */
int report_failure(struct export_report *r, const char *path, const char *name,
                   int err);

#endif
