/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bulks: reads of many chunks of a large file at once.  The kernel caches the
 * file's pages.  Caching the pages of data.mdb and the chunks as well would
 * keep the content in memory three times, and the first use of memory can cost
 * more than the copy into it.  Therefore a bulk reads the pages of data.mdb
 * past the system's cache, into buffers that are reused, and decodes them to
 * chunks that are not cached.  Inside store/ only.
 */
#ifndef COPPICE_BULK_H
#define COPPICE_BULK_H

#include <stdbool.h>
#include <stdint.h>

struct chunk;
struct store;
struct bulk;

enum {
	BULK_SEEN = 4096,       /* slots of the table of earlier bulks */
	BULK_SPARE_CHUNKS = 36, /* chunk buffers to keep for later bulks */
	BULK_SPARE_BUFFERS = 2, /* page buffers to keep */
};

/* The state that the store keeps between bulks. */
struct bulk_state {
	int fd;      /* data.mdb, opened with O_DIRECT; -1: not possible */
	bool always; /* for tests: read also pages that are in memory */
	/* Guarded by disk.pool_lock. */
	struct bulk *spare;
	struct chunk *spare_chunks; /* linked by block.hash_next */
	unsigned spare_count, spare_chunk_count;
	unsigned locating; /* bulks whose chunks are being located */
	/* Guarded by the store's lock. */
	unsigned pause; /* bulks to skip, because the last one was useless */
	/* First chunks of bulks that were tried, by hash. */
	uint64_t seen[BULK_SEEN];
};

/* Open data.mdb for bulks.  If that fails, there are none. */
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
