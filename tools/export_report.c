/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_report.h"

#include <errno.h>
#include <stdio.h>

#include "command.h"
#include "diff_line.h"
#include "escaped_name.h"
#include "util.h"

static void change_print(struct export_report *r, char op, const char *path,
                         const char *name)
{
	static const struct diff_style style;
	const char letter[] = {op, 0};
	_cleanup_free_ char *whole = NULL;
	json_auto_t *row = NULL;

	if (asprintf(&whole, "%s%s%s", path, *name || !*path ? "/" : "", name) <
	    0) {
		whole = NULL;
		return;
	}
	row = json_pack("{s:s, s:o, s:n}", "op", letter, "path",
	                name_escape(whole), "from");
	progress_clear(r->progress);
	if (row)
		diff_line_print(&style, row);
}

void report_change(struct export_report *r, char op, const char *path,
                   const char *name)
{
	uint64_t *count = op == '+'   ? &r->counts.added
	                  : op == '-' ? &r->counts.deleted
	                              : &r->counts.changed;

	++*count;
	if (r->list)
		change_print(r, op, path, name);
}

int report_failure(struct export_report *r, const char *path, const char *name,
                   int err)
{
	r->progress->failed++;
	progress_clear(r->progress);
	complain("%s%s%s: %s", path + (*path == '/'), *path && *name ? "/" : "",
	         *path || *name ? name : ".", strerror(-err));
	return err == -ENOSPC || err == -EDQUOT ? err : 0;
}
