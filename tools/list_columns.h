/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The columns of `list`: which ones there are, and which are asked for. */
#ifndef COPPICE_LIST_COLUMNS_H
#define COPPICE_LIST_COLUMNS_H

#include "row.h"

enum { LIST_COLUMNS_MAX = 16 };

struct list_columns {
	struct field fields[LIST_COLUMNS_MAX + 1];
	char *keys, *titles; /* what the fields point into */
	json_t *properties;  /* keys of those that are properties */
};

extern const struct field list_names[];   /* without options */
extern const struct field list_details[]; /* of -l */

/*
 * Read a list of columns, separated by commas.  Return false if there is none,
 * too many, or one that cannot be; *ret_bad is it, or NULL.
 */
bool list_columns_init(struct list_columns *columns, const char *list,
                       const char **ret_bad);
void list_columns_release(struct list_columns *columns);
/*
 * Return the key in an answer of a column; NULL: there is no such column.  The
 * key of a property is itself.
 */
const char *list_column_key(const char *name);
/* Return true if the column is a property. */
bool list_column_is_property(const char *key);

#endif
