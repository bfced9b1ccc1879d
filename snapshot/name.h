/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times in the names of states. */
#ifndef COPPICE_SNAPSHOT_NAME_H
#define COPPICE_SNAPSHOT_NAME_H

#include "snapshot.h"

/*
 * Parse the time that follows "~@".  A day, a minute or a second stands for its
 * last moment.  -EINVAL.
 */
int name_parse_time(const char *text, int64_t now, int64_t *ret_time);

#endif
