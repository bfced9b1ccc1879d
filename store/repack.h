/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding leaves of the table `blocks` that deletions have left sparse, and
 * planning to put their entries into fewer pages.  refill.c writes them. Inside
 * store/ only.
 */
#ifndef COPPICE_REPACK_H
#define COPPICE_REPACK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Adjacent leaves of the table `blocks` whose entries fit into fewer. */
struct repack {
	uint64_t first, last; /* keys */
	uint32_t leaves;
	uint32_t entries;
	uint32_t large; /* entries whose values lie in overflow pages */
	uint32_t bytes; /* bytes that the entries take in the leaves */
};

enum { SPARSE_REGIONS = 4096 };

/* Bytes freed in leaves of `blocks`, by region of block numbers. */
struct sparse {
	pthread_mutex_t lock; /* guards all but the last two */
	unsigned shift;       /* log2 of the count of numbers in a region */
	uint64_t freed[SPARSE_REGIONS];
	uint64_t total;
	uint64_t least;    /* freed bytes that a pass needs */
	size_t next;       /* next region of the pass; 0: none has begun */
	uint64_t at, last; /* keys yet to be read; used by store_repack() */
};

/*
 * Count `len` bytes stored under the block number as freed.  A commit that is
 * aborted and tried again counts them twice, so the counts are upper bounds:
 * they only decide which leaves are read.
 */
void sparse_add(struct sparse *sparse, uint64_t number, size_t len);

#endif
