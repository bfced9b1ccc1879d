/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "array.h"
#include "chunk_codec.h"
#include "engine.h"
#include "lock.h"
#include "page.h"

enum {
	CHUNKS_LEAST = 4, /* fewer are read through the map */
	CHUNKS_MOST = 17, /* 1 MiB that begins within a chunk */
	PAGES_MOST = 384, /* 17 for a chunk of 64 KiB, and gaps */
	GAP_MOST = 8,     /* unneeded pages that are read to join two runs */
	RUN_PAGES = 16,   /* in a run on average, at least */
	RUNS_MOST = PAGES_MOST / RUN_PAGES + 1,
	PAUSE = 4, /* bulks to skip after a useless one */
};

/* Adjacent pages of the file, by their numbers, and their place in a buffer. */
struct run {
	uint64_t start, end;
	size_t at;
};

/* The fragments of a chunk. */
struct place {
	size_t first, count;
};

struct bulk {
	struct bulk *next;  /* spare ones */
	uint8_t *pages;     /* buffer of PAGES_MOST pages */
	const uint8_t *map; /* address of page 0 */
	struct place places[CHUNKS_MOST];
	/* They point to the map, large ones to `pages` once these are read. */
	struct iovec fragments[PAGES_MOST];
	uint64_t numbers[PAGES_MOST]; /* pages of large fragments, ascending */
	size_t fragment_count, number_count;
	struct run runs[RUNS_MOST];
	size_t run_count;
};

/* ---- Buffers ------------------------------------------------------------ */

void bulk_init(struct store *store)
{
	struct bulk_state *state = &store->bulk;

	state->fd = -1;
	if (store->disk.fault == DISK_SOUND)
		state->fd = openat(store->disk.dir, "data.mdb",
		                   O_RDONLY | O_DIRECT | O_CLOEXEC);
}

static void bulk_destroy(struct bulk *bulk)
{
	munmap(bulk->pages, (size_t)PAGES_MOST * DISK_PAGE);
	free(bulk);
}

static struct bulk *bulk_create(void)
{
	struct bulk *bulk = malloc(sizeof(*bulk));

	if (!bulk)
		return NULL;
	bulk->pages = mmap(NULL, (size_t)PAGES_MOST * DISK_PAGE,
	                   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                   -1, 0);
	if (bulk->pages == MAP_FAILED) {
		free(bulk);
		return NULL;
	}
	return bulk;
}

static struct bulk *bulk_get(struct store *store)
{
	struct bulk_state *state = &store->bulk;
	struct bulk *bulk;

	pthread_mutex_lock(&store->disk.pool_lock);
	bulk = state->spare;
	if (bulk) {
		state->spare = bulk->next;
		state->spare_count--;
	}
	pthread_mutex_unlock(&store->disk.pool_lock);
	if (!bulk)
		bulk = bulk_create();
	if (bulk) {
		bulk->fragment_count = bulk->number_count = 0;
		bulk->run_count = 0;
	}
	return bulk;
}

static void bulk_put(struct store *store, struct bulk *bulk)
{
	struct bulk_state *state = &store->bulk;
	bool keep;

	pthread_mutex_lock(&store->disk.pool_lock);
	keep = state->spare_count < BULK_SPARE_BUFFERS;
	if (keep) {
		bulk->next = state->spare;
		state->spare = bulk;
		state->spare_count++;
	}
	pthread_mutex_unlock(&store->disk.pool_lock);
	if (!keep)
		bulk_destroy(bulk);
}

struct chunk *bulk_chunk_alloc(struct store *store)
{
	struct bulk_state *state = &store->bulk;
	struct chunk *chunk;

	pthread_mutex_lock(&store->disk.pool_lock);
	chunk = state->spare_chunks;
	if (chunk) {
		state->spare_chunks = (struct chunk *)chunk->block.hash_next;
		state->spare_chunk_count--;
	}
	pthread_mutex_unlock(&store->disk.pool_lock);
	if (!chunk)
		chunk = chunk_alloc(store, store_chunk_size(store));
	if (chunk) {
		chunk->block.hash_next = NULL;
		chunk->bulk = true;
		atomic_store(&chunk->refs, 1);
	}
	return chunk;
}

void bulk_chunk_free(struct chunk *chunk)
{
	struct store *store = chunk->store;
	struct bulk_state *state = &store->bulk;
	bool keep;

	pthread_mutex_lock(&store->disk.pool_lock);
	keep = state->spare_chunk_count < BULK_SPARE_CHUNKS;
	if (keep) {
		chunk->block.hash_next = (struct block *)state->spare_chunks;
		state->spare_chunks = chunk;
		state->spare_chunk_count++;
	}
	pthread_mutex_unlock(&store->disk.pool_lock);
	if (!keep)
		free(chunk);
}

void chunk_rest_bulk(struct store *store)
{
	struct bulk_state *state = &store->bulk;
	struct chunk *chunks;
	struct bulk *bulks;

	pthread_mutex_lock(&store->disk.pool_lock);
	chunks = steal(&state->spare_chunks);
	bulks = steal(&state->spare);
	state->spare_count = state->spare_chunk_count = 0;
	pthread_mutex_unlock(&store->disk.pool_lock);
	while (chunks) {
		struct chunk *next = (struct chunk *)chunks->block.hash_next;

		free(chunks);
		chunks = next;
	}
	while (bulks) {
		struct bulk *next = bulks->next;

		bulk_destroy(bulks);
		bulks = next;
	}
}

void bulk_release(struct store *store)
{
	chunk_rest_bulk(store);
	close_fd(&store->bulk.fd);
}

/* ---- Locating the chunks ------------------------------------------------ */

/*
 * Follow dedup references in memory, and set the number of a chunk to 0 if the
 * chunk, or a patch, is in memory.  Return false if the chunks should not be
 * read as a bulk: either a recent bulk was useless, or these chunks were in one
 * before.  Content that is read again is worth caching.
 */
static bool bulk_begin(struct store *store, uint64_t *numbers, size_t count)
{
	uint64_t hash = numbers[0] * 0x9e3779b97f4a7c15;
	uint64_t *seen = &store->bulk.seen[hash % BULK_SEEN];
	bool good;

	store_lock(store);
	good = !store->bulk.pause && *seen != numbers[0];
	*seen = good ? numbers[0] : 0;
	if (store->bulk.pause)
		store->bulk.pause--;
	for (size_t i = 0; good && i < count; i++) {
		struct block *block = block_find(store, numbers[i]);

		while (block && block->kind == BLOCK_DEDUP) {
			numbers[i] = ((struct chunk *)block)->dedup_of;
			block = block_find(store, numbers[i]);
		}
		if (block)
			numbers[i] = 0;
	}
	store_unlock(store);
	return good;
}

/* Return the address of page 0 in the map; NULL: the file is damaged. */
static const uint8_t *map_find(MDB_txn *txn)
{
	enum { NAMES = 1 }; /* LMDB's database of databases */
	MDB_val key = {sizeof("blocks") - 1, "blocks"}, value;
	const uint8_t *leaf;
	uint64_t number;

	if (disk_find(txn, NAMES, &key, &value))
		return NULL;
	leaf = value.mv_data;
	leaf -= (uintptr_t)leaf & (DISK_PAGE - 1);
	number = le64_get(leaf); /* a page begins with its own number */
	return number < DISK_MAP_SIZE / DISK_PAGE ? leaf - number * DISK_PAGE
	                                          : NULL;
}

/*
 * While a bulk locates its chunks (`one`), let a page fault in the map read a
 * single page.  The leaves lie among the chunks, so the system's read-around
 * would bring the chunks into its cache.
 */
static void faults_read_one(struct store *store, const struct bulk *bulk,
                            bool one)
{
	struct bulk_state *state = &store->bulk;

	pthread_mutex_lock(&store->disk.pool_lock);
	state->locating += one ? 1 : -1;
	if (state->locating == one)
		madvise((void *)(uintptr_t)bulk->map, store->disk.map_size,
		        one ? MADV_RANDOM : MADV_NORMAL);
	pthread_mutex_unlock(&store->disk.pool_lock);
}

/* Add a fragment to the bulk.  -EAGAIN: no room, or the file is damaged. */
static int fragment_add(struct bulk *bulk, const MDB_val *value)
{
	if (bulk->fragment_count == PAGES_MOST || !value->mv_size)
		return -EAGAIN;
	if (value->mv_size > DISK_LEAF_MAX) {
		size_t off = (size_t)((uintptr_t)value->mv_data -
		                      (uintptr_t)bulk->map);

		if (off >= DISK_MAP_SIZE ||
		    off % DISK_PAGE + value->mv_size > DISK_PAGE)
			return -EAGAIN;
		bulk->numbers[bulk->number_count++] = off / DISK_PAGE;
	}
	bulk->fragments[bulk->fragment_count++] = (struct iovec){
	        .iov_base = value->mv_data,
	        .iov_len = value->mv_size,
	};
	return 0;
}

/*
 * Find the fragments that are stored under just this number.  If there are
 * none, *place is empty.
 */
static int place_find(struct bulk *bulk, MDB_cursor *cursor, uint64_t number,
                      struct place *place)
{
	uint64_t id = number << DISK_FRAGMENT_BITS, want = id;
	MDB_val key = {sizeof(id), &id}, value;
	int r = disk_cursor_where(cursor, &key, &value, MDB_SET_KEY);

	*place = (struct place){.first = bulk->fragment_count};
	while (r == 0) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (id != want++)
			break;
		/* A small fragment is in the leaf: read it through the map. */
		if (value.mv_size <= DISK_LEAF_MAX)
			r = disk_cursor_get(cursor, &key, &value,
			                    MDB_GET_CURRENT);
		if (r || fragment_add(bulk, &value))
			return -EAGAIN;
		place->count++;
		r = disk_cursor_where(cursor, &key, &value, MDB_NEXT);
	}
	return r && r != MDB_NOTFOUND ? -EAGAIN : 0;
}

static int places_find(struct store *store, MDB_txn *txn, struct bulk *bulk,
                       const uint64_t *numbers, size_t count)
{
	MDB_cursor *cursor;
	int r;

	if (disk_cursor_open(txn, store->disk.blocks, &cursor))
		return -EAGAIN;
	bulk->map = map_find(txn);
	r = bulk->map ? 0 : -EAGAIN;
	if (bulk->map)
		faults_read_one(store, bulk, true);
	for (size_t i = 0; !r && i < count; i++) {
		struct place *place = &bulk->places[i];
		uint64_t target;

		*place = (struct place){0};
		if (numbers[i])
			r = place_find(bulk, cursor, numbers[i], place);
		if (!r && numbers[i] && !place->count &&
		    !disk_get_u64(txn, store->disk.dedup_refs, numbers[i],
		                  &target))
			r = place_find(bulk, cursor, target, place);
	}
	if (bulk->map)
		faults_read_one(store, bulk, false);
	mdb_cursor_close(cursor);
	return r;
}

/* ---- Reading the chunks ------------------------------------------------- */

/*
 * Make runs of the pages.  Return the number of pages in them; 0: the runs are
 * too many, too long or too short.
 */
static size_t runs_make(struct bulk *bulk)
{
	size_t pages = 0;
	struct run *run = NULL;

	for (size_t i = 1; i < bulk->number_count; i++) {
		if (bulk->numbers[i] >= bulk->numbers[i - 1])
			continue;
		qsort(bulk->numbers, bulk->number_count, sizeof(*bulk->numbers),
		      number_compare);
		break;
	}
	for (size_t i = 0; i < bulk->number_count; i++) {
		uint64_t number = bulk->numbers[i];

		if (!run || number > run->end + GAP_MOST) {
			if (bulk->run_count == RUNS_MOST)
				return 0;
			run = &bulk->runs[bulk->run_count++];
			*run = (struct run){number, number, pages};
		}
		pages += number + 1 - MIN(run->end, number + 1);
		run->end = MAX(run->end, number + 1);
		if (pages > PAGES_MOST)
			return 0;
	}
	return pages < bulk->run_count * RUN_PAGES ? 0 : pages;
}

/* Return the number of the run's pages that the system has in memory. */
static size_t run_resident(const struct bulk *bulk, const struct run *run)
{
	size_t len = run->end - run->start, count = 0;
	unsigned char in[PAGES_MOST];

	if (mincore((void *)(uintptr_t)(bulk->map + run->start * DISK_PAGE),
	            len * DISK_PAGE, in) < 0)
		return len;
	for (size_t i = 0; i < len; i++)
		count += in[i] & 1;
	return count;
}

static int run_read(const struct store *store, const struct bulk *bulk,
                    const struct run *run)
{
	size_t len = (run->end - run->start) * DISK_PAGE;
	ssize_t n = pread(store->bulk.fd, bulk->pages + run->at * DISK_PAGE,
	                  len, (off_t)(run->start * DISK_PAGE));

	return n < 0 || (size_t)n != len ? -EAGAIN : 0;
}

/* Read the pages.  -EAGAIN: most of them are in memory, or the read failed. */
static int runs_read(const struct store *store, const struct bulk *bulk,
                     size_t pages)
{
	size_t resident = 0;
	int r = 0;

	for (size_t i = 0; i < bulk->run_count; i++)
		resident += run_resident(bulk, &bulk->runs[i]);
	if (resident > pages / 2 && !store->bulk.always)
		return -EAGAIN;
	for (size_t i = 0; r == 0 && i < bulk->run_count; i++)
		r = run_read(store, bulk, &bulk->runs[i]);
	return r;
}

/* Make the large fragments point to the buffer of pages. */
static void fragments_move(struct bulk *bulk)
{
	for (size_t i = 0; i < bulk->fragment_count; i++) {
		struct iovec *fragment = &bulk->fragments[i];
		size_t off = (size_t)((uintptr_t)fragment->iov_base -
		                      (uintptr_t)bulk->map);
		const struct run *run = bulk->runs;

		if (fragment->iov_len <= DISK_LEAF_MAX)
			continue;
		while (off / DISK_PAGE >= run->end ||
		       off / DISK_PAGE < run->start)
			run++;
		fragment->iov_base = bulk->pages + run->at * DISK_PAGE +
		                     (off - run->start * DISK_PAGE);
	}
}

static int bulk_read(struct store *store, MDB_txn *txn, struct bulk *bulk,
                     const uint64_t *numbers, size_t count)
{
	int r = places_find(store, txn, bulk, numbers, count);
	size_t pages;

	if (r < 0)
		return r;
	pages = runs_make(bulk);
	if (!pages)
		return -EAGAIN;
	r = runs_read(store, bulk, pages);
	if (r == 0)
		fragments_move(bulk);
	return r;
}

/* Decode the chunks.  Return the number of those that succeeded. */
static size_t bulk_decode(struct store *store, const struct bulk *bulk,
                          size_t count, struct chunk **ret_chunks)
{
	size_t done = 0;

	for (size_t i = 0; i < count; i++) {
		const struct place *place = &bulk->places[i];

		if (place->count &&
		    chunk_decode_fragments(store,
		                           &bulk->fragments[place->first],
		                           place->count, &ret_chunks[i]) == 0)
			done++;
	}
	return done;
}

static void bulk_load(struct store *store, struct bulk *bulk,
                      const uint64_t *numbers, size_t count,
                      struct chunk **ret_chunks)
{
	size_t done = 0;
	MDB_txn *txn;

	if (disk_read_begin(&store->disk, &txn) < 0)
		return;
	if (bulk_read(store, txn, bulk, numbers, count) == 0)
		done = bulk_decode(store, bulk, count, ret_chunks);
	disk_read_end(&store->disk, txn);
	if (done >= count / 2)
		return;
	store_lock(store);
	store->bulk.pause = PAUSE;
	store_unlock(store);
}

void chunk_load_bulk(struct store *store, const uint64_t *numbers, size_t count,
                     struct chunk **ret_chunks)
{
	uint64_t contents[CHUNKS_MOST];
	struct bulk *bulk;

	memset(ret_chunks, 0, count * sizeof(*ret_chunks));
	count = MIN(count, (size_t)CHUNKS_MOST);
	if (count < CHUNKS_LEAST || store->bulk.fd < 0)
		return;
	memcpy(contents, numbers, count * sizeof(*numbers));
	if (!bulk_begin(store, contents, count))
		return;
	bulk = bulk_get(store);
	if (!bulk)
		return;
	bulk_load(store, bulk, contents, count, ret_chunks);
	bulk_put(store, bulk);
}
