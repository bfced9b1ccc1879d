/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "row.h"

#include <stdio.h>
#include <string.h>

#include "command.h"
#include "escaped_name.h"
#include "snapshot.h"
#include "size.h"
#include "util.h"

/* Room for a property whose bytes are all escaped. */
enum { VALUE_MAX = 2 * PROPERTY_VALUE_MAX + 1 };

/* Escape tabs and newlines, which would break a column. */
static void escape_controls(char buffer[VALUE_MAX])
{
	char text[VALUE_MAX];
	size_t len = 0;

	if (!strpbrk(buffer, "\t\n"))
		return;
	for (const char *p = buffer; *p && len + 2 < sizeof(text); p++) {
		if (*p == '\t' || *p == '\n')
			text[len++] = '\\';
		text[len++] = *p == '\t' ? 't' : *p == '\n' ? 'n' : *p;
	}
	text[len] = 0;
	memcpy(buffer, text, len + 1);
}

/* Write the names of an array's objects, separated by commas. */
static void names_write(const json_t *array, char buffer[VALUE_MAX])
{
	char name[NAME_LEN_MAX * 2 + 2];
	json_t *object;
	size_t i, len = 0;

	*buffer = 0;
	json_array_foreach(array, i, object)
	{
		if (len >= VALUE_MAX - 2 ||
		    name_unescape(json_object_get(object, "name"), name,
		                  sizeof(name)))
			continue;
		len += (size_t)snprintf(buffer + len, VALUE_MAX - len, "%s%s",
		                        len ? "," : "", name);
	}
	if (!*buffer)
		strcpy(buffer, "-");
}

/* Return the value as text. */
static const char *value_text(const struct field *field, json_t *value,
                              char buffer[VALUE_MAX])
{
	static const char none[] = "-";

	if (!value || json_is_null(value))
		return none;
	switch (field->format) {
	case FIELD_NAME:
		if (name_unescape(value, buffer, VALUE_MAX) || !*buffer)
			return none;
		escape_controls(buffer);
		return buffer;
	case FIELD_TIME:
		/* Cut after the seconds. */
		if (!json_is_string(value))
			return none;
		snprintf(buffer, VALUE_MAX, "%.19sZ", json_string_value(value));
		return buffer;
	case FIELD_SIZE:
		size_format((uint64_t)json_integer_value(value), buffer);
		return buffer;
	case FIELD_BOOL:
		return json_is_true(value) ? "yes" : "no";
	case FIELD_RATIO:
		snprintf(buffer, VALUE_MAX, "%.2fx", json_real_value(value));
		return buffer;
	case FIELD_NAMES:
		names_write(value, buffer);
		escape_controls(buffer);
		return buffer;
	case FIELD_COUNT:
		break;
	}
	snprintf(buffer, VALUE_MAX, "%" JSON_INTEGER_FORMAT,
	         json_integer_value(value));
	return buffer;
}

/* Return a new object with only the described fields, in their order. */
static json_t *json_row(const struct field *fields, json_t *row)
{
	json_t *out = json_object();

	for (const struct field *f = fields; f->key; f++) {
		json_t *value = json_object_get(row, f->key);

		json_object_set(out, f->key, value ? value : json_null());
	}
	return out;
}

static void json_print(const struct field *fields, json_t *row, size_t flags)
{
	json_t *out = json_row(fields, row);

	json_dumpf(out, stdout, flags);
	json_decref(out);
}

static void print_columns(const struct printer *printer, json_t *row)
{
	for (const struct field *f = printer->fields; f->key; f++) {
		char buffer[VALUE_MAX];
		const char *text = f->title;

		if (row)
			text = value_text(f, json_object_get(row, f->key),
			                  buffer);
		/* The last column is not padded. */
		printf("%*s%s", f[1].key && !printer->tabs ? f->width : 0, text,
		       !f[1].key       ? "\n"
		       : printer->tabs ? "\t"
		                       : "  ");
	}
}

bool printer_check(const struct printer *printer, const struct command *self,
                   int *ret_code)
{
	if (!printer->form || !strcmp(printer->form, "lines"))
		return true;
	*ret_code = command_usage(self,
	                          "--json is an array, or =lines; not "
	                          "'%s'",
	                          printer->form);
	return false;
}

void printer_begin(struct printer *printer)
{
	printer->printed = 0;
	if (printer->json && !printer->form)
		fputs("[", stdout);
	else if (printer->header && !printer->json && !printer->tabs)
		print_columns(printer, NULL);
}

void printer_row(struct printer *printer, json_t *row)
{
	if (printer->json && printer->form) {
		json_print(printer->fields, row, JSON_COMPACT);
		fputc('\n', stdout);
	} else if (printer->json) {
		fputs(printer->printed ? ",\n" : "\n", stdout);
		json_print(printer->fields, row, JSON_COMPACT);
	} else {
		print_columns(printer, row);
	}
	printer->printed++;
}

void printer_end(struct printer *printer)
{
	if (printer->json && !printer->form)
		fputs(printer->printed ? "\n]\n" : "]\n", stdout);
}

const char *row_text(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

void printer_object(struct printer *printer, json_t *row)
{
	if (printer->json) {
		json_print(printer->fields, row, JSON_INDENT(2));
		fputc('\n', stdout);
		return;
	}
	for (const struct field *f = printer->fields; f->key; f++) {
		char buffer[VALUE_MAX];

		printf("%-12s %s\n", f->title,
		       value_text(f, json_object_get(row, f->key), buffer));
	}
}
