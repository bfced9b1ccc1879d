/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths in the output of verbs. */
#ifndef COPPICE_PATH_TEXT_H
#define COPPICE_PATH_TEXT_H

#include <jansson.h>
#include <stdbool.h>

enum { PATH_TEXT_MAX = 4 * 4096 };

/*
 * Return the path of an answer for a line of text: control characters and the
 * backslash as \OOO.  With `raw`, for records that end with a NUL, its bytes.
 * "" if it is null.
 */
const char *path_text(const json_t *path, bool raw, char text[PATH_TEXT_MAX]);

#endif
