/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rows of differences between two trees, as text and as JSON: for `diff`,
 * and for the verbs that print their changes.
 */
#ifndef COPPICE_DIFF_LINE_H
#define COPPICE_DIFF_LINE_H

#include <jansson.h>
#include <stdbool.h>

#include "row.h"

/* The fields of a row, for a printer. */
extern const struct field diff_fields[];

/* How a row is printed: see coppice-diff(1). */
struct diff_style {
	bool types, times, tabs, raw, names;
};

/* Print the path; for a renamed file both paths, unless style->names. */
void diff_paths_print(const struct diff_style *style, const json_t *row);
/* Print the row, ended by a newline or, with style->raw, a NUL. */
void diff_line_print(const struct diff_style *style, const json_t *row);

#endif
