/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The puts of a batch.  First the existing files are looked up, then the
 * missing ones are made.  Then the contents are written in the order of the
 * inodes, which is the order of the tree.  The chunks are made without the
 * lock, some of them at a time.
 */
#include "batch_tree.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "extent.h"
#include "xattr.h"

enum {
	PIECE_BYTES = 1 << 20, /* of chunks that are made at a time */
	AHEAD = 8,             /* operations that are prefetched */
};

/* A file to be written to. */
struct put {
	uint64_t ino;
	const struct batch_op *op;
};

/* A chunk of the new content, or all of a content that is kept inline. */
struct part {
	const struct put *put;
	uint64_t index;
	struct chunk *chunk; /* NULL: the bytes are inline, or there are none */
};

struct putting {
	struct batch_target *t;
	struct put *puts; /* `count` of them */
	size_t count;
	/* the next part to be made */
	size_t at;
	uint64_t index;
	struct part parts[BATCH_PIECE];
	size_t parts_len;
};

/* ---- The parts ---------------------------------------------------------- */

static uint64_t chunks_of(const struct putting *p, const struct batch_op *op)
{
	return (op->len + p->t->fs->chunk_size - 1) >> p->t->fs->chunk_bits;
}

static int part_make(const struct putting *p, struct part *part)
{
	const struct batch_op *op = part->put->op;
	uint64_t from = part->index << p->t->fs->chunk_bits;
	uint64_t len = MIN(op->len - from, p->t->fs->chunk_size);

	if (op->len <= EXTENT_INLINE_MAX)
		return 0;
	part->chunk = chunk_alloc(p->t->fs->store, len);
	if (!part->chunk)
		return -ENOMEM;
	chunk_set_len(part->chunk, (uint32_t)len);
	memcpy(chunk_data(part->chunk), op->value + from, len);
	return 0;
}

/* Make the next parts.  Lock not needed. */
static int parts_make(struct putting *p, size_t *ret_bytes)
{
	size_t bytes = 0;
	int err = 0;

	p->parts_len = 0;
	while (!err && p->at < p->count && p->parts_len < BATCH_PIECE &&
	       bytes < PIECE_BYTES) {
		const struct put *put = &p->puts[p->at];
		struct part *part = &p->parts[p->parts_len++];

		if (p->at + AHEAD < p->count)
			__builtin_prefetch(p->puts[p->at + AHEAD].op->value);
		*part = (struct part){put, p->index++, NULL};
		err = part_make(p, part);
		bytes += part->chunk ? chunk_len(part->chunk) : 0;
		if (p->index >= chunks_of(p, put->op)) {
			p->index = 0;
			p->at++;
		}
	}
	*ret_bytes = bytes;
	return err;
}

static void parts_release(struct putting *p)
{
	for (size_t i = 0; i < p->parts_len; i++)
		chunk_unref(p->parts[i].chunk);
	p->parts_len = 0;
}

/* ---- Writing ------------------------------------------------------------ */

/* Remove the extents of the old content that the new one does not replace. */
static int extents_cut(struct batch_target *t, struct vnode *v, uint64_t count,
                       const struct ext *first)
{
	int err;

	/* The common case: the first extent is the only one. */
	if (count && v->inode.blocks == ext_blocks(first))
		return 0;
	while ((err = ext_cut(v, count, PIECE_ITEMS)) == -EAGAIN) {
		t->work += PIECE_ITEMS;
		err = batch_pause(t);
		if (err)
			return err;
		v->tree = t->tree;
	}
	return err;
}

/* Prepare the inode for its first part: drop old extents, set the size. */
static int put_begin(struct putting *p, const struct put *put, struct vnode *v,
                     const struct ext *first)
{
	const struct batch_op *op = put->op;
	int err = vnode_kill_priv(v, p->t->cred->uid);

	if (!err)
		err = extents_cut(p->t, v, chunks_of(p, op), first);
	if (err)
		return err;
	v->inode.size = op->len;
	v->inode.mtime = v->inode.ctime = p->t->now;
	return 0;
}

static int part_put(struct putting *p, struct part *part)
{
	const struct batch_op *op = part->put->op;
	struct batch_target *t = p->t;
	struct vnode v = batch_vnode(t, part->put->ino);
	struct ext old, to = {EXTENT_INLINE, (uint32_t)op->len, 0};
	uint64_t before, after;
	int stored, err = inode_load(t->tree, v.ino, &v.inode);

	if (!err)
		err = ext_list(t->tree, v.ino, part->index, 1, &old);
	if (!err && !part->index)
		err = put_begin(p, part->put, &v, &old);
	if (!err && part->chunk)
		to = (struct ext){EXTENT_CHUNK, chunk_len(part->chunk), 0};
	if (err)
		return err;
	before = ext_blocks(&old);
	after = op->len ? ext_blocks(&to) : 0;
	if (after > before)
		err = quota_check(&t->state, 0, after - before);
	if (!err && part->chunk)
		err = ext_add_chunk(&v, part->index, &old, part->chunk);
	else if (!err && op->len)
		err = ext_replace(&v, 0, &old, &to, op->value);
	/* Store after a failure, too: the counts include partial changes. */
	stored = vnode_store(&v);
	return err ? err : stored;
}

/* Write the parts.  May release the lock. */
static int parts_put(struct putting *p, const struct batch_op **ret_failed)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->parts_len; i++) {
		err = part_put(p, &p->parts[i]);
		if (err)
			*ret_failed = p->parts[i].put->op;
	}
	return err;
}

static int contents_put(struct putting *p, const struct batch_op **ret_failed)
{
	struct batch_target *t = p->t;
	struct store *store = t->fs->store;
	int err = 0;

	while (!err && p->at < p->count) {
		size_t bytes = 0;
		int locked;

		if (!t->exclusive)
			err = batch_unlock(t);
		if (!err)
			err = parts_make(p, &bytes);
		if (!t->exclusive) {
			if (!err)
				err = store_throttle_write(store, bytes);
			if (!err)
				err = store_yield(store);
			locked = batch_lock(t);
			err = err ? err : locked;
		}
		if (!err)
			err = parts_put(p, ret_failed);
		parts_release(p);
	}
	return err;
}

/* ---- The files ---------------------------------------------------------- */

/* A file to look up, and the place of its entry in the tree. */
struct lookup {
	uint64_t slot;
	uint64_t dir;
	struct put *put;
};

static int lookup_compare(const void *a, const void *b)
{
	const struct lookup *x = a, *y = b;
	int order = number_order(x->dir, y->dir);

	return order ? order : number_order(x->slot, y->slot);
}

/*
 * Bring the paths of the look-ups after this one into the processor's caches:
 * they lie far apart in the batch.
 */
static void lookups_prefetch(const struct lookup *lookups, size_t len,
                             size_t at)
{
	if (at + 2 * AHEAD < len)
		__builtin_prefetch(lookups[at + 2 * AHEAD].put->op);
	if (at + AHEAD < len)
		__builtin_prefetch(lookups[at + AHEAD].put->op->path);
}

/*
 * Look up the files that exist already, in the order of the tree, which takes a
 * third of the time of any other order.  The `ino` of missing files stays 0.
 */
static int files_find(struct putting *p)
{
	struct batch_target *t = p->t;
	_cleanup_free_ struct lookup *lookups =
	        malloc(p->count * sizeof(*lookups));
	size_t len = 0;
	int err = 0;

	if (!lookups)
		return -ENOMEM;
	for (size_t i = 0; !err && i < p->count; i++) {
		struct lookup *l = &lookups[len];

		p->puts[i].ino = 0;
		l->put = &p->puts[i];
		if (!batch_slot(t, l->put->op, &l->dir, &l->slot))
			len++;
		err = batch_pause(t);
	}
	array_sort(lookups, len, lookup_compare);
	for (size_t i = 0; !err && i < len; i++) {
		struct put *put = lookups[i].put;

		lookups_prefetch(lookups, len, i);
		put->ino = batch_find(t, put->op, lookups[i].dir);
		err = batch_pause(t);
	}
	return err;
}

/* Find or make one file, fetching chunks as needed.  May release the lock. */
static int file_find(struct batch_target *t, const struct batch_op *op,
                     uint64_t *ret_ino)
{
	int err;

	while ((err = batch_file(t, op, ret_ino)) == -EAGAIN) {
		err = batch_fetch(t);
		if (err)
			return err;
	}
	return err;
}

/* Order by inode, then by position in the batch. */
static int put_compare(const void *a, const void *b)
{
	const struct put *x = a, *y = b;
	int order = number_order(x->ino, y->ino);

	return order ? order : x->op < y->op ? -1 : x->op > y->op;
}

/* Keep the last put of each file.  Return how many are left. */
static size_t puts_unique(struct put *puts, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (i + 1 == count || puts[i].ino != puts[i + 1].ino)
			puts[kept++] = puts[i];
	return kept;
}

int batch_put(struct batch_target *t, const struct batch_op *ops, size_t count,
              const struct batch_op **ret_failed)
{
	_cleanup_free_ struct putting *p = calloc(1, sizeof(*p));
	int err = 0;

	if (!p)
		return -ENOMEM;
	p->t = t;
	p->puts = malloc(count * sizeof(*p->puts));
	if (!p->puts)
		return -ENOMEM;
	p->count = count;
	for (size_t i = 0; i < count; i++)
		p->puts[i].op = &ops[i];
	err = files_find(p);
	for (size_t i = 0; !err && i < count; i++) {
		if (p->puts[i].ino)
			continue;
		err = file_find(t, &ops[i], &p->puts[i].ino);
		if (!err)
			err = batch_pause(t);
		if (err)
			*ret_failed = &ops[i];
	}
	if (!err) {
		array_sort(p->puts, count, put_compare);
		p->count = puts_unique(p->puts, count);
		err = contents_put(p, ret_failed);
	}
	free(p->puts);
	return err;
}
