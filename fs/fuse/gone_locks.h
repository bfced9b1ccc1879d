/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locks of files whose state was deleted. */
#ifndef COPPICE_GONE_LOCKS_H
#define COPPICE_GONE_LOCKS_H

#include "session.h"

/*
 * Fail the requests that wait for locks of files in deleted states with
 * -ESTALE.  Locks that are set are removed when their files are closed.
 */
void locks_fail_gone(struct mounts *mounts);

#endif
