/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "list_columns.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "state_row.h"

const struct field list_names[] = {
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

const struct field list_details[] = {
        {"created", "CREATED", FIELD_TIME, -20},
        {"inodes", "FILES", FIELD_COUNT, 10},
        {"bytes", "SIZE", FIELD_SIZE, 6},
        {"exclusive", "FREES", FIELD_SIZE, 6},
        {"snapshots", "SNAPS", FIELD_COUNT, 6},
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

/* Further names of columns, from the titles. */
static const struct {
	const char *name, *key;
} aliases[] = {
        {"files", "inodes"},    {"size", "bytes"}, {"frees", "exclusive"},
        {"snaps", "snapshots"}, {NULL, NULL},
};

static const struct field *field_find(const char *key)
{
	for (const struct field *f = state_fields; f->key; f++)
		if (!strcmp(f->key, key))
			return f;
	return NULL;
}

bool list_column_is_property(const char *key)
{
	return !field_find(key);
}

const char *list_column_key(const char *name)
{
	for (size_t i = 0; aliases[i].name; i++)
		if (!strcmp(aliases[i].name, name))
			return aliases[i].key;
	if (field_find(name) || !strcmp(name, "quota") || !strcmp(name, "ttl"))
		return name;
	return strchr(name, ':') && property_key_good(name) ? name : NULL;
}

/* Return the column for a key. */
static struct field column_of(const char *key, const char *title)
{
	const struct field *known = field_find(key);
	struct field f = {key, title, FIELD_NAME, -20};

	if (known)
		f.format = known->format;
	if (f.format == FIELD_COUNT || f.format == FIELD_SIZE)
		f.width = 10;
	return f;
}

/* Make a title of the column name at offset `at` of the list. */
static const char *title_of(struct list_columns *columns, size_t at, size_t len)
{
	char *title = columns->titles + at;

	title[len] = 0;
	/* Leave the keys of user properties as they are. */
	for (size_t i = 0; !strchr(title, ':') && title[i]; i++)
		title[i] = (char)toupper((unsigned char)title[i]);
	return title;
}

bool list_columns_init(struct list_columns *columns, const char *list,
                       const char **ret_bad)
{
	char *rest, *name;
	size_t count = 0;

	*columns = (struct list_columns){.keys = strdup(list),
	                                 .titles = strdup(list),
	                                 .properties = json_array()};
	*ret_bad = NULL;
	if (!columns->keys || !columns->titles || !columns->properties)
		return false;
	for (name = strtok_r(columns->keys, ",", &rest); name;
	     name = strtok_r(NULL, ",", &rest)) {
		const char *key = list_column_key(name);

		if (!key)
			*ret_bad = name;
		if (!key || count == LIST_COLUMNS_MAX)
			return false;
		columns->fields[count++] = column_of(
		        key, title_of(columns, (size_t)(name - columns->keys),
		                      strlen(name)));
		if (list_column_is_property(key))
			json_array_append_new(columns->properties,
			                      json_string(key));
	}
	return count;
}

void list_columns_release(struct list_columns *columns)
{
	free(columns->keys);
	free(columns->titles);
	json_decref(columns->properties);
}
