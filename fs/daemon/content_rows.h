/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The content of a file as rows of an answer: {"data": base64} and, for holes,
 * {"hole": bytes}, in order; with "side" if it is one of two files.
 */
#ifndef COPPICE_CONTENT_ROWS_H
#define COPPICE_CONTENT_ROWS_H

#include "control_verb.h"

/*
 * Send the content of a file of a held tree.  `side`: "a", "b" or NULL.  Return
 * c->ended, or an error of file_content().  Lock NOT held.
 */
int content_rows_send(struct control *c, struct tree *tree, uint64_t ino,
                      uint64_t size, const char *side);
/*
 * Set *ret_text to true if the file has no NUL byte at its beginning (diff(1)
 * and git recognize text by that), otherwise to false.  Errors as
 * file_content().
 */
int content_is_text(struct tree *tree, uint64_t ino, uint64_t size,
                    bool *ret_text);

#endif
