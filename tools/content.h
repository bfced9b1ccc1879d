/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing the content of a file that an answer has as rows. */
#ifndef COPPICE_CONTENT_H
#define COPPICE_CONTENT_H

#include <jansson.h>
#include <stdbool.h>

/* Return true if the row is a piece of content: see content_rows.h. */
bool content_is_row(const json_t *row);
/*
 * Write the piece to a descriptor.  With `sparse`, a hole is skipped: the
 * caller sets the length of the file at the end.  A negative errno.
 */
int content_write(int fd, const json_t *row, bool sparse);

#endif
