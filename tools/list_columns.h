/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The columns of `list`, and the selection of -o. */
#ifndef COPPICE_LIST_COLUMNS_H
#define COPPICE_LIST_COLUMNS_H

#include "row.h"

enum { LIST_COLUMNS_MAX = 16 };

struct list_columns {
	struct field fields[LIST_COLUMNS_MAX + 1];
	char *keys, *titles; /* memory of the fields' strings */
	json_t *properties;  /* keys of the columns that are properties */
};

extern const struct field list_names[];   /* without options */
extern const struct field list_details[]; /* of -l */

/*
 * Parse a list of columns, separated by commas.  Return false if it is empty,
 * too long (*ret_bad is NULL), or has an unknown column (*ret_bad).
 */
bool list_columns_init(struct list_columns *columns, const char *list,
                       const char **ret_bad);
void list_columns_release(struct list_columns *columns);
/*
 * Return the key that a column has in answers; NULL: there is no such column.
 * A property's column has the property's name.
 */
const char *list_column_key(const char *name);
/* Return true if the column is a property. */
bool list_column_is_property(const char *key);

#endif
