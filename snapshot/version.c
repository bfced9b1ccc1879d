/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Versions: encode and decode their records, cache them, and maintain the
 * lineage.
 *
 * There is no list of a version's children.  Their number, the xor of their ids
 * (the id of an only child) and the number of children that are unchanged heads
 * are enough, and cost the same for any number of children.
 */
#include "version.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

/* ---- Records ------------------------------------------------------------ */

_Static_assert(14 * 10 <= VERSION_LEN_MAX, "fourteen varints fit");

size_t version_encode(const struct version *v, uint8_t out[VERSION_LEN_MAX])
{
	struct writer w = writer_init(out, VERSION_LEN_MAX);

	put_varint(&w, v->tree.root);
	put_varint(&w, v->tree.base);
	put_varint(&w, v->tree.list);
	put_varint(&w, v->parent);
	put_varint(&w, v->freeze);
	put_varint(&w, v->children);
	put_varint(&w, v->children_xor);
	put_varint(&w, v->same);
	put_varint(&w, v->refs);
	put_svarint(&w, v->created);
	put_varint(&w, v->inodes);
	put_varint(&w, v->blocks);
	if (v->hollow) {
		put_varint(&w, 1);
		put_varint(&w, v->reaping);
	}
	return writer_len(&w);
}

int version_decode(const void *data, size_t len, struct version *v)
{
	struct reader r = reader_init(data, len);

	v->tree.root = get_varint(&r);
	v->tree.base = get_varint(&r);
	v->tree.list = get_varint(&r);
	v->parent = get_varint(&r);
	v->freeze = get_varint(&r);
	v->children = get_varint(&r);
	v->children_xor = get_varint(&r);
	v->same = get_varint(&r);
	v->refs = get_varint(&r);
	v->created = get_svarint(&r);
	v->inodes = get_varint(&r);
	v->blocks = get_varint(&r);
	v->hollow = reader_left(&r);
	if (v->hollow) {
		uint64_t flags = get_varint(&r);

		v->reaping = get_varint(&r);
		if (flags != 1 || v->tree.root || !v->freeze)
			return -EUCLEAN;
	}
	if (!reader_done(&r) || !v->tree.list ||
	    (v->freeze && v->freeze <= v->tree.base) ||
	    (v->children && !v->freeze) || (!v->children && v->children_xor) ||
	    v->same > v->children)
		return -EUCLEAN;
	return 0;
}

static void version_key(uint8_t key[8], uint64_t id)
{
	be64_put(key, id);
}

/* ---- In memory ---------------------------------------------------------- */

/*
 * Note that the root of a head has changed.  The first time, the parent's
 * number of unchanged children decreases; state_edit() has read the parent into
 * the cache.  A root never has an earlier number again: numbers do not repeat.
 */
static void version_on_root(struct tree *tree, uint64_t old_root)
{
	struct version *v = container_of(tree, struct version, tree);
	struct version *parent;
	struct cached *found;

	if (v->changed || v->freeze || !v->parent)
		return;
	found = cache_find(&v->forest->versions, v->parent);
	if (!found) {
		log_error("version %llu was changed before its parent was read",
		          (unsigned long long)v->id);
		return;
	}
	parent = container_of(found, struct version, cached);
	if (old_root && old_root == parent->tree.root) {
		parent->same--;
		version_mark(parent);
	}
	v->changed = true;
}

static struct version *version_alloc(struct forest *forest, uint64_t id)
{
	struct version *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->id = id;
	v->forest = forest;
	v->cached.key = id;
	v->tree.store = forest->store;
	v->tree.list = id;
	v->tree.owner = id;
	v->tree.on_root = version_on_root;
	tree_stamp(&v->tree);
	return v;
}

int version_find(struct forest *forest, uint64_t id,
                 struct version **ret_version)
{
	_cleanup_free_ struct version *v = NULL;
	struct cached *found = cache_find(&forest->versions, id);
	struct record record;
	uint8_t key[8];
	int r;

	if (found) {
		*ret_version = container_of(found, struct version, cached);
		return 0;
	}
	version_key(key, id);
	r = table_get(forest->store, TABLE_VERSION, key, sizeof(key), &record);
	if (r < 0)
		return r;
	v = version_alloc(forest, id);
	if (!v)
		return -ENOMEM;
	r = version_decode(record.value, record.len, v);
	if (r < 0) {
		log_error("the record of version %llu is damaged",
		          (unsigned long long)id);
		return r;
	}
	cache_add(&forest->versions, &v->cached);
	*ret_version = steal(&v);
	return 0;
}

void version_read_again(struct version *v)
{
	struct version now = *v;
	struct record record;
	uint8_t key[8];

	version_key(key, v->id);
	if (!table_get(v->forest->store, TABLE_VERSION, key, sizeof(key),
	               &record) &&
	    !version_decode(record.value, record.len, &now))
		*v = now;
}

int version_load(struct forest *forest, uint64_t id,
                 struct version **ret_version)
{
	int r = version_find(forest, id, ret_version);

	if (r != -ENOENT)
		return r;
	log_error("version %llu is missing", (unsigned long long)id);
	return -EUCLEAN;
}

void version_mark(struct version *v)
{
	cache_mark(&v->forest->versions, &v->cached);
	store_changed(v->forest->store);
}

int version_remove(struct version *v)
{
	uint8_t key[8];
	int r;

	version_key(key, v->id);
	r = table_del(v->forest->store, TABLE_VERSION, key, sizeof(key));
	if (r < 0)
		return r;
	cache_remove(&v->forest->versions, &v->cached);
	free(v);
	return 0;
}

/* ---- Lineage ------------------------------------------------------------ */

int version_new_head(struct forest *forest, const struct version *from,
                     struct version **ret_version)
{
	struct version *v =
	        version_alloc(forest, store_next_seq(forest->store));

	if (!v)
		return -ENOMEM;
	v->tree.root = from->tree.root;
	v->inodes = from->inodes;
	v->blocks = from->blocks;
	v->created = now_ns();
	v->refs = 1;
	*ret_version = v;
	return 0;
}

int version_new_root(struct forest *forest, const struct inode *root,
                     struct version **ret_version)
{
	static const struct key key = {INO_ROOT, ITEM_INODE, 0};
	struct version *v =
	        version_alloc(forest, store_next_seq(forest->store));
	uint8_t value[INODE_LEN_MAX];
	int r;

	if (!v)
		return -ENOMEM;
	v->inodes = 1;
	v->created = now_ns();
	v->refs = 1;
	r = tree_put(&v->tree, &key, value, inode_encode(root, value));
	if (r < 0) {
		free(v);
		return r;
	}
	*ret_version = v;
	return 0;
}

void version_attach(struct version *head, struct version *parent)
{
	head->parent = parent->id;
	head->tree.base = parent->freeze;
	parent->children++;
	parent->children_xor ^= head->id;
	if (head->tree.root)
		parent->same++;
	cache_add(&head->forest->versions, &head->cached);
	version_mark(head);
	version_mark(parent);
}

void version_freeze(struct version *head, uint64_t seq)
{
	head->freeze = seq;
	head->created = now_ns();
	head->refs--; /* its state names the new head */
	version_mark(head);
}

int version_unchanged(struct version *head, bool *ret_unchanged,
                      struct version **ret_parent)
{
	struct version *parent;
	int r;

	*ret_unchanged = false;
	/* Empty trees have no root number to compare. */
	if (head->changed || head->freeze || !head->parent || !head->tree.root)
		return 0;
	r = version_load(head->forest, head->parent, &parent);
	if (r < 0)
		return r;
	*ret_unchanged = head->tree.root == parent->tree.root;
	head->changed = !*ret_unchanged;
	if (ret_parent)
		*ret_parent = parent;
	return 0;
}
