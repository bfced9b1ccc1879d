/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transaction group: changes that gather in memory and become durable
 * together.  The store has an open group and, during a commit, a syncing one.
 * Inside store/ only.
 */
#ifndef COPPICE_TXG_H
#define COPPICE_TXG_H

#include "block.h"
#include "intent_track.h"
#include "list_op.h"
#include "memtable.h"
#include "pending_list.h"
#include "repack.h"

/* A block number that the group frees. */
struct freed {
	uint64_t number;
	uint64_t owner; /* charged for the block until now */
	/* Its reference to the stored block was passed on to another block. */
	bool passed;
};

/* A callback of store_fsync(). */
struct waiter {
	struct waiter *next;
	void (*fn)(void *arg, int err);
	void *arg;
};

/* Open: guarded by the store's lock.  Syncing: it does not change. */
struct txg {
	uint64_t number; /* of the group */
	int64_t since;   /* mono_ns of the first change; 0: none yet */
	size_t bytes;    /* memory it holds, about */
	struct node **nodes;
	size_t nodes_len, nodes_capacity;
	struct chunk **chunks; /* with patches and dedup references */
	size_t chunks_len, chunks_capacity;
	struct freed *frees;
	size_t frees_len, frees_capacity;
	struct pending_list *lists;
	size_t lists_len, lists_capacity;
	uint32_t *list_index; /* of `lists`: see number_index.h */
	size_t list_index_size;
	struct memtable records;
	size_t removals;     /* removed records, which readers step over */
	struct list_op *ops; /* in the order of the calls */
	size_t ops_len, ops_capacity;
	uint64_t ops_entries;   /* list entries that they handle, about */
	struct repack *repacks; /* done last */
	size_t repacks_len;
	uint64_t repack_pages; /* pages that they write, at most */
	struct list_job *job;
	struct waiter *waiters;
	bool waited; /* threads wait, so encode with a second thread */
	struct intent_track intent;
	bool may_splice; /* the store has the feature of splices */
};

/*
 * Abort the process: there is no memory to record the rest of a change.  The
 * store on disk is intact; committing half of the change would damage it.
 */
void txg_out_of_memory(void) __attribute__((noreturn));
/* Return an empty group.  NULL: no memory. */
struct txg *txg_create(uint64_t number);
void txg_destroy(struct txg *txg);

/* All of these change the open group.  Lock held. */

/* Count a change that takes about `bytes` of memory. */
void txg_touch(struct store *store, size_t bytes);
void txg_add_node(struct store *store, struct node *node);
void txg_add_chunk(struct store *store, struct chunk *chunk);
void txg_add_free(struct store *store, uint64_t number, uint64_t owner);
/* Remove a block that was added. */
void txg_take_out(struct store *store, struct block *block);

#endif
