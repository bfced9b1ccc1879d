/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: copy the old tree to the new one, item by item.
 *
 * A version begins with the new tree of its parent, fixed items included.  They
 * are right for the version, too, unless the old trees differ in these inodes:
 * then the fixed items are first replaced by those of the version's own old
 * tree, which may have what the parent has lost.
 */
#include "repair_tree.h"
#include "array.h"
#include "util.h"
#include "version_walk.h"

#include <errno.h>

enum { EDITS_PER_HOLD = 32 }; /* edits in one hold of the lock */

int repair_yield(struct repair *repair)
{
	int r;

	if (++repair->edits % EDITS_PER_HOLD)
		return 0;
	store_unlock(repair->store);
	r = store_throttle(repair->store, true);
	store_lock(repair->store);
	return r;
}

/* ---- Editing ------------------------------------------------------------ */

static int fixed_add(struct repair *repair, const struct key *key)
{
	struct keys *keys = &repair->v->fixed;
	struct key *at;

	if (keys->len && !key_compare(&keys->at[keys->len - 1], key))
		return 0;
	at = array_add(&keys->at, &keys->len, &keys->capacity);
	if (!at)
		return -ENOMEM;
	*at = *key;
	return 0;
}

static uint64_t chunk_at(struct repair *repair, const struct key *key)
{
	struct item item;

	return tree_get(&repair->v->tree, key, &item) ? 0 : item_chunk(&item);
}

int repair_put(struct repair *repair, const struct key *key, const void *value,
               size_t len)
{
	struct item new = {*key, value, (uint32_t)len};
	uint64_t chunk = chunk_at(repair, key);
	int r = tree_put(&repair->v->tree, key, value, len);

	if (!r && chunk && chunk != item_chunk(&new))
		tree_drop(&repair->v->tree, chunk);
	if (!r && repair->fixing)
		r = fixed_add(repair, key);
	return r;
}

int repair_del(struct repair *repair, const struct key *key)
{
	uint64_t chunk = chunk_at(repair, key);
	int r = tree_del(&repair->v->tree, key);

	if (r == -ENOENT)
		return repair->fixing ? fixed_add(repair, key) : 0;
	if (!r && chunk)
		tree_drop(&repair->v->tree, chunk);
	if (!r && repair->fixing)
		r = fixed_add(repair, key);
	return r;
}

/* ---- Copying ------------------------------------------------------------ */

static bool item_readable(struct repair *repair, const struct item *item)
{
	union item_content c;

	if (item_decode(item, &c))
		return false;
	return item->key.kind != ITEM_EXTENT ||
	       (c.extent.len <= store_chunk_size(repair->store) &&
	        (c.extent.kind != EXTENT_INLINE || !item->key.off));
}

/* Remove an item that cannot be copied, and mark it as fixed. */
static int item_give_up(struct repair *repair, const struct key *key)
{
	bool fixing = repair->fixing;
	int r;

	repair->fixing = true;
	r = repair_del(repair, key);
	repair->fixing = fixing;
	return r;
}

/* Copy a chunk of the old store to the new one. */
static int chunk_copy(struct repair *repair, uint64_t number,
                      struct chunk **ret_chunk)
{
	struct chunk *old, *new;
	int r = chunk_load(repair->check.store, number, &old);

	if (r < 0)
		return r;
	new = chunk_alloc(repair->store, chunk_len(old));
	r = new ? chunk_resize(new, chunk_len(old)) : -ENOMEM;
	if (!r)
		memcpy(chunk_data(new), chunk_data(old), chunk_len(old));
	chunk_unref(old);
	if (r < 0) {
		chunk_unref(new);
		return r;
	}
	*ret_chunk = new;
	return 0;
}

/*
 * Report a dedup reference to a chunk with a wrong reference count: it may name
 * another chunk than before, whose content is valid.
 */
static int chunk_doubt(struct repair *repair, uint64_t ino, uint64_t number)
{
	uint64_t content;

	if (!repair->doubted.len)
		return 0;
	content = view_content(repair->check.view, number);
	for (size_t i = 0; i < repair->doubted.len; i++)
		if (repair->doubted.at[i] == content && content != number)
			return repair_lose(repair, "doubtful", ino, NULL, 0,
			                   "its contents may be those of "
			                   "another file");
	return 0;
}

static int item_put_chunk(struct repair *repair, const struct item *item,
                          struct chunk *chunk)
{
	uint64_t number = chunk_add(&repair->v->tree, chunk,
	                            chunk_at(repair, &item->key));
	uint8_t value[TREE_VALUE_MAX];
	struct xattr_item x;
	struct extent e;
	size_t len = 0;

	if (item->key.kind == ITEM_EXTENT &&
	    !extent_decode(item->value, item->len, &e)) {
		e.chunk = number;
		len = extent_encode(&e, value);
	} else if (item->key.kind == ITEM_XATTR &&
	           !xattr_decode(item->value, item->len, &x)) {
		x.chunk = number;
		len = xattr_encode(&x, value);
	}
	return len ? repair_put(repair, &item->key, value, len) : -EUCLEAN;
}

static int item_copy(struct repair *repair, const struct item *item)
{
	uint64_t ino = item->key.ino, number;
	struct chunk *chunk;
	int r;

	if (!item_readable(repair, item)) {
		r = repair_lose(repair, "removed", ino, NULL, 0,
		                "an item that cannot be read");
		return r ? r : item_give_up(repair, &item->key);
	}
	number = item_chunk(item);
	if (!number)
		return repair_put(repair, &item->key, item->value, item->len);
	r = chunk_copy(repair, number, &chunk);
	if (r == -EUCLEAN || r == -ENOENT || r == -EIO) {
		r = item->key.kind == ITEM_EXTENT
		            ? repair_lose(repair, "hole", ino, NULL, 0,
		                          "contents are lost, and read as "
		                          "zeroes")
		            : repair_lose(repair, "removed", ino, NULL, 0,
		                          "an extended attribute");
		return r ? r : item_give_up(repair, &item->key);
	}
	if (r < 0)
		return r;
	r = chunk_doubt(repair, ino, number);
	if (!r)
		r = item_put_chunk(repair, item, chunk);
	chunk_unref(chunk);
	return r;
}

/* ---- A version ---------------------------------------------------------- */

static const struct keys *parent_fixed(struct repair *repair)
{
	static const struct keys none;

	return repair->v->parent == NO_VERSION
	               ? &none
	               : &repair->versions[repair->v->parent].fixed;
}

/* Return true if the inode was fixed in the parent. */
static bool parent_has_fixed(struct repair *repair, uint64_t ino)
{
	const struct keys *keys = parent_fixed(repair);

	return array_find(keys->at, keys->len, ino);
}

static int on_difference(void *arg, const struct item *old,
                         const struct item *new)
{
	struct repair *repair = arg;
	const struct key *key = new ? &new->key : &old->key;
	int r;

	repair->touched |= parent_has_fixed(repair, key->ino);
	r = new ? item_copy(repair, new) : repair_del(repair, key);
	return r ? r : repair_yield(repair);
}

/* Report a node that cannot be read: the items in it are unknown. */
static void on_lost(void *arg, const struct key *low)
{
	struct repair *repair = arg;
	const char *text;
	int r;

	text = low->ino ? "items of a part of the tree are lost, from this "
	                  "inode on"
	                : "items of a part of the tree are lost, from its root "
	                  "on";
	r = repair_lose(repair, "lost", low->ino, NULL, 0, text);
	if (r < 0)
		repair->lost_err = r;
}

static int fixed_undo(struct repair *repair)
{
	const struct keys *keys = parent_fixed(repair);
	int r = 0;

	for (size_t i = 0; !r && i < keys->len; i++) {
		struct item item;

		r = view_get(repair->check.view, repair->v->old_root,
		             &keys->at[i], &item);
		if (!r)
			r = item_copy(repair, &item);
		else if (r == -ENOENT || r == -EUCLEAN)
			r = repair_del(repair, &keys->at[i]);
		if (!r)
			r = repair_yield(repair);
	}
	return r;
}

static int fixed_inherit(struct repair *repair)
{
	const struct keys *keys = parent_fixed(repair);
	int r = 0;

	for (size_t i = 0; !r && i < keys->len; i++)
		r = fixed_add(repair, &keys->at[i]);
	return r;
}

int repair_copy(struct repair *repair)
{
	struct repair_version *v = repair->v;
	uint64_t old_root = v->parent == NO_VERSION
	                            ? 0
	                            : repair->versions[v->parent].old_root;
	int r;

	repair->touched = false;
	r = view_compare(repair->check.view, old_root, v->old_root,
	                 on_difference, on_lost, repair);
	if (!r)
		r = repair->lost_err;
	if (!r)
		r = repair->touched ? fixed_undo(repair)
		                    : fixed_inherit(repair);
	return r;
}
