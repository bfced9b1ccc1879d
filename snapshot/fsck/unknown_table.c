/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unknown_table.h"

#include <errno.h>

#include "util.h"

enum { TABLES_END = 256 };

typedef int record_fn(void *arg, unsigned table, const struct record *record);

/* Call fn with the records of unknown tables; 1 from it skips the table. */
static int each_record(struct view *view, record_fn *fn, void *arg)
{
	for (unsigned table = TABLE_COUNT; table < TABLES_END; table++) {
		struct record record = {0};
		bool after = false;
		int r = 0;

		while (!r) {
			r = view_record(view, table, record.key, record.key_len,
			                after, &record);
			after = true;
			if (!r)
				r = fn(arg, table, &record);
		}
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int table_log(void *arg, unsigned table, const struct record *record)
{
	const char *path = arg;

	log_warning("the store '%s' has records of table %u, which this "
	            "version of coppice does not know: they are not checked",
	            path, table);
	return 1;
}

static int database_log(void *arg, const char *name)
{
	const char *path = arg;

	log_warning("the store '%s' has a database '%s', which this version "
	            "of coppice does not know: it is not checked",
	            path, name);
	return 0;
}

int unknown_tables_log(struct view *view, const char *path)
{
	int r = each_record(view, table_log, (void *)path);

	return r ? r : view_unknown_databases(view, database_log, (void *)path);
}

static int record_copy(void *arg, unsigned table, const struct record *record)
{
	return table_put(arg, table, record->key, record->key_len,
	                 record->value, record->len);
}

int unknown_tables_copy(struct view *view, struct store *store)
{
	return each_record(view, record_copy, store);
}
