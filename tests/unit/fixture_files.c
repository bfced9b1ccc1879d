/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of a state and of its model. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "range.h"
#include "util.h"

/* ---- Files -------------------------------------------------------------- */

static bool is_chunk(uint32_t seed)
{
	return seed % 4 == 0;
}

static uint32_t content_len(uint32_t seed)
{
	uint64_t rng = seed;

	return (uint32_t)(1 + scratch_random(&rng) %
	                              (is_chunk(seed) ? CHUNK_MAX : 200));
}

static void content_fill(uint32_t seed, uint8_t *data)
{
	uint32_t len = content_len(seed);
	uint64_t rng = ~(uint64_t)seed;

	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)scratch_random(&rng);
}

const struct key fixture_root_key = {INO_ROOT, ITEM_INODE, 0};

/* A file is an inode, whose size is the seed, and an extent. */
struct key fixture_inode_key(int file)
{
	return (struct key){INO_FIRST + (uint64_t)file, ITEM_INODE, 0};
}

static struct key extent_key(int file)
{
	return (struct key){INO_FIRST + (uint64_t)file, ITEM_EXTENT, 0};
}

/* The root directory has so many entries more. */
static void root_change(struct state *s, struct tree *tree, int more)
{
	uint8_t value[INODE_LEN_MAX];
	struct inode inode;
	struct item item;

	assert_int_equal(tree_get(tree, &fixture_root_key, &item), 0);
	assert_int_equal(inode_decode(item.value, item.len, &inode), 0);
	inode.size += (uint64_t)more;
	s->version->inodes += (uint64_t)more;
	assert_int_equal(tree_put(tree, &fixture_root_key, value,
	                          inode_encode(&inode, value)),
	                 0);
}

/* The chunk a file has; *ret_there: there is such a file. */
static uint64_t old_chunk(struct tree *tree, int file, bool *ret_there)
{
	struct key key = extent_key(file);
	struct item item;
	int r = tree_get(tree, &key, &item);

	assert_true(!r || r == -ENOENT);
	*ret_there = !r;
	return r ? 0 : item_chunk(&item);
}

/* The file's inode: its size is the seed. */
static void inode_put(struct tree *tree, int file, uint32_t seed)
{
	struct inode inode = {.mode = S_IFREG | 0644, .nlink = 1, .size = seed};
	struct key key = fixture_inode_key(file);
	uint8_t value[INODE_LEN_MAX];

	assert_int_equal(
	        tree_put(tree, &key, value, inode_encode(&inode, value)), 0);
}

static uint64_t content_add(struct tree *tree, const uint8_t *data,
                            uint32_t len)
{
	struct chunk *chunk = chunk_alloc(tree->store, len);
	uint64_t number;

	assert_non_null(chunk);
	assert_int_equal(chunk_resize(chunk, len), 0);
	memcpy(chunk_data(chunk), data, len);
	number = chunk_add(tree, chunk, 0);
	assert_true(number);
	chunk_unref(chunk);
	return number;
}

void fixture_put(struct fixture *w, struct model *t, int file, uint32_t seed)
{
	uint8_t data[CHUNK_MAX], value[TREE_VALUE_MAX];
	struct state *s = fixture_get(w, t);
	struct key key = extent_key(file);
	struct extent e = {
	        .kind = EXTENT_INLINE, .len = content_len(seed), .data = data};
	struct tree *tree;
	uint64_t old;
	bool there;

	assert_int_equal(state_edit(s, &tree), 0);
	old = old_chunk(tree, file, &there);
	content_fill(seed, data);
	if (is_chunk(seed)) {
		e.kind = EXTENT_CHUNK;
		e.chunk = content_add(tree, data, e.len);
	}
	inode_put(tree, file, seed);
	assert_int_equal(tree_put(tree, &key, value, extent_encode(&e, value)),
	                 0);
	if (old)
		tree_drop(tree, old);
	if (!there)
		root_change(s, tree, 1);
	t->files[file] = seed;
}

void fixture_del(struct fixture *w, struct model *t, int file)
{
	struct key inode = fixture_inode_key(file), extent = extent_key(file);
	struct state *s = fixture_get(w, t);
	struct tree *tree;
	uint64_t old;
	bool there;

	assert_int_equal(state_edit(s, &tree), 0);
	old = old_chunk(tree, file, &there);
	assert_int_equal(there, t->files[file] != 0);
	if (!there)
		return;
	assert_int_equal(tree_del(tree, &extent), 0);
	assert_int_equal(tree_del(tree, &inode), 0);
	if (old)
		tree_drop(tree, old);
	root_change(s, tree, -1);
	t->files[file] = 0;
}

/* ---- Comparing ---------------------------------------------------------- */

static void compare_chunk(struct fixture *w, uint64_t number, uint32_t seed)
{
	uint8_t data[CHUNK_MAX];
	struct chunk *chunk;

	store_lock(w->store);
	chunk = chunk_find(w->store, number, NULL);
	store_unlock(w->store);
	if (!chunk)
		assert_int_equal(chunk_load(w->store, number, &chunk), 0);
	content_fill(seed, data);
	assert_int_equal(chunk_len(chunk), content_len(seed));
	assert_memory_equal(chunk_data(chunk), data, chunk_len(chunk));
	chunk_unref(chunk);
}

/* An item of a file that should have this content. */
static void compare_item(const struct item *item, uint32_t seed,
                         uint64_t *ret_chunk)
{
	uint8_t data[CHUNK_MAX];
	struct inode inode;
	struct extent e;

	if (item->key.kind == ITEM_INODE) {
		assert_int_equal(inode_decode(item->value, item->len, &inode),
		                 0);
		assert_int_equal(inode.size, seed);
		return;
	}
	assert_int_equal(item->key.kind, ITEM_EXTENT);
	assert_int_equal(extent_decode(item->value, item->len, &e), 0);
	assert_int_equal(e.len, content_len(seed));
	*ret_chunk = e.chunk;
	assert_int_equal(e.kind, is_chunk(seed) ? EXTENT_CHUNK : EXTENT_INLINE);
	if (e.kind == EXTENT_INLINE) {
		content_fill(seed, data);
		assert_memory_equal(e.data, data, e.len);
	}
}

static void compare_meta(struct fixture *w, const struct model *t)
{
	struct state_info info;
	char full[FULL_NAME_MAX];
	struct state *s = fixture_get(w, t), *found;
	uint64_t files = 0, snapshots = 0;

	for (int i = 0; i < FILES; i++)
		files += t->files[i] != 0;
	for (size_t i = 0; i < w->len; i++)
		snapshots += w->model[i].fork == t->number;
	assert_int_equal(state_info(w->forest, s, &info), 0);
	assert_string_equal(info.name, t->name);
	assert_int_equal(info.fork, t->fork);
	assert_int_equal(info.readonly, t->fork != 0);
	assert_int_equal(info.inodes, 1 + files);
	assert_int_equal(info.snapshots, snapshots);
	assert_int_equal(s->origin, t->origin);
	assert_int_equal(state_find(w->forest, t->fork, t->name, &found), 0);
	assert_ptr_equal(found, s);
	state_full_name(w->forest, s, full);
	assert_int_equal(state_resolve(w->forest, full, &found), 0);
	assert_ptr_equal(found, s);
}

/* Compare the items alone, and return the chunks.  Lock held. */
static void compare_items(struct tree *tree, const struct model *t,
                          uint64_t chunks[FILES])
{
	struct cursor cursor;
	struct item item;
	struct key first = {0};
	size_t items = 0, files = 0;
	int r = cursor_seek(&cursor, tree, &first, &item);

	assert_int_equal(r, 0);
	assert_int_equal(key_compare(&item.key, &fixture_root_key), 0);
	while (!(r = cursor_next(&cursor, &item))) {
		int file = (int)(item.key.ino - INO_FIRST);

		assert_uint_in_range(file, 0, FILES - 1);
		assert_true(t->files[file]);
		compare_item(&item, t->files[file], &chunks[file]);
		items++;
	}
	assert_int_equal(r, -ENOENT);
	for (int i = 0; i < FILES; i++)
		files += t->files[i] != 0;
	assert_int_equal(items, 2 * files);
}

static void compare_chunks(struct fixture *w, const struct model *t,
                           const uint64_t chunks[FILES])
{
	for (int i = 0; i < FILES; i++) {
		if (chunks[i])
			compare_chunk(w, chunks[i], t->files[i]);
	}
}

void fixture_compare_tree(struct fixture *w, struct tree *tree,
                          const struct model *t)
{
	uint64_t chunks[FILES] = {0};

	store_lock(w->store);
	compare_items(tree, t, chunks);
	store_unlock(w->store);
	compare_chunks(w, t, chunks);
}

void fixture_compare_state(struct fixture *w, const struct model *t)
{
	uint64_t chunks[FILES] = {0};

	store_lock(w->store);
	compare_meta(w, t);
	compare_items(&fixture_get(w, t)->version->tree, t, chunks);
	store_unlock(w->store);
	compare_chunks(w, t, chunks);
}
