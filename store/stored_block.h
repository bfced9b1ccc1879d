/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks as the map has them: nodes, chunks and dedup references.  Inside
 * store/ only. */
#ifndef COPPICE_STORED_BLOCK_H
#define COPPICE_STORED_BLOCK_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

/* A block as the map has it. */
struct stored_block {
	uint64_t bytes; /* stored size; 0 for a dedup reference */
	bool is_chunk;
	bool is_dedup_ref;
	uint64_t target; /* of a dedup reference; else the number itself */
	uint64_t hash64; /* chunks: head of the content's hash */
};
/* Look up a block in the map.  -ENOENT; -EUCLEAN. */
int stored_block_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct stored_block *ret_block);

#endif
