/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of snapshots that are the time of their creation. */
#ifndef COPPICE_TIME_NAME_H
#define COPPICE_TIME_NAME_H

#include <stdbool.h>

enum { TIME_NAME_MAX = 64 };

/*
 * Return the current time in UTC as a name; names sort by time.  `again` is the
 * number of this second's names that are taken.
 */
void time_name_now(unsigned again, char name[TIME_NAME_MAX]);
/* Return true if a name is such a time: 2026-11-20T12:00:00Z, or with -2. */
bool time_name_is(const char *name);

#endif
