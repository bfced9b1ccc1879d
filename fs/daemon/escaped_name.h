/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Escaped names: names of states and paths as JSON strings.  A name is any
 * bytes, JSON is Unicode: bytes that are not valid UTF-8 become the private
 * characters U+EF80 to U+EFFF.
 */
#ifndef COPPICE_ESCAPED_NAME_H
#define COPPICE_ESCAPED_NAME_H

#include <jansson.h>
#include <stddef.h>

/* Return the name as a JSON string; NULL: no memory. */
json_t *name_escape(const char *name);
/*
 * Decode a JSON string into the name.  -EINVAL: not a string, or not an escaped
 * name; -ENAMETOOLONG: longer than `size` bytes with its NUL; -ENOMEM.
 */
int name_unescape(const json_t *text, char *ret_name, size_t size);

#endif
