/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes of a transaction group that its entries in the intent log do not
 * have yet: see intent_log.h.  Inside store/ only.
 */
#ifndef COPPICE_INTENT_TRACK_H
#define COPPICE_INTENT_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block;
struct chunk;
struct txg;

/* A part of struct txg.  Guarded by the store's lock. */
struct intent_track {
	/*
	 * The group is logged, or could be.  False: only a commit makes its
	 * changes durable, and they are not tracked.
	 */
	bool on;
	struct block **blocks; /* new or changed since the last entry */
	size_t blocks_len, blocks_capacity;
	uint64_t *gone; /* logged blocks that the group has undone since */
	size_t gone_len, gone_capacity;
	size_t frees;     /* the group's frees that are logged */
	size_t ops;       /* its operations on lists that are logged */
	uint32_t entries; /* its entries in the log */
	uint32_t part;    /* its entries of a run that is not complete yet */
	uint64_t end;     /* bytes that its entries take */
};

/* Stop tracking: from now on only a commit makes the changes durable. */
void intent_track_stop(struct txg *txg);
/* Track a block of the group that is new or was changed. */
void intent_track_block(struct txg *txg, struct block *block);
/* Track a change of the bytes [from, to) of a chunk of the group. */
void intent_track_bytes(struct txg *txg, struct chunk *chunk, uint32_t from,
                        uint32_t to);
/* Untrack a block that was taken out of the group; it may be freed then. */
void intent_track_gone(struct txg *txg, struct block *block);
void intent_track_release(struct intent_track *track);

#endif
