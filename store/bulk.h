/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the chunks of a large file, many at once.  The kernel caches the
 * file's pages.  Caching the pages of data.mdb and the chunks as well would
 * keep the content in memory three times, and the first use of memory can cost
 * more than the copy into it.  Therefore the pages of data.mdb are read past
 * the system's cache into a buffer that is reused, as are the chunks' buffers.
 * Inside store/ only.
 */
#ifndef COPPICE_BULK_H
#define COPPICE_BULK_H

#include <stdbool.h>
#include <stdint.h>

struct chunk;
struct store;
struct bulk;

enum {
	BULK_SEEN = 4096,       /* bulks that are remembered */
	BULK_SPARE_CHUNKS = 36, /* buffers of chunks to keep for the next one */
	BULK_SPARE_BUFFERS = 2, /* buffers of pages, likewise */
};

/* What the store keeps from one bulk to the next. */
struct bulk_state {
	int fd; /* data.mdb, past the system's cache; -1: there is no such way
	         */
	bool always; /* for tests: also what the system has in memory */
	/* Guarded by disk.pool_lock. */
	struct bulk *spare;
	struct chunk *spare_chunks; /* linked by block.hash_next */
	unsigned spare_count, spare_chunk_count;
	unsigned locating; /* bulks whose places are being looked for */
	/* Guarded by the store's lock. */
	unsigned pause; /* bulks not to try, because the last one was useless */
	/* By hash: first chunks of bulks that were read past the cache. */
	uint64_t seen[BULK_SEEN];
};

/* Open the file of the store's disk.  It is no error if that cannot be done. */
void bulk_init(struct store *store);
void bulk_release(struct store *store);

/*
 * Return a buffer as of chunk_alloc(), for content of up to store_chunk_size()
 * bytes that will not become a block.
 */
struct chunk *bulk_chunk_alloc(struct store *store);
/* Take back a buffer of bulk_chunk_alloc() without references. */
void bulk_chunk_free(struct chunk *chunk);

#endif
