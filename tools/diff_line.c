/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "diff_line.h"

#include <stdio.h>
#include <string.h>

#include "path_text.h"
#include "util.h"

const struct field diff_fields[] = {
        {"op", "", FIELD_NAME, 0},       {"path", "", FIELD_NAME, 0},
        {"from", "", FIELD_NAME, 0},     {"type", "", FIELD_NAME, 0},
        {"inode", "", FIELD_COUNT, 0},   {"size", "", FIELD_SIZE, 0},
        {"old_size", "", FIELD_SIZE, 0}, {"fields", "", FIELD_NAME, 0},
        {"time", "", FIELD_TIME, 0},     {0},
};

/* Return the letter that zfs-diff(8) has for a type. */
static char type_letter(const json_t *row)
{
	static const struct {
		const char *type;
		char letter;
	} types[] = {
	        {"file", 'F'}, {"directory", '/'}, {"symlink", '@'},
	        {"fifo", '|'}, {"socket", '='},    {"character device", 'C'},
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(row_text(row, "type"), types[i].type))
			return types[i].letter;
	}
	return 'B';
}

void diff_paths_print(const struct diff_style *style, const json_t *row)
{
	const json_t *from = json_object_get(row, "from");
	char text[PATH_TEXT_MAX];

	if (!json_is_null(from) && !style->names) {
		fputs(path_text(from, style->raw, text), stdout);
		if (style->raw)
			putchar(0);
		else
			fputs(style->tabs ? "\t" : " -> ", stdout);
	}
	fputs(path_text(json_object_get(row, "path"), style->raw, text),
	      stdout);
}

void diff_line_print(const struct diff_style *style, const json_t *row)
{
	if (!style->names) {
		if (style->times)
			printf("%s\t", row_text(row, "time"));
		printf("%s\t", row_text(row, "op"));
		if (style->types)
			printf("%c\t", type_letter(row));
	}
	diff_paths_print(style, row);
	putchar(style->raw ? 0 : '\n');
}
