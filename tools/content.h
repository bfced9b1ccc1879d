/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing the content of a file from the rows of an answer. */
#ifndef COPPICE_CONTENT_H
#define COPPICE_CONTENT_H

#include <jansson.h>
#include <stdbool.h>

/* Return true if the row is a piece of content: see content_rows.h. */
bool content_is_row(const json_t *row);
/*
 * Write the piece to a descriptor.  With `sparse`, skip a hole; the caller sets
 * the length of the file at the end.  Return 0 or a negative errno.
 */
int content_write(int fd, const json_t *row, bool sparse);

#endif
