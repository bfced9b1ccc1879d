/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rows of differences between two trees, as text and as JSON: of `diff`,
 * and of the verbs that print what they change.
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

/* Print the path; of a renamed one both paths, unless only names are asked. */
void diff_paths_print(const struct diff_style *style, const json_t *row);
/* Print the row with its end. */
void diff_line_print(const struct diff_style *style, const json_t *row);

#endif
