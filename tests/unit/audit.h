/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole of a store held against the rules of the lineage: what is counted
 * against what is there, kill lists against trees, blocks against what can be
 * reached.  Fails the test where they differ.
 */
#ifndef COPPICE_AUDIT_H
#define COPPICE_AUDIT_H

#include "snapshot.h"

struct audit; /* what lies in the file, read while no store was open */

struct audit *audit_read(const char *path);
void audit_destroy(struct audit *audit);
uint64_t audit_blocks(const struct audit *audit);
uint64_t audit_list_entries(const struct audit *audit);
uint64_t audit_shared(const struct audit *audit); /* aliases and counts */

/*
 * The forest has just been opened from that file, and had been drained before
 * it was closed.  Nothing may have been changed since.
 */
void audit_check(const struct audit *audit, struct forest *forest);

#endif
