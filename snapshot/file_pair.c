/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compare two inodes.
 *
 * Pairs of items that are stored differently are collected in pieces under the
 * lock; their bytes are compared without it.
 */
#include "file_pair.h"

#include <errno.h>
#include <sys/stat.h>

#include "util.h"

enum {
	PIECE_PAIRS = 16,
	PIECE_NODES = 64,
	PIECE_ITEMS = 1024, /* read in one hold of the lock */
	FEW_ITEMS = 64,     /* cheaper to read than to call tree_diff() for */
};
_Static_assert(EXTENT_INLINE_MAX >= XATTR_INLINE_MAX, "one buffer for both");

/* The value of an item: bytes here or in a chunk, followed by zeros. */
struct value {
	uint32_t len;
	uint64_t chunk; /* 0: the bytes are here */
	uint8_t data[EXTENT_INLINE_MAX];
};

/* Two values at one place. */
struct value_pair {
	uint64_t off;
	struct value a, b;
};

struct piece {
	const struct file_pair *pair;
	enum item_kind kind;
	struct key from; /* where the next piece begins */
	struct value_pair pairs[PIECE_PAIRS];
	size_t count;
	bool differs; /* the files do, whatever the values are */
};

/* ---- Values ------------------------------------------------------------- */

static int value_of_extent(const struct item *item, struct value *ret_value)
{
	struct extent e;
	int r = extent_decode(item->value, item->len, &e);

	if (r < 0)
		return r;
	*ret_value = (struct value){0};
	if (e.kind == EXTENT_ZERO)
		return 0;
	ret_value->len = e.len;
	ret_value->chunk = e.kind == EXTENT_CHUNK ? e.chunk : 0;
	if (e.kind == EXTENT_INLINE)
		memcpy(ret_value->data, e.data, e.len);
	return 0;
}

static int value_of_xattr(const struct item *item, struct value *ret_value)
{
	struct xattr_item x;
	int r = xattr_decode(item->value, item->len, &x);

	if (r < 0)
		return r;
	*ret_value = (struct value){.len = x.len, .chunk = x.chunk};
	if (!x.chunk)
		memcpy(ret_value->data, x.value, x.len);
	return 0;
}

static bool xattr_names_equal(const struct item *a, const struct item *b)
{
	struct xattr_item x, y;

	return !xattr_decode(a->value, a->len, &x) &&
	       !xattr_decode(b->value, b->len, &y) && x.len == y.len &&
	       x.name_len == y.name_len && !memcmp(x.name, y.name, x.name_len);
}

static bool all_zero(const uint8_t *data, size_t len)
{
	return !len || (!*data && !memcmp(data, data + 1, len - 1));
}

/* Compare bytes that have zeros after them, up to `limit`. */
static bool bytes_equal(const uint8_t *a, size_t a_len, const uint8_t *b,
                        size_t b_len, size_t limit)
{
	size_t common;

	a_len = MIN(a_len, limit);
	b_len = MIN(b_len, limit);
	common = MIN(a_len, b_len);
	return !memcmp(a, b, common) && all_zero(a + common, a_len - common) &&
	       all_zero(b + common, b_len - common);
}

/* Return the value's bytes, and the chunk to release if they are in one. */
static int value_load(struct store *store, const struct value *value,
                      struct chunk **ret_chunk, const uint8_t **ret_data,
                      size_t *ret_len)
{
	int r;

	*ret_data = value->data;
	*ret_len = value->len;
	if (!value->chunk)
		return 0;
	r = chunk_load(store, value->chunk, ret_chunk);
	if (r < 0)
		return r == -ENOENT ? -EUCLEAN : r;
	*ret_data = chunk_data(*ret_chunk);
	*ret_len = MIN(value->len, chunk_len(*ret_chunk));
	return 0;
}

/* Compare two values, of which `limit` bytes count.  Lock NOT held. */
static int values_compare(struct store *store, const struct value_pair *pair,
                          size_t limit, bool *ret_equal)
{
	const struct value *a = &pair->a, *b = &pair->b;
	struct chunk *a_chunk = NULL, *b_chunk = NULL;
	const uint8_t *a_data, *b_data;
	size_t a_len, b_len;
	int r = -EAGAIN;

	if (a->chunk && b->chunk && a->len == b->len && a->len <= limit)
		r = chunk_compare(store, a->chunk, b->chunk);
	if (r >= 0) {
		*ret_equal = r;
		return 0;
	}
	if (r != -EAGAIN)
		return r;
	r = value_load(store, a, &a_chunk, &a_data, &a_len);
	if (!r)
		r = value_load(store, b, &b_chunk, &b_data, &b_len);
	if (!r)
		*ret_equal = bytes_equal(a_data, a_len, b_data, b_len, limit);
	chunk_unref(a_chunk);
	chunk_unref(b_chunk);
	return r;
}

/* ---- Pieces ------------------------------------------------------------- */

/*
 * Add the items of both sides at one place, of which one may be NULL.  1: the
 * piece is full, or the files are known to differ.
 */
static int piece_add(struct piece *piece, const struct item *a,
                     const struct item *b)
{
	struct value_pair *pair = &piece->pairs[piece->count];
	int r = 0;

	if (a && b && a->len == b->len && !memcmp(a->value, b->value, a->len))
		return 0;
	if (piece->kind == ITEM_XATTR &&
	    (!a || !b || !xattr_names_equal(a, b))) {
		piece->differs = true;
		return 1;
	}
	*pair = (struct value_pair){.off = a ? a->key.off : b->key.off};
	if (a)
		r = piece->kind == ITEM_XATTR ? value_of_xattr(a, &pair->a)
		                              : value_of_extent(a, &pair->a);
	if (!r && b)
		r = piece->kind == ITEM_XATTR ? value_of_xattr(b, &pair->b)
		                              : value_of_extent(b, &pair->b);
	if (r < 0)
		return r;
	piece->from.off = pair->off + 1;
	return ++piece->count == PIECE_PAIRS;
}

static int on_diff(void *arg, const struct item *a, const struct item *b)
{
	struct piece *piece = arg;
	const struct key *key = a ? &a->key : &b->key;

	if (key->ino != piece->from.ino || key->kind != piece->kind) {
		piece->from.kind = 0; /* the end */
		return 1;
	}
	return piece_add(piece, a, b);
}

/*
 * Collect the next pairs of one inode in two trees.  -EAGAIN: there may be
 * more.
 */
static int piece_of_trees(struct piece *piece)
{
	int r = tree_diff(piece->pair->a_tree, piece->pair->b_tree,
	                  &piece->from, PIECE_NODES, on_diff, piece);

	if (r == 1)
		r = piece->from.kind && !piece->differs ? -EAGAIN : 0;
	if (r == -EAGAIN && (piece->from.ino != piece->pair->a_ino ||
	                     piece->from.kind != piece->kind))
		r = 0;
	return r;
}

/* One side of a walk over the items of two inodes. */
struct side {
	struct cursor cursor;
	struct item item;
	bool there;
};

static int side_take(struct side *side, const struct piece *piece, uint64_t ino,
                     int r)
{
	side->there = !r && side->item.key.ino == ino &&
	              side->item.key.kind == piece->kind;
	return r == -ENOENT ? 0 : r;
}

static int side_seek(struct side *side, const struct piece *piece,
                     struct tree *tree, uint64_t ino)
{
	const struct key key = {ino, (uint8_t)piece->kind, piece->from.off};

	return side_take(side, piece, ino,
	                 cursor_seek(&side->cursor, tree, &key, &side->item));
}

/*
 * Collect the next pairs of two inodes.  -EAGAIN: there may be more.
 */
static int piece_of_inodes(struct piece *piece)
{
	const struct file_pair *pair = piece->pair;
	struct side a, b;
	int r = side_seek(&a, piece, pair->a_tree, pair->a_ino);

	if (!r)
		r = side_seek(&b, piece, pair->b_tree, pair->b_ino);
	for (int i = 0; !r && (a.there || b.there); i++) {
		uint64_t a_off = a.there ? a.item.key.off : UINT64_MAX;
		uint64_t b_off = b.there ? b.item.key.off : UINT64_MAX;
		uint64_t off = MIN(a_off, b_off);

		if (i == PIECE_ITEMS) {
			piece->from.off = off;
			return -EAGAIN;
		}
		r = piece_add(piece, a_off == off ? &a.item : NULL,
		              b_off == off ? &b.item : NULL);
		if (r)
			return r < 0 || piece->differs ? MIN(r, 0) : -EAGAIN;
		if (a_off == off)
			r = side_take(&a, piece, pair->a_ino,
			              cursor_next(&a.cursor, &a.item));
		if (!r && b_off == off)
			r = side_take(&b, piece, pair->b_ino,
			              cursor_next(&b.cursor, &b.item));
	}
	return r;
}

/* Compare the values of a piece.  Lock NOT held. */
static int piece_compare(const struct piece *piece, bool *ret_equal)
{
	const struct file_pair *pair = piece->pair;
	uint64_t chunk = store_chunk_size(pair->store);
	int r = 0;

	*ret_equal = !piece->differs;
	for (size_t i = 0; !r && *ret_equal && i < piece->count; i++) {
		const struct value_pair *values = &piece->pairs[i];
		size_t limit = SIZE_MAX;

		if (piece->kind == ITEM_EXTENT) {
			/* A truncation may have left a tail. */
			uint64_t at = values->off * chunk;

			if (at >= pair->a.size)
				continue;
			limit = (size_t)MIN(chunk, pair->a.size - at);
		}
		r = values_compare(pair->store, values, limit, ret_equal);
	}
	return r;
}

/*
 * Return true if tree_diff() is to collect the items.  It skips what the trees
 * share, but after the inode's last difference it may read many nodes of other
 * inodes.
 */
static bool trees_compare(const struct file_pair *pair, enum item_kind kind)
{
	uint64_t items = kind == ITEM_XATTR
	                         ? pair->a.xattrs
	                         : pair->a.size / store_chunk_size(pair->store);

	return pair->a_ino == pair->b_ino && items > FEW_ITEMS;
}

/* Compare all items of one kind. */
static int items_compare(const struct file_pair *pair, enum item_kind kind,
                         bool *ret_equal)
{
	_cleanup_free_ struct piece *piece = calloc(1, sizeof(*piece));
	bool by_trees = trees_compare(pair, kind), equal = true;
	int r = -EAGAIN, err = 0;

	if (!piece)
		return -ENOMEM;
	piece->pair = pair;
	piece->kind = kind;
	piece->from = (struct key){pair->a_ino, (uint8_t)kind, 0};
	while (!err && equal && r == -EAGAIN) {
		piece->count = 0;
		store_lock(pair->store);
		r = by_trees ? piece_of_trees(piece) : piece_of_inodes(piece);
		store_unlock(pair->store);
		if (r < 0 && r != -EAGAIN)
			return r;
		err = piece_compare(piece, &equal);
		if (!err && equal && r == -EAGAIN)
			err = store_yield(pair->store);
	}
	if (!err)
		*ret_equal = equal;
	return err;
}

/* ---- Inodes ------------------------------------------------------------- */

static unsigned attributes_compare(const struct inode *a, const struct inode *b)
{
	unsigned fields = 0;

	if ((a->mode & 07777) != (b->mode & 07777))
		fields |= DIFF_MODE;
	if (a->uid != b->uid || a->gid != b->gid)
		fields |= DIFF_OWNER;
	if ((S_ISCHR(a->mode) || S_ISBLK(a->mode)) && a->rdev != b->rdev)
		fields |= DIFF_DEVICE;
	if (a->mtime.sec != b->mtime.sec || a->mtime.nsec != b->mtime.nsec)
		fields |= DIFF_TIMES;
	return fields;
}

int file_pair_compare(const struct file_pair *pair, bool entries,
                      unsigned *ret_fields)
{
	const struct inode *a = &pair->a, *b = &pair->b;
	unsigned fields = attributes_compare(a, b);
	bool has_content = S_ISREG(a->mode) || S_ISLNK(a->mode);
	bool equal = true;
	int r = 0;

	if (S_ISDIR(a->mode) && (entries || a->size != b->size))
		fields |= DIFF_ENTRIES;
	if (has_content && a->size != b->size)
		equal = false;
	else if (has_content)
		r = items_compare(pair, ITEM_EXTENT, &equal);
	if (!equal)
		fields |= DIFF_CONTENT;
	equal = a->xattrs == b->xattrs;
	if (!r && equal && a->xattrs)
		r = items_compare(pair, ITEM_XATTR, &equal);
	if (!equal)
		fields |= DIFF_XATTR;
	if (!r)
		*ret_fields = fields;
	return r;
}

/* ---- One xattr ---------------------------------------------------------- */

static int xattr_find(struct tree *tree, uint64_t ino, const char *name,
                      struct value *ret_value)
{
	struct item item;
	int r = slot_find(tree, ino, ITEM_XATTR, 0, name, strlen(name), &item);

	return r ? r : value_of_xattr(&item, ret_value);
}

int xattr_compare(struct store *store, struct tree *a, uint64_t a_ino,
                  struct tree *b, uint64_t b_ino, const char *name)
{
	struct value_pair pair = {0};
	bool equal = false;
	int r;

	store_lock(store);
	r = xattr_find(a, a_ino, name, &pair.a);
	if (!r)
		r = xattr_find(b, b_ino, name, &pair.b);
	store_unlock(store);
	if (r == -ENOENT)
		return -EUCLEAN;
	if (!r && pair.a.len == pair.b.len)
		r = values_compare(store, &pair, pair.a.len, &equal);
	return r < 0 ? r : equal;
}
