/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file_content.h"

#include <errno.h>

#include "util.h"

enum {
	PIECE = 16,  /* extents with bytes, found in one hold of the lock */
	LOOKS = 512, /* extents read in one hold of the lock */
};

/* An extent, copied out of the tree. */
struct part {
	uint64_t index;
	uint32_t len;
	uint64_t chunk; /* 0: the bytes are here */
	uint8_t data[EXTENT_INLINE_MAX];
};

/* Reading a file: everything before `at` was passed to fn. */
struct reading {
	struct tree *tree;
	uint64_t ino, size, at;
	file_content_fn *fn;
	void *arg;
	uint64_t next; /* index of the next extent */
	struct part parts[PIECE];
	size_t count;
	uint64_t numbers[PIECE]; /* of the chunks among them */
	size_t chunks;
};

static int part_add(struct reading *r, const struct item *item)
{
	struct part *part = &r->parts[r->count];
	struct extent e;
	int err = extent_decode(item->value, item->len, &e);

	if (err < 0)
		return err;
	r->next = item->key.off + 1;
	if (e.kind == EXTENT_ZERO)
		return 0;
	part->index = item->key.off;
	part->len = e.len;
	part->chunk = e.kind == EXTENT_CHUNK ? e.chunk : 0;
	if (part->chunk)
		r->numbers[r->chunks++] = part->chunk;
	else
		memcpy(part->data, e.data, e.len);
	r->count++;
	return 0;
}

/* Find the next extents.  -ENOENT: these are the last.  Lock held. */
static int parts_find(struct reading *r)
{
	const struct key key = {r->ino, ITEM_EXTENT, r->next};
	struct cursor cursor;
	struct item item;
	int err = cursor_seek(&cursor, r->tree, &key, &item);

	r->count = r->chunks = 0;
	for (int i = 0; !err && r->count < PIECE && i < LOOKS; i++) {
		if (item.key.ino != r->ino || item.key.kind != ITEM_EXTENT)
			return -ENOENT;
		err = part_add(r, &item);
		if (!err)
			err = cursor_next(&cursor, &item);
	}
	return err;
}

static int send(struct reading *r, const uint8_t *data, uint64_t len)
{
	len = MIN(len, r->size - r->at);
	if (!len)
		return 0;
	r->at += len;
	return r->fn(r->arg, data, len);
}

static int part_send(struct reading *r, const struct part *part)
{
	uint64_t start = part->index * store_chunk_size(r->tree->store);
	struct chunk *chunk;
	int err = 0;

	if (start >= r->size)
		return 0;
	if (start > r->at)
		err = send(r, NULL, start - r->at);
	if (err)
		return err;
	if (!part->chunk)
		return send(r, part->data, part->len);
	err = chunk_load(r->tree->store, part->chunk, &chunk);
	if (err < 0)
		return err == -ENOENT ? -EUCLEAN : err;
	err = send(r, chunk_data(chunk), MIN(part->len, chunk_len(chunk)));
	chunk_unref(chunk);
	return err;
}

int file_content(struct tree *tree, uint64_t ino, uint64_t size,
                 file_content_fn *fn, void *arg)
{
	_cleanup_free_ struct reading *r = calloc(1, sizeof(*r));
	int found = 0, err = 0;

	if (!r)
		return -ENOMEM;
	*r = (struct reading){
	        .tree = tree, .ino = ino, .size = size, .fn = fn, .arg = arg};
	while (!err && !found && r->at < size) {
		store_lock(tree->store);
		found = parts_find(r);
		store_unlock(tree->store);
		if (found < 0 && found != -ENOENT)
			return found;
		if (r->chunks > 1)
			chunk_prefetch(tree->store, r->numbers, r->chunks);
		for (size_t i = 0; !err && i < r->count; i++)
			err = part_send(r, &r->parts[i]);
		if (!err)
			err = store_yield(tree->store);
	}
	if (!err && r->at < size)
		err = send(r, NULL, size - r->at);
	return err;
}
