/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks in memory, by number. */
#include <errno.h>

#include "chunk.h"
#include "engine.h"
#include "lock.h"
#include "node_codec.h"

enum { CACHE_LINE = 64 };

struct block **block_bucket(struct store *store, uint64_t number)
{
	uint64_t h = number * 0x9e3779b97f4a7c15;
	int bits = __builtin_ctzll(store->buckets_len);

	/* The upper bits alone spread numbers that follow each other. */
	return &store->buckets[h >> (64 - bits)];
}

struct block *block_find(struct store *store, uint64_t number)
{
	struct block *block = *block_bucket(store, number);

	count_work(store);
	while (block) {
		/* The start of a node, or of a chunk's bytes, is read next. */
		__builtin_prefetch((const char *)block + CACHE_LINE);
		if (block->number == number)
			break;
		block = block->hash_next;
	}
	return block;
}

/*
 * Double the buckets when they are half full: each further block in a chain is
 * a miss of the processor's caches.  If there is no memory, chains grow longer.
 */
static void block_rehash(struct store *store)
{
	size_t old_len = store->buckets_len;
	struct block **old = store->buckets;
	struct block **new = calloc(old_len * 2, sizeof(*new));

	if (!new)
		return;
	store->buckets = new;
	store->buckets_len = old_len * 2;
	for (size_t i = 0; i < old_len; i++) {
		struct block *block = old[i];

		while (block) {
			struct block *next = block->hash_next;
			struct block **bucket =
			        block_bucket(store, block->number);

			block->hash_next = *bucket;
			*bucket = block;
			block = next;
		}
	}
	free(old);
}

void block_insert(struct store *store, struct block *block)
{
	struct block **bucket;

	if (store->blocks_len >= store->buckets_len / 2)
		block_rehash(store);
	bucket = block_bucket(store, block->number);
	block->hash_next = *bucket;
	block->hashed = true;
	*bucket = block;
	store->blocks_len++;
}

size_t block_bytes(const struct store *store, const struct block *block)
{
	const struct chunk *chunk = (const struct chunk *)block;

	if (block->kind == BLOCK_NODE)
		return sizeof(struct node) + store->geometry.node_size;
	return sizeof(struct chunk) + chunk->capacity;
}

static void block_free(struct block *block)
{
	if (block->kind == BLOCK_NODE)
		free(block);
	else
		chunk_unref((struct chunk *)block);
}

static void block_leave_clean(struct store *store, struct block *block)
{
	block->older->newer = block->newer;
	block->newer->older = block->older;
	store->clean_bytes -= block_bytes(store, block);
}

/* Add the block as the newest: directly before the head of the ring. */
static void block_enter_clean(struct store *store, struct block *block)
{
	block->newer = &store->clean;
	block->older = store->clean.older;
	block->older->newer = block;
	store->clean.older = block;
	store->clean_bytes += block_bytes(store, block);
	block->state = BLOCK_CLEAN;
	block->used = false;
}

void block_unhash(struct store *store, struct block *block)
{
	struct block **link = block_bucket(store, block->number);

	while (*link != block)
		link = &(*link)->hash_next;
	*link = block->hash_next;
	block->hashed = false;
	store->blocks_len--;
	if (block->state == BLOCK_CLEAN)
		block_leave_clean(store, block);
}

void block_clean(struct store *store, struct block *block)
{
	if (!block->hashed || block->kind == BLOCK_DEDUP ||
	    block->kind == BLOCK_PATCH) {
		if (block->hashed)
			block_unhash(store, block);
		block_free(block);
		return;
	}
	block_enter_clean(store, block);
}

void block_trim(struct store *store, size_t most)
{
	while (store->clean_bytes > store->clean_limit && most--) {
		struct block *block = store->clean.newer;

		if (block->used) {
			block_leave_clean(store, block);
			block_enter_clean(store, block);
			continue;
		}
		block_unhash(store, block);
		block_free(block);
	}
}

void block_release_all(struct store *store)
{
	while (store->clean.newer != &store->clean) {
		struct block *block = store->clean.newer;

		block_unhash(store, block);
		block_free(block);
	}
	free(store->buckets);
	store->buckets = NULL;
}

void block_forget_nodes(struct store *store)
{
	struct block *next, *block = store->clean.newer;

	for (; block != &store->clean; block = next) {
		next = block->newer;
		if (block->kind != BLOCK_NODE)
			continue;
		block_unhash(store, block);
		block_free(block);
	}
}

int store_reader(struct store *store, MDB_txn **ret_txn)
{
	int r = 0;

	if (lock_is_shared)
		return -EAGAIN;
	if (!store->reader)
		r = disk_read_begin(&store->disk, &store->reader);
	*ret_txn = store->reader;
	return r;
}

uint32_t store_node_size(const struct store *store)
{
	return store->geometry.node_size;
}

uint64_t store_stamp(struct store *store)
{
	return ++store->stamp;
}

static struct node *node_alloc(struct store *store, uint64_t number,
                               uint64_t owner)
{
	struct node *node =
	        calloc(1, sizeof(*node) + store->geometry.node_size);

	if (!node)
		return NULL;
	node->block.number = number;
	node->block.owner = owner;
	node->block.kind = BLOCK_NODE;
	return node;
}

static int node_load(struct store *store, uint64_t number,
                     struct node **ret_node)
{
	uint8_t buffer[DISK_VALUE_MAX];
	const uint8_t *data;
	struct node *node;
	MDB_val value;
	MDB_txn *txn;
	uint32_t len;
	int r;

	r = store_reader(store, &txn);
	if (r < 0)
		return r;
	r = disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	             &value);
	if (r == 0)
		r = node_decode(store, txn, number, &value, buffer, &data,
		                &len);
	if (r == -ENOENT || r == -EUCLEAN)
		return store_damaged(store, number,
		                     r == -ENOENT
		                             ? "a tree node that is missing"
		                             : "a tree node that cannot be "
		                               "read");
	if (r < 0)
		return r;
	node = node_alloc(store, number, 0);
	if (!node)
		return -ENOMEM;
	memcpy(node->data, data, len);
	node->stored = true;
	node->copied = node_stored_base(&value);
	block_insert(store, &node->block);
	block_enter_clean(store, &node->block);
	*ret_node = node;
	return 0;
}

int node_read(struct store *store, uint64_t number, struct node **ret_node)
{
	struct block *block = block_find(store, number);

	if (!block)
		return node_load(store, number, ret_node);
	if (block->kind != BLOCK_NODE)
		return store_damaged(store, number,
		                     "used as a tree node and as a chunk");
	block_use(block);
	*ret_node = (struct node *)block;
	return 0;
}

int node_new(struct tree *tree, struct node **ret_node)
{
	struct store *store = tree->store;
	struct node *node = node_alloc(store, store->seq + 1, tree->owner);

	if (!node)
		return -ENOMEM;
	store->seq++;
	node->data[0] = BLOCK_TAG_NODE;
	block_insert(store, &node->block);
	txg_add_node(store, node);
	*ret_node = node;
	return 0;
}

void node_touch(struct store *store, struct node *node)
{
	intent_track_block(store->open_txg, &node->block);
}

int node_edit(struct tree *tree, uint64_t number, struct node **ret_node)
{
	struct store *store = tree->store;
	struct node *old, *new;
	bool private = number > tree->base;
	int r;

	r = node_read(store, number, &old);
	if (r < 0)
		return r;
	if (private && old->block.state == BLOCK_NEW) {
		node_touch(store, old);
		*ret_node = old;
		return 0;
	}
	if (private && old->block.state == BLOCK_CLEAN) {
		/* The map keeps the old bytes; those of the node may change. */
		block_leave_clean(store, &old->block);
		old->block.owner = tree->owner;
		txg_add_node(store, old);
		*ret_node = old;
		return 0;
	}
	if (!private) {
		r = node_new(tree, &new);
		if (r < 0)
			return r;
		memcpy(new->data, old->data, store->geometry.node_size);
		new->copied = number;
		list_add(store, tree->list, number);
		*ret_node = new;
		return 0;
	}
	/* Private and being committed: change a copy of the same number. */
	new = node_alloc(store, number, tree->owner);
	if (!new)
		return -ENOMEM;
	new->stored = true;
	new->copied = old->copied;
	memcpy(new->data, old->data, store->geometry.node_size);
	block_unhash(store, &old->block);
	block_insert(store, &new->block);
	txg_add_node(store, new);
	*ret_node = new;
	return 0;
}

/*
 * Drop a private block.  A block that was never stored is removed at once.  A
 * stored one, in the map or the syncing group, is freed with the open group.
 */
static void block_drop(struct tree *tree, uint64_t number)
{
	struct store *store = tree->store;
	struct block *block = block_find(store, number);
	bool stored = true;

	if (block && block->state == BLOCK_NEW) {
		struct chunk *chunk = (struct chunk *)block;

		if (block->kind == BLOCK_NODE)
			stored = ((struct node *)block)->stored;
		else
			stored = chunk->cloned;
		if (block->kind == BLOCK_NODE || !chunk->cloned) {
			txg_take_out(store, block);
			block_unhash(store, block);
			block_free(block);
		}
	} else if (block) {
		bool syncing = block->state == BLOCK_SYNCING;

		/*
		 * The syncing group owns its blocks.  Dedup references may
		 * still look up a cloned one, which is not in the map yet.
		 */
		if (!syncing || block->kind == BLOCK_NODE ||
		    !((struct chunk *)block)->cloned)
			block_unhash(store, block);
		if (!syncing)
			block_free(block);
	}
	if (stored)
		txg_add_free(store, number, tree->owner);
}

void tree_drop(struct tree *tree, uint64_t number)
{
	if (number > tree->base)
		block_drop(tree, number);
	else
		list_add(tree->store, tree->list, number);
}
