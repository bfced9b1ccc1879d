/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs `cat` and `ls`: files of a state, mounted or not. */
#ifndef COPPICE_CONTROL_FILE_H
#define COPPICE_CONTROL_FILE_H

#include "control_verb.h"

/*
 * Send the content of the regular file "path" of "state", as of one instant, as
 * rows of content_rows.h.
 */
int control_cat(struct control *c);
/*
 * Send a row for each entry of the directory "path" of "state", in no order.
 * If "path" is not a directory, send one row for the file itself.
 */
int control_ls(struct control *c);

#endif
