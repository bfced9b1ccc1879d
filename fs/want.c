/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fetching chunks without the store's lock. */
#include "want.h"

#include <errno.h>

int want_chunk(struct fs *fs, struct want *want, uint64_t number,
               struct chunk **ret_chunk, bool *ret_writable)
{
	struct chunk *chunk = chunk_find(fs->store, number, ret_writable);

	if (!chunk && want->number == number && want->chunk) {
		chunk = chunk_ref(want->chunk);
		if (ret_writable)
			*ret_writable = false;
	}
	if (!chunk) {
		want->number = number;
		return -EAGAIN;
	}
	*ret_chunk = chunk;
	return 0;
}

int chunk_fetch(struct fs *fs, uint64_t number, unsigned *misses,
                struct chunk **ret_chunk)
{
	enum { MISSES_MOST = 64 };
	int err = chunk_load(fs->store, number, ret_chunk);

	if (err != -ENOENT || ++*misses < MISSES_MOST)
		return err;
	return store_damaged(fs->store, number, "a chunk that is missing");
}

int want_fetch(struct fs *fs, struct want *want)
{
	int err;

	if (!want->number)
		return 0;
	chunk_unref(want->chunk);
	want->chunk = NULL;
	err = chunk_fetch(fs, want->number, &want->misses, &want->chunk);
	/* -ENOENT: the chunk was freed, so the tree has changed. */
	return err == -ENOENT ? 0 : err;
}

void want_release(struct want *want)
{
	chunk_unref(want->chunk);
	*want = (struct want){0};
}
