/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Printing the rows of an answer as text or JSON, from one table of fields.
 */
#ifndef COPPICE_ROW_H
#define COPPICE_ROW_H

#include <jansson.h>
#include <stdbool.h>

enum field_format {
	FIELD_NAME,
	FIELD_COUNT,
	FIELD_SIZE,  /* bytes; in text with a unit */
	FIELD_TIME,  /* "2026-11-20T12:00:00.123456789Z"; in text to the second
	              */
	FIELD_BOOL,  /* in text yes or no */
	FIELD_RATIO, /* a real number; in text "2.50x" */
	FIELD_NAMES, /* an array of objects; in text their "name"s with commas
	              */
};

struct field {
	const char *key;   /* in the answer and in JSON: an interface */
	const char *title; /* in text */
	enum field_format format;
	int width; /* of its column; negative: aligned to the left */
};

/*
 * The output of a verb; the caller sets `fields` and `header`.  A verb with
 * --json[=lines] has the option {"json", .flag = &json, .value = &form}, and
 * calls printer_check() after command_parse().
 */
struct printer {
	const struct field *fields; /* ends with a NULL key */
	bool json;
	const char *form; /* of JSON: NULL: an array; "lines": an object a line,
	                     without brackets and commas */
	bool header;      /* print a line of titles above the columns */
	bool tabs;        /* no titles and no padding; tabs between columns */
	unsigned long printed;
};

/* Return the string at the key of a row, or "". */
const char *row_text(const json_t *row, const char *key);

struct command;

/*
 * Return true if printer->form is valid.  If not, print a usage message, and
 * return false and the exit code of the verb.
 */
bool printer_check(const struct printer *printer, const struct command *self,
                   int *ret_code);

/*
 * Print a list, one row a line, as rows arrive; in JSON an array, or lines.
 * Rows do not arrive faster than they are printed: a slow reader delays the
 * store's answer.
 */
void printer_begin(struct printer *printer);
void printer_row(struct printer *printer, json_t *row);
void printer_end(struct printer *printer);

/* Print one object, a line for each field; an object in JSON. */
void printer_object(struct printer *printer, json_t *row);

#endif
