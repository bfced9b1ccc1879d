/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets: changes that gather in memory until they are committed together. */
#include <errno.h>

#include "engine.h"

enum { REMOVALS_MOST = 1 << 14 };

void set_out_of_memory(void)
{
	log_error("out of memory in the middle of a change; stopping");
	abort();
}

struct set *set_create(uint64_t seq)
{
	struct set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->seq = seq;
	overlay_init(&set->records);
	return set;
}

void set_destroy(struct set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->lists_len; i++)
		free(set->lists[i].numbers);
	free(set->lists);
	free(set->list_index);
	free(set->ops);
	free(set->repacks);
	free(set->nodes);
	free(set->chunks);
	free(set->frees);
	overlay_release(&set->records);
	free(set);
}

static void *set_grow(void *array, size_t len, size_t *capacity, size_t item)
{
	size_t more = *capacity ? *capacity * 2 : 64;

	if (len < *capacity)
		return array;
	array = realloc(array, more * item);
	if (!array)
		set_out_of_memory();
	*capacity = more;
	return array;
}

void set_touch(struct store *store, size_t bytes)
{
	struct set *set = store->gathering;

	set->bytes += bytes;
	if (!set->since) {
		/* The committer begins to count its seconds. */
		set->since = mono_ns();
		if (!store->frozen)
			pthread_cond_signal(&store->committer_wake);
	}
	if ((set->bytes > store->set_soft || set->removals > REMOVALS_MOST) &&
	    !store->frozen && !store->commit_asked) {
		store->commit_asked = true;
		pthread_cond_signal(&store->committer_wake);
	}
}

void set_add_node(struct store *store, struct node *node)
{
	struct set *set = store->gathering;

	set->nodes = set_grow(set->nodes, set->nodes_len, &set->nodes_capacity,
	                      sizeof(*set->nodes));
	node->block.state = BLOCK_NEW;
	node->block.place = (uint32_t)set->nodes_len;
	set->nodes[set->nodes_len++] = node;
	set_touch(store, block_bytes(store, &node->block));
}

void set_add_chunk(struct store *store, struct chunk *chunk)
{
	struct set *set = store->gathering;

	set->chunks = set_grow(set->chunks, set->chunks_len,
	                       &set->chunks_capacity, sizeof(*set->chunks));
	chunk->block.state = BLOCK_NEW;
	chunk->block.place = (uint32_t)set->chunks_len;
	set->chunks[set->chunks_len++] = chunk;
	set_touch(store, block_bytes(store, &chunk->block));
}

void set_add_free(struct store *store, uint64_t number, uint64_t owner)
{
	struct set *set = store->gathering;

	set->frees = set_grow(set->frees, set->frees_len, &set->frees_capacity,
	                      sizeof(*set->frees));
	set->frees[set->frees_len++] =
	        (struct freed){.number = number, .owner = owner};
	set_touch(store, sizeof(struct freed));
}

uint64_t store_freeing(const struct store *store)
{
	return store->gathering->frees_len + store->gathering->ops_entries;
}

void set_take_out(struct store *store, struct block *block)
{
	struct set *set = store->gathering;
	uint32_t place = block->place;

	set->bytes -= MIN(set->bytes, block_bytes(store, block));
	if (block->kind == BLOCK_NODE) {
		set->nodes[place] = set->nodes[--set->nodes_len];
		set->nodes[place]->block.place = place;
	} else {
		set->chunks[place] = set->chunks[--set->chunks_len];
		set->chunks[place]->block.place = place;
	}
}
