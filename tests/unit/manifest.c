/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "forest.h"

static void manifest_add(struct manifest *m, const char *name, uint64_t ino,
                         uint64_t digest)
{
	m->entries = realloc(m->entries, (m->len + 1) * sizeof(*m->entries));
	m->entries[m->len++] =
	        (struct manifest_entry){strdup(name), ino, digest};
}

void manifest_release(struct manifest *m)
{
	for (size_t i = 0; i < m->len; i++)
		free(m->entries[i].name);
	free(m->entries);
	*m = (struct manifest){0};
}

const struct manifest_entry *manifest_find(const struct manifest *m,
                                           const char *name)
{
	for (size_t i = 0; i < m->len; i++)
		if (!strcmp(m->entries[i].name, name))
			return &m->entries[i];
	return NULL;
}

static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
	return XXH3_64bits_withSeed(data, len, sum);
}

/* Mix in the content of a chunk.  Lock held, but released to read. */
static uint64_t mix_chunk(struct store *store, uint64_t sum, uint64_t number)
{
	struct chunk *chunk;

	store_unlock(store);
	assert_int_equal(chunk_load(store, number, &chunk), 0);
	store_lock(store);
	sum = mix(sum, chunk_data(chunk), chunk_len(chunk));
	chunk_unref(chunk);
	return sum;
}

/* Return the digest of all items of a file but its names. */
static uint64_t file_digest(struct tree *tree, uint64_t ino)
{
	struct key key = {.ino = ino};
	uint64_t sum = 0, number;
	struct item item;

	while (!tree_seek(tree, &key, &item) && item.key.ino == ino) {
		uint64_t off = item.key.off;

		key = item.key;
		key.off++;
		if (item.key.kind == ITEM_BACKREF)
			continue;
		sum = mix(sum, &item.key.kind, 1);
		sum = mix(sum, &off, sizeof(off));
		number = item_chunk(&item);
		sum = number ? mix_chunk(tree->store, sum, number)
		             : mix(sum, item.value, item.len);
	}
	return sum;
}

static void directory_add(struct manifest *m, struct tree *tree, uint64_t dir,
                          const char *path)
{
	struct key key = {.ino = dir, .kind = ITEM_DIRENT};
	struct item item;

	while (!tree_seek(tree, &key, &item) && item.key.ino == dir &&
	       item.key.kind == ITEM_DIRENT) {
		struct dirent_item d;
		char name[2048];
		bool is_dir;
		uint64_t ino;

		assert_int_equal(dirent_decode(item.value, item.len, &d), 0);
		key = item.key;
		key.off++;
		ino = d.ino;
		is_dir = d.type == 4;
		snprintf(name, sizeof(name), "%s/%.*s", path, d.name_len,
		         d.name);
		manifest_add(m, name, ino, is_dir ? 0 : file_digest(tree, ino));
		if (is_dir)
			directory_add(m, tree, ino, name);
	}
}

static void fork_add(struct manifest *m, struct forest *forest, uint64_t fork)
{
	char after[NAME_LEN_MAX + 1] = "", name[NAME_LEN_MAX * 2 + 2];
	struct state *s;

	while (!state_next(forest, fork, after, &s)) {
		strcpy(after, s->name);
		state_full_name(forest, s, name);
		strcat(name, ":");
		manifest_add(m, name, 0, s->number);
		directory_add(m, state_tree(s), INO_ROOT, name);
		if (!s->fork)
			fork_add(m, forest, s->number);
	}
}

struct manifest manifest_read(const char *path)
{
	struct store_options options = {.readonly = true};
	struct manifest m = {0};
	struct forest *forest;
	struct store *store;

	assert_int_equal(store_open(path, &options, &store), 0);
	assert_int_equal(forest_open(store, &forest), 0);
	store_lock(store);
	fork_add(&m, forest, 0);
	store_unlock(store);
	forest_close(forest);
	store_close(store);
	return m;
}
