/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transaction groups: changes that gather in memory until they are committed
 * together.
 */
#include "txg.h"

#include <errno.h>

#include "array.h"
#include "chunk.h"
#include "engine.h"

enum { REMOVALS_MOST = 1 << 14 };

void txg_out_of_memory(void)
{
	log_error("out of memory in the middle of a change; stopping");
	abort();
}

struct txg *txg_create(uint64_t number)
{
	struct txg *txg = calloc(1, sizeof(*txg));

	if (!txg)
		return NULL;
	txg->number = number;
	memtable_init(&txg->records);
	return txg;
}

void txg_destroy(struct txg *txg)
{
	if (!txg)
		return;
	for (size_t i = 0; i < txg->lists_len; i++)
		free(txg->lists[i].numbers);
	free(txg->lists);
	free(txg->list_index);
	for (size_t i = 0; i < txg->ops_len; i++)
		list_op_release(&txg->ops[i]);
	free(txg->ops);
	free(txg->repacks);
	free(txg->nodes);
	free(txg->chunks);
	free(txg->frees);
	intent_track_release(&txg->intent);
	memtable_release(&txg->records);
	free(txg);
}

/*
 * Return the bytes at which the group is committed.  A large log can make a
 * large batch durable if all of it is in one group.  So let the group grow
 * nearly to its limit.
 */
static size_t txg_soft(const struct store *store)
{
	return intent_log_has_runs(store)
	               ? store->txg_hard - store->txg_hard / 16
	               : store->txg_soft;
}

void txg_touch(struct store *store, size_t bytes)
{
	struct txg *txg = store->open_txg;

	txg->bytes += bytes;
	if (!txg->since) {
		/* The committer measures the age of the group from now on. */
		txg->since = mono_ns();
		if (!store->syncing_txg)
			pthread_cond_signal(&store->committer_wake);
	}
	if ((txg->bytes > txg_soft(store) || txg->removals > REMOVALS_MOST) &&
	    !store->syncing_txg && !store->commit_asked) {
		store->commit_asked = true;
		pthread_cond_signal(&store->committer_wake);
	}
}

void txg_add_node(struct store *store, struct node *node)
{
	struct txg *txg = store->open_txg;

	if (array_grow(&txg->nodes, txg->nodes_len, &txg->nodes_capacity))
		txg_out_of_memory();
	node->block.state = BLOCK_NEW;
	node->block.unlogged = 0;
	node->block.logged = false;
	node->block.place = (uint32_t)txg->nodes_len;
	txg->nodes[txg->nodes_len++] = node;
	intent_track_block(txg, &node->block);
	txg_touch(store, block_bytes(store, &node->block));
}

void txg_add_chunk(struct store *store, struct chunk *chunk)
{
	struct txg *txg = store->open_txg;

	if (array_grow(&txg->chunks, txg->chunks_len, &txg->chunks_capacity))
		txg_out_of_memory();
	chunk->block.state = BLOCK_NEW;
	chunk->block.unlogged = 0;
	chunk->block.logged = false;
	chunk->block.place = (uint32_t)txg->chunks_len;
	txg->chunks[txg->chunks_len++] = chunk;
	intent_track_block(txg, &chunk->block);
	txg_touch(store, block_bytes(store, &chunk->block));
}

void txg_add_free(struct store *store, uint64_t number, uint64_t owner)
{
	struct txg *txg = store->open_txg;

	if (array_grow(&txg->frees, txg->frees_len, &txg->frees_capacity))
		txg_out_of_memory();
	txg->frees[txg->frees_len++] =
	        (struct freed){.number = number, .owner = owner};
	txg_touch(store, sizeof(struct freed));
}

uint64_t store_freeing(const struct store *store)
{
	return store->open_txg->frees_len + store->open_txg->ops_entries;
}

void txg_take_out(struct store *store, struct block *block)
{
	struct txg *txg = store->open_txg;
	uint32_t place = block->place;

	intent_track_gone(txg, block);
	txg->bytes -= MIN(txg->bytes, block_bytes(store, block));
	if (block->kind == BLOCK_NODE) {
		txg->nodes[place] = txg->nodes[--txg->nodes_len];
		txg->nodes[place]->block.place = place;
	} else {
		txg->chunks[place] = txg->chunks[--txg->chunks_len];
		txg->chunks[place]->block.place = place;
	}
}
