/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The space reservation: the disk space that pending changes will need at their
 * commit.  Lock held, or single-threaded.  Inside store/ only.
 */
#ifndef COPPICE_RESERVATION_H
#define COPPICE_RESERVATION_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Return true if the file system has next to no space left. */
bool reservation_disk_full(const struct store *store);
/* Measure after a commit how much can be written. */
void reservation_measure(struct store *store);
/* Reserve so many pages besides the pending changes.  -ENOSPC. */
int reservation_for_pages(struct store *store, uint64_t pages);
/* Set the limit of the file's size; 0: only that of the map. */
void reservation_set_limit(struct store *store, uint64_t max_size);
/* Measure again, and return the bytes that may be written. */
uint64_t reservation_stat(struct store *store);
/* Give back most of the preallocated space, if no changes are pending. */
void reservation_relax(struct store *store);
/* Give back all preallocated space that is not reserved. */
void reservation_give_back(struct store *store);

#endif
