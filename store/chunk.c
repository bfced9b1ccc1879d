/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chunks in memory: counted buffers, found by number or read from the map. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bulk.h"
#include "chunk_codec.h"
#include "engine.h"
#include "lock.h"
#include "parts.h"
#include "patch.h"

struct chunk *chunk_alloc(struct store *store, size_t capacity)
{
	struct chunk *chunk = malloc(sizeof(*chunk) + capacity);

	if (!chunk)
		return NULL;
	*chunk = (struct chunk){.store = store};
	chunk->data = chunk->first;
	chunk->capacity = (uint32_t)capacity;
	chunk->block.kind = BLOCK_CHUNK;
	atomic_init(&chunk->refs, 1);
	return chunk;
}

struct chunk *chunk_ref(struct chunk *chunk)
{
	atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
	return chunk;
}

void chunk_unref(struct chunk *chunk)
{
	if (!chunk || atomic_fetch_sub_explicit(&chunk->refs, 1,
	                                        memory_order_acq_rel) > 1)
		return;
	if (chunk->bulk) {
		bulk_chunk_free(chunk);
		return;
	}
	if (chunk->data != chunk->first)
		free(chunk->data);
	free(chunk);
}

uint8_t *chunk_data(struct chunk *chunk)
{
	return chunk->data;
}

uint32_t chunk_len(const struct chunk *chunk)
{
	return chunk->len;
}

int chunk_resize(struct chunk *chunk, uint32_t len)
{
	if (len > chunk->capacity) {
		uint32_t limit = 1u << chunk->store->geometry.chunk_bits;
		uint32_t capacity = MAX(len, MIN(2 * chunk->capacity, limit));
		bool first = chunk->data == chunk->first;
		uint8_t *data = realloc(first ? NULL : chunk->data, capacity);

		if (!data)
			return -ENOMEM;
		if (first)
			memcpy(data, chunk->first, chunk->len);
		chunk->data = data;
		if (chunk->block.hashed)
			txg_touch(chunk->store, capacity - chunk->capacity);
		chunk->capacity = capacity;
	}
	if (len > chunk->len) {
		memset(chunk->data + chunk->len, 0, len - chunk->len);
		chunk_changed(chunk, chunk->len, len);
	} else if (chunk->block.hashed && len < chunk->len) {
		intent_track_bytes(chunk->store->open_txg, chunk, len, len);
	}
	chunk->len = len;
	return 0;
}

void chunk_set_len(struct chunk *chunk, uint32_t len)
{
	chunk->len = len;
}

void chunk_is_copy(struct chunk *chunk, uint32_t len, uint32_t from,
                   uint32_t to)
{
	chunk->same = parts_of(chunk->store, 0, MIN(len, chunk->len));
	if (len < chunk->len)
		chunk_changed(chunk, len, chunk->len);
	chunk_changed(chunk, from, to);
}

void chunk_changed(struct chunk *chunk, uint32_t from, uint32_t to)
{
	chunk->same &= ~parts_of(chunk->store, from, to);
	if (chunk->block.hashed)
		intent_track_bytes(chunk->store->open_txg, chunk, from, to);
}

uint64_t chunk_replaced(struct tree *tree, uint64_t number)
{
	struct block *block;
	struct chunk *chunk;

	/* Most chunks are shared: save the cache misses of a look-up. */
	if (number <= tree->base)
		return number;
	block = block_find(tree->store, number);
	chunk = (struct chunk *)block;
	if (!block || block->kind == BLOCK_NODE || block->kind == BLOCK_DEDUP ||
	    block->state != BLOCK_NEW || chunk->cloned)
		return number;
	return chunk->replaces;
}

uint64_t chunk_add(struct tree *tree, struct chunk *chunk, uint64_t replaces)
{
	struct store *store = tree->store;

	chunk->block.number = ++store->seq;
	chunk->block.owner = tree->owner;
	/* A copy depends on this very chunk: see chunk_is_copy(). */
	chunk->replaces =
	        chunk->same ? replaces : chunk_replaced(tree, replaces);
	block_insert(store, &chunk_ref(chunk)->block);
	txg_add_chunk(store, chunk);
	if (chunk->block.kind == BLOCK_PATCH)
		patch_added(store);
	return chunk->block.number;
}

void chunk_replaces(struct tree *tree, uint64_t number, uint64_t replaces)
{
	struct block *block = block_find(tree->store, number);

	if (!block || block->kind != BLOCK_CHUNK || block->state != BLOCK_NEW)
		return;
	((struct chunk *)block)->replaces = chunk_replaced(tree, replaces);
	((struct chunk *)block)->same = 0;
	intent_track_bytes(tree->store->open_txg, (struct chunk *)block, 0, 0);
}

int chunk_clone(struct tree *tree, uint64_t number, uint64_t *ret_number)
{
	struct store *store = tree->store;
	struct block *block = block_find(store, number);
	struct chunk *ref;

	/*
	 * Name a dedup reference of the syncing group itself, not its target:
	 * the target may become a dedup reference, too, and be freed before the
	 * new reference is written.
	 */
	while (block && block->kind == BLOCK_DEDUP &&
	       block->state == BLOCK_NEW) {
		number = ((struct chunk *)block)->dedup_of;
		block = block_find(store, number);
	}
	if (block && block->kind == BLOCK_NODE)
		return -EUCLEAN;
	ref = calloc(1, sizeof(*ref));
	if (!ref)
		return -ENOMEM;
	if (block)
		((struct chunk *)block)->cloned = true;
	ref->store = store;
	ref->dedup_of = number;
	atomic_init(&ref->refs, 1);
	ref->block.kind = BLOCK_DEDUP;
	ref->block.number = ++store->seq;
	ref->block.owner = tree->owner;
	block_insert(store, &ref->block);
	txg_add_chunk(store, ref);
	*ret_number = ref->block.number;
	return 0;
}

struct chunk *chunk_find(struct store *store, uint64_t number,
                         bool *ret_writable)
{
	struct block *block = block_find(store, number);
	struct chunk *chunk;

	while (block && block->kind == BLOCK_DEDUP)
		block = block_find(store, ((struct chunk *)block)->dedup_of);
	if (!block || block->kind != BLOCK_CHUNK)
		return NULL;
	chunk = (struct chunk *)block;
	block_use(block);
	if (ret_writable)
		*ret_writable = block->number == number &&
		                block->state == BLOCK_NEW && !chunk->cloned;
	return chunk_ref(chunk);
}
/*
 * If *number is a dedup reference in memory, set it to the number of the
 * content.  Return the chunk or patch, referenced, if it is in memory.
 */
static struct chunk *chunk_resolve(struct store *store, uint64_t *number,
                                   bool *ret_patch)
{
	struct chunk *chunk;
	struct block *block;

	store_lock(store);
	chunk = chunk_find(store, *number, NULL);
	block = block_find(store, *number);
	while (block && block->kind == BLOCK_DEDUP) {
		*number = ((struct chunk *)block)->dedup_of;
		block = block_find(store, *number);
	}
	*ret_patch = block && block->kind == BLOCK_PATCH;
	if (*ret_patch)
		chunk = chunk_ref((struct chunk *)block);
	store_unlock(store);
	return chunk;
}

int chunk_load(struct store *store, uint64_t number, struct chunk **ret_chunk)
{
	uint64_t target = number, ref;
	struct chunk *chunk;
	bool is_patch;
	MDB_txn *txn;
	int r;

	chunk = chunk_resolve(store, &target, &is_patch);
	if (is_patch) {
		r = patch_read(chunk, ret_chunk);
		chunk_unref(chunk);
		return r;
	}
	if (chunk) {
		*ret_chunk = chunk;
		return 0;
	}
	r = disk_read_begin(&store->disk, &txn);
	if (r < 0)
		return r;
	r = chunk_decode(store, txn, target, &chunk);
	if (r == -ENOENT &&
	    !disk_get_u64(txn, store->disk.dedup_refs, target, &ref)) {
		r = chunk_decode(store, txn, ref, &chunk);
		if (r == -ENOENT)
			r = -EUCLEAN;
	}
	disk_read_end(&store->disk, txn);
	if (r == -EUCLEAN)
		store_damaged(store, number, "a chunk that cannot be read");
	if (r < 0)
		return r;
	store_lock(store);
	if (!block_find(store, number)) {
		chunk->block.number = number;
		block_insert(store, &chunk_ref(chunk)->block);
		block_clean(store, &chunk->block);
	}
	store_unlock(store);
	*ret_chunk = chunk;
	return 0;
}

/* Do what chunk_read() does.  -EAGAIN: the chunk is not stored as it is. */
static int plain_copy(struct store *store, uint64_t number, uint32_t from,
                      uint32_t len, void *out)
{
	const uint8_t *data;
	uint32_t have;
	MDB_txn *txn;
	int r = disk_read_begin(&store->disk, &txn);

	if (r < 0)
		return r;
	r = chunk_plain(store, txn, number, &data, &have);
	if (r == 0 && (from > have || len > have - from))
		r = -EUCLEAN;
	if (r == 0)
		memcpy(out, data + from, len);
	disk_read_end(&store->disk, txn);
	if (r == -EUCLEAN)
		store_damaged(store, number, "a chunk that cannot be read");
	return r;
}

bool chunk_has_room(const struct store *store)
{
	return store->clean_bytes < store->clean_limit - store->clean_limit / 4;
}

int chunk_read(struct store *store, uint64_t number, uint32_t from,
               uint32_t len, void *out, bool cache)
{
	struct chunk *chunk;
	int r = cache ? -EAGAIN : plain_copy(store, number, from, len, out);

	if (r != -EAGAIN)
		return r;
	r = chunk_load(store, number, &chunk);
	if (r < 0)
		return r;
	if (from > chunk->len || len > chunk->len - from)
		r = store_damaged(store, number, "a chunk that is too short");
	else
		memcpy(out, chunk->data + from, len);
	chunk_unref(chunk);
	return r;
}

/* A range of adjacent pages of the map to be read. */
struct run {
	uintptr_t start, end;
};

static void run_read(const struct run *run)
{
	/* The system's pages may be larger than the file's. */
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = run->start & ~(page - 1);

	if (run->end > run->start)
		madvise((void *)start, run->end - start, MADV_WILLNEED);
}

static void run_add(struct run *run, const MDB_val *value)
{
	uintptr_t at = (uintptr_t)value->mv_data;
	uintptr_t start = at & ~(uintptr_t)(DISK_PAGE - 1);
	uintptr_t end = at + value->mv_size;

	if (start != run->end) {
		run_read(run);
		run->start = start;
	}
	run->end = (end + DISK_PAGE - 1) & ~(uintptr_t)(DISK_PAGE - 1);
}

/* Add the chunk's fragments, whose addresses LMDB returns without a read. */
static void prefetch_one(MDB_cursor *cursor, uint64_t number, struct run *run)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	int r = disk_cursor_where(cursor, &key, &value, MDB_SET_KEY);

	while (r == 0) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (id >> DISK_FRAGMENT_BITS != number)
			return;
		run_add(run, &value);
		r = disk_cursor_where(cursor, &key, &value, MDB_NEXT);
	}
}

void chunk_prefetch(struct store *store, const uint64_t *numbers, size_t count)
{
	struct run run = {0};
	MDB_cursor *cursor;
	MDB_txn *txn;

	if (disk_read_begin(&store->disk, &txn) < 0)
		return;
	if (disk_cursor_open(txn, store->disk.blocks, &cursor) == 0) {
		for (size_t i = 0; i < count; i++) {
			uint64_t number = numbers[i];

			disk_get_u64(txn, store->disk.dedup_refs, number,
			             &number);
			prefetch_one(cursor, number, &run);
		}
		run_read(&run);
		mdb_cursor_close(cursor);
	}
	disk_read_end(&store->disk, txn);
}
