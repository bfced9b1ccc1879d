/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times as people write them, in the names of states and elsewhere. */
#ifndef COPPICE_SNAPSHOT_NAME_H
#define COPPICE_SNAPSHOT_NAME_H

#include "snapshot.h"

/*
 * Parse the time that follows "~@".  A day, a minute or a second stands for its
 * last moment.  Times are in ns since the epoch.  -EINVAL.
 */
int name_parse_time(const char *text, int64_t now, int64_t *ret_time);
/* Do the same, but a day, a minute or a second stands for its first moment. */
int name_parse_first(const char *text, int64_t now, int64_t *ret_time);

#endif
