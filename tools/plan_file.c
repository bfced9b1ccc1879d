/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans of joins in files. */
#include "plan_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "util.h"

static void line_print(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
}

void plan_print(json_t *plan, json_t *rows, bool lines)
{
	const char *key, *comma = "{";
	json_t *value;
	size_t i;

	if (lines) {
		line_print(plan);
		json_array_foreach(rows, i, value) line_print(value);
		return;
	}
	json_object_foreach(plan, key, value)
	{
		printf("%s\"%s\": ", comma, key);
		json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
		comma = ",\n ";
	}
	printf("%s\"rows\": [", comma);
	json_array_foreach(rows, i, value)
	{
		printf("%s\n  ", i ? "," : "");
		json_dumpf(value, stdout, JSON_COMPACT);
	}
	puts("\n ]}");
}

/* Return the row with only the members that matter for a choice. */
static json_t *row_short(json_t *row)
{
	static const char *const keys[] = {"path", "op", "inode", "choose"};
	json_t *out = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(row, keys[i]);

		if (value && !json_is_null(value))
			json_object_set(out, keys[i], value);
	}
	return json_is_object(row) ? out : (json_decref(out), json_incref(row));
}

/* Read the rows that follow a plan's object as lines. */
static int rows_read(FILE *from, json_t *plan, json_error_t *error)
{
	json_t *rows = json_array();
	int c;

	json_object_set_new(plan, "rows", rows);
	for (;;) {
		json_t *row;

		do
			c = getc(from);
		while (c == '\n' || c == ' ' || c == '\t' || c == '\r');
		if (c == EOF)
			return 0;
		ungetc(c, from);
		row = json_loadf(
		        from, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES,
		        error);
		if (!row)
			return -EINVAL;
		json_array_append_new(rows, row);
	}
}

int plan_read(const char *file, json_t **ret_plan)
{
	_cleanup_fclose_ FILE *opened = NULL;
	json_auto_t *plan = NULL;
	json_error_t error = {0};
	FILE *from = stdin;
	json_t *row, *rows;
	size_t i;

	if (strcmp(file, "-") != 0)
		from = opened = fopen(file, "re");
	if (!from) {
		complain("cannot open the plan '%s': %s", file,
		         strerror(errno));
		return EXIT_FAILED;
	}
	plan = json_loadf(from, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES,
	                  &error);
	if (plan && !json_is_object(plan)) {
		complain("'%s' is no plan of coppice join -n --json: it is not "
		         "a JSON object",
		         file);
		return EXIT_FAILED;
	}
	if (plan && !json_object_get(plan, "rows") &&
	    rows_read(from, plan, &error))
		json_decref(steal(&plan));
	if (!plan) {
		complain("cannot read the plan '%s': %s in line %d", file,
		         error.text, error.line);
		return EXIT_FAILED;
	}
	rows = json_object_get(plan, "rows");
	json_array_foreach(rows, i, row)
	        json_array_set_new(rows, i, row_short(row));
	*ret_plan = steal(&plan);
	return EXIT_DONE;
}
