/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `copy`. */
#ifndef COPPICE_CONTROL_COPY_H
#define COPPICE_CONTROL_COPY_H

#include "control.h"

/*
 * Make everything durable and write a copy of the store's file to the empty
 * file `fd`, which the caller syncs.  Rows of progress go to fn; the answer has
 * "bytes" and "identity", the store's UUID.  Errors as control_run().
 */
int control_copy(struct store *store, int fd, control_row_fn *fn, void *arg,
                 json_t **ret_answer);

#endif
