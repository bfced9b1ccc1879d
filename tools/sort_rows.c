/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sort_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

struct sorted_row {
	char *row;  /* JSON */
	char *text; /* the key, if it is a text */
	json_int_t number;
	enum { KEY_NONE, KEY_NUMBER, KEY_TEXT } kind;
	size_t index; /* in the order of arrival */
};

static int key_set(struct sorted_row *row, json_t *key)
{
	if (json_is_string(key)) {
		row->kind = KEY_TEXT;
		row->text = strdup(json_string_value(key));
		return row->text ? 0 : -ENOMEM;
	}
	if (json_is_array(key)) {
		row->kind = KEY_NUMBER;
		row->number = (json_int_t)json_array_size(key);
		return 0;
	}
	if (json_is_integer(key) || json_is_boolean(key)) {
		row->kind = KEY_NUMBER;
		row->number = json_is_integer(key) ? json_integer_value(key)
		                                   : json_is_true(key);
	}
	return 0;
}

static char *row_dump(const struct field *fields, json_t *row)
{
	json_t *kept = json_object();
	char *text;

	for (const struct field *f = fields; f->key; f++)
		json_object_set(kept, f->key, json_object_get(row, f->key));
	text = json_dumps(kept, JSON_COMPACT);
	json_decref(kept);
	return text;
}

int sort_rows_add(struct sort_rows *sort, const struct field *fields,
                  json_t *row)
{
	struct sorted_row made = {.index = sort->len};

	if (sort->len == sort->capacity) {
		size_t capacity = sort->capacity ? 2 * sort->capacity : 256;
		struct sorted_row *rows =
		        reallocarray(sort->rows, capacity, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		sort->rows = rows;
		sort->capacity = capacity;
	}
	made.row = row_dump(fields, row);
	if (!made.row || key_set(&made, json_object_get(row, sort->key))) {
		free(made.row);
		return -ENOMEM;
	}
	sort->rows[sort->len++] = made;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct sorted_row *x = a, *y = b;
	int order = 0;

	if (x->kind != y->kind)
		return x->kind > y->kind ? -1 : 1;
	if (x->kind == KEY_TEXT)
		order = strcmp(x->text, y->text);
	else if (x->kind == KEY_NUMBER && x->number != y->number)
		order = x->number < y->number ? -1 : 1;
	return order ? order : x->index < y->index ? -1 : 1;
}

static int compare_reverse(const void *a, const void *b)
{
	const struct sorted_row *x = a, *y = b;
	int order = compare(a, b);

	if (x->kind != y->kind)
		return order;
	/* Equal keys stay in the order of arrival. */
	if (x->kind == KEY_TEXT && !strcmp(x->text, y->text))
		return order;
	if (x->kind == KEY_NUMBER && x->number == y->number)
		return order;
	return x->kind == KEY_NONE ? order : -order;
}

int sort_rows_each(struct sort_rows *sort, int (*fn)(void *arg, json_t *row),
                   void *arg)
{
	int r = 0;

	if (sort->len)
		qsort(sort->rows, sort->len, sizeof(*sort->rows),
		      sort->reverse ? compare_reverse : compare);
	for (size_t i = 0; !r && i < sort->len; i++) {
		json_t *row = json_loads(sort->rows[i].row, 0, NULL);

		r = row ? fn(arg, row) : -ENOMEM;
		json_decref(row);
	}
	return r;
}

void sort_rows_release(struct sort_rows *sort)
{
	for (size_t i = 0; i < sort->len; i++) {
		free(sort->rows[i].row);
		free(sort->rows[i].text);
	}
	free(sort->rows);
}
