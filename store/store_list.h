/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlists.  A part of store.h: include that. */
#ifndef COPPICE_STORE_LIST_H
#define COPPICE_STORE_LIST_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/*
 * A list is a set of block numbers with the stored size of each, and the usage
 * of its version: the bytes of the blocks that are charged to it.  Additions
 * gather in the open transaction group.  Long work on lists is done by the
 * committer, one job at a time, a bounded piece in each commit.
 */

/* Estimate the number of blocks that the next commit will free.  Lock held. */
uint64_t store_freeing(const struct store *store);

/* Put a block number on a list.  Lock held. */
void list_add(struct store *store, uint64_t list, uint64_t number);

struct list_info {
	uint64_t entries;
	uint64_t bytes;        /* stored size of the blocks listed */
	uint64_t unique_bytes; /* stored size of the blocks charged to `list` */
};
/*
 * Return the figures as of the last commit; those of a list never written are
 * zero.  Lock held.
 */
int list_info(struct store *store, uint64_t list, struct list_info *ret_info);
/* Sum up the stored size of the entries numbered above `above`.  Lock held. */
int list_bytes_above(struct store *store, uint64_t list, uint64_t above,
                     uint64_t *ret_bytes);
/*
 * Do the same in pieces: read up to `runs` of the list's runs, of up to 1,000
 * entries each.  0: sum->bytes is the sum; -EAGAIN: continue with another call,
 * after a release of the lock.  Lock held.
 */
struct list_sum {
	uint64_t list, above;
	uint64_t at; /* 0 at first; entries up to it are in the sum */
	uint64_t bytes;
};
int list_sum_step(struct store *store, struct list_sum *sum, uint32_t runs);

enum list_job_kind {
	/* Free blocks on `list` above `above`, which are charged to `other`. */
	LIST_FREE_ABOVE,
	/* Move all entries of `list` to `other`. */
	LIST_MOVE,
	/* Forget `list` and its usage; its entries are not freed. */
	LIST_DROP,
};
struct list_job {
	enum list_job_kind kind;
	uint64_t list;
	uint64_t other;
	uint64_t above;
	uint32_t budget;       /* entries to handle in one commit */
	bool done;             /* result: nothing of it is left */
	bool refused;          /* result: the commit with it has failed */
	uint64_t freed_blocks; /* result */
	uint64_t freed_bytes;  /* result */
	struct list_job *next; /* to be done in the same commits; or NULL */
};
/*
 * Run one piece of the job, and of the jobs chained to it by `next`, with the
 * next commit, wait for that, and set their results.  -ENOSPC: the disk has no
 * space for the pages to be changed; a smaller budget needs fewer.  Space is
 * not reserved for a job, and a commit that fails because of it is repeated
 * without it.  Lock NOT held.
 */
int list_job_run(struct store *store, struct list_job *job);

/*
 * Changes of whole lists.  The next commit makes them in the order of the
 * calls, after all additions to lists.  list_op_check() bounds the work of one
 * commit; longer lists are left to list_job_run().  All of these: lock held.
 */

/* Estimate how many entries the list will have after the next commit. */
int list_estimate(struct store *store, uint64_t list, uint64_t *ret_entries);
/*
 * Return 0 if the next commit can handle so many more entries.  `alone`: no
 * other thread uses the store, so the commit may take longer.  -EAGAIN: ask
 * again after the next commit.  -E2BIG: no commit can, because the entries are
 * too many or there is too little space to write their changes.
 */
int list_op_check(struct store *store, uint64_t entries, bool alone);
/* Do LIST_DROP.  `entries` is what list_estimate() returned. */
void list_drop(struct store *store, uint64_t list, uint64_t entries);

/*
 * Merge a version into its child: charge to `owner` what is charged to
 * from_owner.  Then, unless old_list is 0, free the blocks on old_list numbered
 * above `above`, which are charged to `owner`, and move the entries of list
 * `from` to list `to`.
 */
struct list_merge {
	uint64_t from_owner, owner;
	uint64_t old_list; /* the child's until now */
	uint64_t above;
	uint64_t from, to;
	uint64_t moved;   /* entries of `from`, about */
	uint64_t entries; /* to be freed and moved, about */
};
void list_merge(struct store *store, const struct list_merge *merge);

/*
 * A version whose tree is not needed as a whole any more, and the deadlists of
 * all its children.
 */
struct list_sweep {
	uint64_t owner; /* what the blocks above `above` are charged to */
	uint64_t above; /* the version's base */
	uint64_t list;  /* the version's own deadlist */
	const uint64_t *lists; /* the children's; at least one */
	size_t lists_len;
};
/*
 * Find numbers that are on all of the lists as of the last commit: up to
 * `most`, above *at, ascending.  *ret_bytes: sizes of those above `above`.  *at
 * is set to the number to go on after.  -ENOENT: the first list has no numbers
 * above *at.  Lock held.
 */
enum { SWEEP_MOST = 512 };
int list_common(struct store *store, const struct list_sweep *sweep,
                size_t most, uint64_t *at, uint64_t ret_numbers[SWEEP_MOST],
                size_t *ret_count, uint64_t *ret_bytes);
/*
 * With the next commit, remove from the lists those of the ascending numbers
 * that are on all of them then.  Free those above `above`, and put the others
 * on the version's own list.  -ENOMEM.
 */
int list_sweep(struct store *store, const struct list_sweep *sweep,
               const uint64_t *numbers, size_t count);

#endif
