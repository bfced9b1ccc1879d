/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changing the bytes of a file: write, and making holes and zeroes.
 *
 * A change is divided into pieces, one for the range of each chunk that it
 * touches.  work_look() decides, under the lock, how each piece is made.  Slow
 * work (reading the old chunk, copying it) is prepared without the lock; the
 * result is used if the extent has not changed since.  When all pieces are
 * ready, they are applied in one hold of the lock.
 */
#include "change.h"

#include <errno.h>

#include "extent.h"
#include "file.h"
#include "inode.h"
#include "orphan.h"
#include "want.h"
#include "xattr.h"

enum how {
	HOW_SKIP,     /* the extent stays as it is */
	HOW_IN_PLACE, /* write to the chunk `target` in memory */
	HOW_PATCH,    /* write to the patch `target` in memory */
	HOW_INLINE,   /* write to the item: the bytes stay inline */
	HOW_CHUNK,    /* `ready` is the new chunk */
	HOW_REPLACE,  /* `result` is the new extent */
};

struct piece {
	uint32_t from, to;   /* in bytes from the chunk's start */
	uint32_t asked_to;   /* `to`, as the caller requested it */
	const uint8_t *data; /* NULL: zeroes */
	enum how how;
	struct ext old;
	struct ext result;    /* HOW_REPLACE */
	struct chunk *target; /* HOW_IN_PLACE, HOW_PATCH */
	struct chunk *ready;
	struct ext ready_on;  /* the extent that `ready` was copied from */
	struct chunk *source; /* to copy from; NULL: not in memory */
	bool build;           /* call work_build() */
	bool complete; /* `old` is a patch that the change does not fit */
};

struct work {
	struct fs *fs;
	const struct change *change;
	uint64_t first; /* index of the first piece */
	size_t count;
	struct piece *pieces;
	struct ext *extents; /* count of them */
	struct piece few[2];
	struct ext few_extents[2];
	unsigned misses; /* see chunk_fetch() */
};

static void piece_release(struct piece *p)
{
	chunk_unref(p->target);
	chunk_unref(p->ready);
	chunk_unref(p->source);
	p->target = p->ready = p->source = NULL;
}

static void work_release(struct work *w)
{
	for (size_t i = 0; w->pieces && i < w->count; i++)
		piece_release(&w->pieces[i]);
	if (w->pieces != w->few)
		free(w->pieces);
	if (w->extents != w->few_extents)
		free(w->extents);
}

static int work_init(struct work *w, struct fs *fs, const struct change *c)
{
	uint64_t end = c->off + c->size;

	*w = (struct work){.fs = fs, .change = c};
	w->first = c->off >> fs->chunk_bits;
	w->count = ((end - 1) >> fs->chunk_bits) - w->first + 1;
	w->pieces = w->few;
	w->extents = w->few_extents;
	if (w->count > ARRAY_SIZE(w->few)) {
		w->pieces = calloc(w->count, sizeof(*w->pieces));
		w->extents = malloc(w->count * sizeof(*w->extents));
		if (!w->pieces || !w->extents)
			return -ENOMEM;
	}
	for (size_t i = 0; i < w->count; i++) {
		uint64_t start = (w->first + i) << fs->chunk_bits;
		uint64_t from = MAX(start, c->off);

		w->pieces[i].from = (uint32_t)(from - start);
		w->pieces[i].to =
		        (uint32_t)(MIN(end, start + fs->chunk_size) - start);
		w->pieces[i].asked_to = w->pieces[i].to;
		if (c->data)
			w->pieces[i].data = c->data + (from - c->off);
	}
	return 0;
}

static void piece_fill(const struct piece *p, uint8_t *bytes)
{
	if (p->data)
		memcpy(bytes + p->from, p->data, p->to - p->from);
	else
		memset(bytes + p->from, 0, p->to - p->from);
}

/* Make p->ready: `old_len` bytes of the old content with the change. */
static int piece_build(struct fs *fs, struct piece *p, const struct ext *on,
                       const uint8_t *old, uint32_t old_len)
{
	uint32_t len = MAX(on ? ext_data(on) : 0, p->to);
	size_t capacity = 64;
	struct chunk *chunk;

	/* Leave capacity to grow: powers of two, as chunk_resize() uses. */
	while (capacity < len)
		capacity *= 2;
	chunk = chunk_alloc(fs->store, MIN(capacity, fs->chunk_size));
	if (!chunk)
		return -ENOMEM;
	chunk_set_len(chunk, len);
	/*
	 * Write zeroes only where neither old bytes nor new ones are written.
	 */
	old_len = MIN(old_len, len);
	if (old_len)
		memcpy(chunk_data(chunk), old, old_len);
	if (old_len < p->from)
		memset(chunk_data(chunk) + old_len, 0, p->from - old_len);
	if (old_len < len && p->to < len)
		memset(chunk_data(chunk) + MAX(old_len, p->to), 0,
		       len - MAX(old_len, p->to));
	piece_fill(p, chunk_data(chunk));
	chunk_unref(p->ready);
	p->ready = chunk;
	p->ready_on = on ? *on : (struct ext){0};
	return 0;
}

/*
 * Build the chunks that start with new bytes: they need the old content only if
 * it is longer.  Lock NOT held.
 */
static int work_prepare(struct work *w)
{
	if (w->change->kind != CHANGE_WRITE)
		return 0;
	for (size_t i = 0; i < w->count; i++) {
		struct piece *p = &w->pieces[i];
		bool small = !w->first && !i && p->to <= EXTENT_INLINE_MAX;
		int err;

		if (p->from || small)
			continue;
		err = piece_build(w->fs, p, NULL, NULL, 0);
		if (err)
			return err;
	}
	return 0;
}

/* Copy the old chunk, which is fetched if it is not in memory. */
static int piece_copy(struct work *w, struct piece *p)
{
	int err = 0;

	if (!p->source)
		err = chunk_fetch(w->fs, p->old.chunk, &w->misses, &p->source);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (chunk_len(p->source) < p->old.len)
		return -EUCLEAN;
	err = piece_build(w->fs, p, &p->old, chunk_data(p->source), p->old.len);
	if (!err)
		chunk_is_copy(p->ready, p->old.len, p->from, p->to);
	return err;
}

/* Make p->ready a patch of the old chunk.  -EAGAIN: copy the chunk instead. */
static int piece_patch(struct work *w, struct piece *p)
{
	struct chunk *patch;
	int err;

	if (!p->data)
		return -EAGAIN;
	err = chunk_patch(w->fs->store, p->old.chunk, p->old.len, p->from,
	                  p->to, p->data, &patch);
	if (err)
		return err;
	chunk_unref(p->ready);
	p->ready = patch;
	p->ready_on = p->old;
	return 0;
}

/*
 * Make the chunks that replace old ones, as patches or copies of them.  Lock
 * NOT held.
 */
static int work_build(struct work *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct piece *p = &w->pieces[i];
		int err;

		if (!p->build)
			continue;
		p->build = false;
		if (p->complete) {
			err = chunk_complete(w->fs->store, p->old.chunk);
		} else {
			err = piece_patch(w, p);
			if (err == -EAGAIN)
				err = piece_copy(w, p);
		}
		if (err)
			return err;
		chunk_unref(p->source);
		p->source = NULL;
	}
	return 0;
}

/* ---- Looking ------------------------------------------------------------ */

static bool ext_same(const struct ext *a, const struct ext *b)
{
	return a->kind == b->kind && a->chunk == b->chunk && a->len == b->len;
}

/*
 * Decide how to change an old chunk that is a patch of the open transaction
 * group.  Return false if it is none.
 */
static bool look_patch(struct vnode *v, struct piece *p)
{
	struct chunk *patch = NULL;

	if (p->old.chunk > v->tree->base)
		patch = chunk_find_patch(v->fs->store, p->old.chunk);
	if (!patch)
		return false;
	p->complete = !p->data || chunk_len(patch) != p->old.len ||
	              !chunk_patch_fits(patch, p->from, p->to);
	if (p->complete) {
		chunk_unref(patch);
		p->build = true;
	} else {
		p->how = HOW_PATCH;
		p->target = patch;
	}
	return true;
}

/* Decide how to change a part of the old chunk. */
static int look_partial(struct vnode *v, struct piece *p)
{
	bool writable = false;
	struct chunk *chunk;

	if (p->old.kind == EXTENT_INLINE) {
		uint8_t bytes[EXTENT_INLINE_MAX];
		int err = ext_inline(v->tree, v->ino, bytes);

		p->how = HOW_CHUNK;
		return err ? err
		           : piece_build(v->fs, p, &p->old, bytes, p->old.len);
	}
	chunk = chunk_find(v->fs->store, p->old.chunk, &writable);
	if (chunk && writable && p->old.chunk > v->tree->base) {
		if (chunk_len(chunk) < p->old.len) {
			chunk_unref(chunk);
			return -EUCLEAN;
		}
		p->how = HOW_IN_PLACE;
		p->target = chunk;
		return 0;
	}
	p->how = HOW_CHUNK;
	if (!chunk && look_patch(v, p))
		return 0;
	if (p->ready && ext_same(&p->ready_on, &p->old)) {
		chunk_unref(chunk);
		return 0;
	}
	if (chunk && writable) {
		/*
		 * Copy the chunk under the lock: it is shared, but could become
		 * private to another tree, which then changes it.
		 */
		int err = chunk_len(chunk) < p->old.len ? -EUCLEAN : 0;

		if (!err)
			err = piece_build(v->fs, p, &p->old, chunk_data(chunk),
			                  p->old.len);
		chunk_unref(chunk);
		return err;
	}
	p->source = chunk;
	p->build = true;
	return 0;
}

static int look_bytes(struct vnode *v, struct piece *p, uint64_t index)
{
	uint32_t data = ext_data(&p->old);
	bool whole = !p->from && p->to >= data;

	if (!index && p->old.kind != EXTENT_CHUNK &&
	    MAX(data, p->to) <= EXTENT_INLINE_MAX) {
		p->how = HOW_INLINE;
		return 0;
	}
	if (data && !whole)
		return look_partial(v, p);
	p->how = HOW_CHUNK;
	if (p->ready && !p->ready_on.kind)
		return 0;
	return piece_build(v->fs, p, NULL, NULL, 0);
}

static void piece_becomes(struct piece *p, uint8_t kind, uint32_t len,
                          uint64_t chunk)
{
	p->result = (struct ext){kind, len, chunk};
	p->how = ext_same(&p->result, &p->old) ? HOW_SKIP : HOW_REPLACE;
}

static int look_zeroes(struct vnode *v, struct piece *p, uint64_t index,
                       enum change_kind kind)
{
	uint32_t data = ext_data(&p->old);

	if (kind == CHANGE_ALLOC || (kind == CHANGE_ZERO && !data)) {
		if (data)
			p->how = HOW_SKIP;
		else
			piece_becomes(p, EXTENT_ZERO, MAX(p->old.len, p->to),
			              0);
		return 0;
	}
	if (!p->from && p->to >= p->old.len) {
		if (kind == CHANGE_ZERO)
			piece_becomes(p, EXTENT_ZERO, p->to, 0);
		else
			piece_becomes(p, 0, 0, 0);
		return 0;
	}
	if (p->from >= p->old.len || p->old.kind == EXTENT_ZERO) {
		p->how = HOW_SKIP;
		return 0;
	}
	if (p->old.kind == EXTENT_CHUNK && p->to >= p->old.len) {
		piece_becomes(p, EXTENT_CHUNK, p->from, p->old.chunk);
		return 0;
	}
	if (p->to > p->old.len)
		p->to = p->old.len;
	return look_bytes(v, p, index);
}

/* Decide how each piece is done.  -EAGAIN: call work_build() first. */
static int work_look(struct work *w, struct vnode *v)
{
	bool build = false;
	int err = ext_list(v->tree, v->ino, w->first, w->count, w->extents);

	for (size_t i = 0; !err && i < w->count; i++) {
		struct piece *p = &w->pieces[i];

		chunk_unref(p->target);
		chunk_unref(p->source);
		p->target = p->source = NULL;
		p->build = p->complete = false;
		p->to = p->asked_to;
		p->old = w->extents[i];
		if (w->change->kind == CHANGE_WRITE)
			err = look_bytes(v, p, w->first + i);
		else
			err = look_zeroes(v, p, w->first + i, w->change->kind);
		build |= p->build;
	}
	return err ? err : build ? -EAGAIN : 0;
}

/* ---- Putting in place --------------------------------------------------- */

static int apply_in_place(struct vnode *v, struct piece *p, uint64_t index)
{
	struct ext to = p->old;
	int err = 0;

	/* The chunk may have old bytes beyond the extent's length. */
	if (chunk_len(p->target) > p->old.len)
		err = chunk_resize(p->target, p->old.len);
	if (!err && p->to > p->old.len)
		err = chunk_resize(p->target, p->to);
	if (err)
		return err;
	piece_fill(p, chunk_data(p->target));
	chunk_changed(p->target, p->from, p->to);
	to.len = MAX(p->old.len, p->to);
	return to.len == p->old.len ? 0
	                            : ext_replace(v, index, &p->old, &to, NULL);
}

static int apply_inline(struct vnode *v, struct piece *p, uint64_t index)
{
	uint8_t bytes[EXTENT_INLINE_MAX] = {0};
	struct ext to = {
	        .kind = EXTENT_INLINE,
	        .len = MAX(ext_data(&p->old), p->to),
	};
	int err = 0;

	if (p->old.kind == EXTENT_INLINE)
		err = ext_inline(v->tree, v->ino, bytes);
	if (err)
		return err;
	piece_fill(p, bytes);
	return ext_replace(v, index, &p->old, &to, bytes);
}

static int piece_apply(struct vnode *v, struct piece *p, uint64_t index)
{
	switch (p->how) {
	case HOW_IN_PLACE:
		return apply_in_place(v, p, index);
	case HOW_PATCH:
		return chunk_patch_write(p->target, p->from, p->to, p->data);
	case HOW_INLINE:
		return apply_inline(v, p, index);
	case HOW_CHUNK:
		return ext_add_chunk(v, index, &p->old, p->ready);
	case HOW_REPLACE:
		return ext_replace(v, index, &p->old, &p->result, NULL);
	case HOW_SKIP:
		break;
	}
	return 0;
}

/* Return the 512-byte blocks that a piece will have. */
static uint64_t piece_blocks(const struct piece *p)
{
	struct ext to = p->old;

	if (p->how == HOW_IN_PLACE)
		to.len = MAX(p->old.len, p->to);
	else if (p->how == HOW_INLINE)
		to = (struct ext){EXTENT_INLINE, MAX(ext_data(&p->old), p->to),
		                  0};
	else if (p->how == HOW_CHUNK)
		to = (struct ext){EXTENT_CHUNK, chunk_len(p->ready), 0};
	else if (p->how == HOW_REPLACE)
		to = p->result;
	return ext_blocks(&to);
}

/* Check that the quota allows the additional blocks of the pieces. */
static int work_quota(const struct work *w, const struct vnode *v)
{
	uint64_t before = 0, after = 0;

	for (size_t i = 0; i < w->count; i++) {
		before += ext_blocks(&w->pieces[i].old);
		after += piece_blocks(&w->pieces[i]);
	}
	return after > before ? quota_check(v->state, 0, after - before) : 0;
}

static int work_apply(struct work *w, struct vnode *v)
{
	const struct change *c = w->change;
	uint64_t end = c->off + c->size;
	int stored, err = work_quota(w, v);

	if (!err)
		err = vnode_kill_priv(v, c->kill_ids);
	if (err)
		return err;
	for (size_t i = 0; !err && i < w->count; i++)
		err = piece_apply(v, &w->pieces[i], w->first + i);
	if (!err && !c->keep_size && end > v->inode.size)
		v->inode.size = end;
	vnode_touch(v);
	/*
	 * Store after a failure, too: the counts include the pieces that were
	 * applied.
	 */
	stored = vnode_store(v);
	return err ? err : stored;
}

static int work_try(struct work *w, node_t node, bool *ret_finish)
{
	const struct change *c = w->change;
	uint64_t end = c->off + c->size;
	struct vnode v;
	int err = vnode_load_rw(w->fs, node, &v);

	if (err)
		return err;
	if (!S_ISREG(v.inode.mode))
		return S_ISDIR(v.inode.mode) ? -EISDIR : -EINVAL;
	if (c->within && end > v.inode.size)
		return -ERANGE;
	err = vnode_begin(&v);
	if (!err && c->kind != CHANGE_PUNCH) {
		err = file_clear_tail(&v, end - 1);
		*ret_finish = err == -EAGAIN;
	}
	if (!err)
		err = work_look(w, &v);
	return err ? err : work_apply(w, &v);
}

int file_change(struct fs *fs, node_t node, const struct change *change)
{
	_cleanup_(work_release) struct work w;
	int err = work_init(&w, fs, change), more = 0;

	if (!err)
		err = work_prepare(&w);
	if (err)
		return err;
	do {
		bool finish = false;

		store_lock(fs->store);
		err = work_try(&w, node, &finish);
		store_unlock(fs->store);
		if (err == -EAGAIN)
			more = finish ? orphan_finish(fs, node)
			              : work_build(&w);
	} while (err == -EAGAIN && !more);
	return err == -EAGAIN ? more : err;
}

/* Write the part of the change that lies within the file. */
static int write_within(struct fs *fs, node_t node, struct change *change)
{
	uint64_t asked = change->size;
	struct stat st;
	int err;

	change->within = true;
	do {
		err = fs_getattr(fs, node, &st);
		if (err || (uint64_t)st.st_size <= change->off)
			return err;
		change->size = MIN(asked, (uint64_t)st.st_size - change->off);
		err = file_change(fs, node, change);
	} while (err == -ERANGE);
	return err;
}

int fs_write(struct fs *fs, node_t node, off_t off, const void *data,
             size_t size, unsigned flags)
{
	struct change change = {
	        .kind = CHANGE_WRITE,
	        .off = (uint64_t)off,
	        .size = size,
	        .data = data,
	        .kill_ids = flags & FS_WRITE_KILL_PRIV,
	};
	int err;

	if (off < 0)
		return -EINVAL;
	if (off > FILE_SIZE_MAX || size > (uint64_t)(FILE_SIZE_MAX - off))
		return -EFBIG;
	if (!size)
		return 0;
	err = store_throttle_write(fs->store, size);
	if (err)
		return err;
	return flags & FS_WRITE_WITHIN ? write_within(fs, node, &change)
	                               : file_change(fs, node, &change);
}
