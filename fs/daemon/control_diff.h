/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `diff`. */
#ifndef COPPICE_CONTROL_DIFF_H
#define COPPICE_CONTROL_DIFF_H

#include "control_verb.h"

/*
 * Compare the states "a" and "b" of the request, each as of one instant, within
 * "paths" (an array; missing: everything); with "all", times alone are a
 * difference.  Send a row for each name that differs.  With "patch", the row of
 * a file whose content differs has "text"; if that is true, the rows of
 * content_rows.h for both sides follow.
 */
int control_diff(struct control *c);

/* Send a row for each name that differs between two held trees. */
int control_diff_trees(struct control *c, struct tree *a, struct tree *b);

/* Return the names of fields, of enum diff_field, as an array. */
json_t *diff_fields_json(unsigned fields);
/* Return the name of an inode's type. */
const char *type_name(uint32_t mode);

#endif
