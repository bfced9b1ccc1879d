/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "apply": a batch of changes, in a file in memory. */
#ifndef COPPICE_CONTROL_APPLY_H
#define COPPICE_CONTROL_APPLY_H

#include "control.h"

/*
 * Apply the batch in the sealed memfd, durably.  Otherwise as control_serve()
 * without rows.
 */
int control_apply(struct fs *fs, struct mounts *mounts,
                  const struct fs_cred *cred, json_t *request, int fd,
                  json_t **ret_answer);

#endif
