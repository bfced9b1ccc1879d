/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Additions to deadlists that gather in a transaction group.  list_add() in
 * store_list.h makes them.  Inside store/ only.
 */
#ifndef COPPICE_PENDING_LIST_H
#define COPPICE_PENDING_LIST_H

#include <stddef.h>
#include <stdint.h>

struct txg;

/* Numbers to be put on one deadlist. */
struct pending_list {
	uint64_t list;
	uint64_t *numbers;
	size_t len, capacity;
	size_t logged; /* numbers that the intent log has */
	int64_t moved; /* entries that come from other lists, about */
};

/* Return the entries that the group adds to the list or moves to it. */
int64_t pending_entries(const struct txg *txg, uint64_t list);
/* Count entries, about, that the group moves from one list to another. */
void pending_move(struct txg *txg, uint64_t from, uint64_t to, int64_t entries);

#endif
