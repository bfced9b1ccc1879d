/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths in the output of verbs. */
#ifndef COPPICE_PATH_TEXT_H
#define COPPICE_PATH_TEXT_H

#include <jansson.h>
#include <stdbool.h>

enum { PATH_TEXT_MAX = 4 * 4096 };

/*
 * Write a path of an answer for a line of text, with control characters and
 * backslashes as \OOO, and return `text`.  With `raw`, for records that end
 * with a NUL, write its bytes.  "" if the path is null.
 */
const char *path_text(const json_t *path, bool raw, char text[PATH_TEXT_MAX]);

#endif
