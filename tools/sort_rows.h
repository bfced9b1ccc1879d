/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sorting rows before they are printed.  Only the printed members of each row
 * are kept, as JSON text.
 */
#ifndef COPPICE_SORT_ROWS_H
#define COPPICE_SORT_ROWS_H

#include <stddef.h>

#include "row.h"

struct sort_rows {
	const char *key; /* of the member to sort by; the caller's */
	bool reverse;
	struct sorted_row *rows;
	size_t len, capacity;
};

/* Keep a row.  0; -ENOMEM. */
int sort_rows_add(struct sort_rows *sort, const struct field *fields,
                  json_t *row);
/*
 * Pass the sorted rows to fn, until it returns nonzero.  Rows without the
 * member come last; rows with equal ones stay in the order of their arrival.
 */
int sort_rows_each(struct sort_rows *sort, int (*fn)(void *arg, json_t *row),
                   void *arg);
void sort_rows_release(struct sort_rows *sort);

#endif
