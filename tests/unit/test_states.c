/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * States of a real store against plain copies: random histories of writes,
 * removals, forks, snapshots, renames, deletions, commits and reopenings.
 * Nothing may be lost, freed while used, or left over; in between and at the
 * end the whole store is held against the rules of the lineage.
 *
 * COPPICE_SEED and COPPICE_OPS choose another history, or a longer one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "audit.h"
#include "forest.h"
#include "scratch.h"
#include "util.h"

enum { FILES = 150, STATES_MAX = 400, CHUNK_MAX = 9000 };

/* What a state should be. */
struct twin {
	uint64_t number;
	uint64_t fork;
	uint64_t origin;
	char name[NAME_LEN_MAX + 1];
	uint32_t files[FILES]; /* seeds of their contents; 0: not there */
};

struct world {
	struct scratch scratch;
	struct store *store;
	struct forest *forest;
	uint64_t rng;
	uint32_t seeds; /* contents that were used */
	bool sharing;	/* some contents twice */
	uint64_t names;
	struct twin *twins;
	size_t len;
	uint64_t forks, snapshots, deletions, reopenings, audits;
};

static uint64_t below(struct world *w, uint64_t n)
{
	return scratch_random(&w->rng) % n;
}

static void world_open(struct world *w)
{
	struct store_options options = { .memory = 8 << 20, .commit_ms = 50 };

	assert_int_equal(store_open(w->scratch.store, &options, &w->store), 0);
	assert_int_equal(forest_open(w->store, &w->forest), 0);
}

static void world_close(struct world *w)
{
	forest_close(w->forest);
	assert_int_equal(store_close(w->store), 0);
}

static void world_init(struct world *w, bool sharing)
{
	struct store_params params = { .node_size = 1024 };

	*w = (struct world){ .rng = scratch_seed(), .sharing = sharing };
	scratch_init(&w->scratch);
	assert_int_equal(store_create(w->scratch.store, &params), 0);
	assert_int_equal(store_open(w->scratch.store, NULL, &w->store), 0);
	assert_int_equal(forest_create(w->store, 0, 0, 0755), 0);
	assert_int_equal(store_close(w->store), 0);
	w->twins = calloc(STATES_MAX, sizeof(*w->twins));
	assert_non_null(w->twins);
	w->len = 1;
	w->twins[0] = (struct twin){ .number = 1, .name = "main" };
	world_open(w);
}

static void world_release(struct world *w)
{
	free(w->twins);
	scratch_release(&w->scratch);
}

static struct state *get(struct world *w, const struct twin *t)
{
	struct state *s;

	assert_int_equal(state_get(w->forest, t->number, &s), 0);
	return s;
}

static struct twin *twin_of(struct world *w, uint64_t number)
{
	for (size_t i = 0; i < w->len; i++)
		if (w->twins[i].number == number)
			return &w->twins[i];
	return NULL;
}

static struct twin *any_twin(struct world *w)
{
	return &w->twins[below(w, w->len)];
}

static struct twin *any_fork(struct world *w)
{
	struct twin *t;

	do
		t = any_twin(w);
	while (t->fork);
	return t;
}

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

static const struct key root_key = { INO_ROOT, ITEM_INODE, 0 };

static struct key extent_key(int file)
{
	return (struct key){ INO_FIRST + (uint64_t)file, ITEM_EXTENT, 0 };
}

/* The root directory has so many entries more. */
static void root_change(struct state *s, struct tree *tree, int more)
{
	uint8_t value[INODE_LEN_MAX];
	struct inode inode;
	struct item item;

	assert_int_equal(tree_get(tree, &root_key, &item), 0);
	assert_int_equal(inode_decode(item.value, item.len, &inode), 0);
	inode.size += (uint64_t)more;
	s->version->inodes += (uint64_t)more;
	assert_int_equal(tree_put(tree, &root_key, value,
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

static void file_put(struct world *w, struct twin *t, int file, uint32_t seed)
{
	uint8_t data[CHUNK_MAX], value[TREE_VALUE_MAX];
	struct state *s = get(w, t);
	struct key key = extent_key(file);
	struct extent e = { .kind = EXTENT_INLINE, .len = content_len(seed),
			    .data = data };
	struct tree *tree;
	uint64_t old;
	bool there;

	assert_int_equal(state_edit(s, &tree), 0);
	old = old_chunk(tree, file, &there);
	content_fill(seed, data);
	if (is_chunk(seed)) {
		struct chunk *chunk = chunk_alloc(w->store, e.len);

		assert_non_null(chunk);
		assert_int_equal(chunk_resize(chunk, e.len), 0);
		memcpy(chunk_data(chunk), data, e.len);
		e.kind = EXTENT_CHUNK;
		e.chunk = chunk_add(tree, chunk, 0);
		assert_true(e.chunk);
		chunk_unref(chunk);
	}
	assert_int_equal(tree_put(tree, &key, value, extent_encode(&e, value)),
			 0);
	if (old)
		tree_drop(tree, old);
	if (!there)
		root_change(s, tree, 1);
	t->files[file] = seed;
}

static void file_del(struct world *w, struct twin *t, int file)
{
	struct state *s = get(w, t);
	struct key key = extent_key(file);
	struct tree *tree;
	uint64_t old;
	bool there;

	assert_int_equal(state_edit(s, &tree), 0);
	old = old_chunk(tree, file, &there);
	assert_int_equal(there, t->files[file] != 0);
	if (!there)
		return;
	assert_int_equal(tree_del(tree, &key), 0);
	if (old)
		tree_drop(tree, old);
	root_change(s, tree, -1);
	t->files[file] = 0;
}

/* ---- Comparing ---------------------------------------------------------- */

static void compare_chunk(struct world *w, uint64_t number, uint32_t seed)
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

static void compare_file(const struct item *item, uint32_t seed,
			 uint64_t *ret_chunk)
{
	uint8_t data[CHUNK_MAX];
	struct extent e;

	assert_int_equal(extent_decode(item->value, item->len, &e), 0);
	assert_int_equal(e.len, content_len(seed));
	*ret_chunk = e.chunk;
	assert_int_equal(e.kind,
			 is_chunk(seed) ? EXTENT_CHUNK : EXTENT_INLINE);
	if (e.kind == EXTENT_INLINE) {
		content_fill(seed, data);
		assert_memory_equal(e.data, data, e.len);
	}
}

static void compare_meta(struct world *w, const struct twin *t)
{
	struct state_info info;
	char full[FULL_NAME_MAX];
	struct state *s = get(w, t), *found;
	uint64_t files = 0, snapshots = 0;

	for (int i = 0; i < FILES; i++)
		files += t->files[i] != 0;
	for (size_t i = 0; i < w->len; i++)
		snapshots += w->twins[i].fork == t->number;
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

static void compare_state(struct world *w, const struct twin *t)
{
	uint64_t chunks[FILES] = { 0 };
	struct cursor cursor;
	struct item item;
	struct key first = { 0 };
	int r, file = 0;

	store_lock(w->store);
	compare_meta(w, t);
	r = cursor_seek(&cursor, &get(w, t)->version->tree, &first, &item);
	assert_int_equal(r, 0);
	assert_int_equal(key_compare(&item.key, &root_key), 0);
	while (!(r = cursor_next(&cursor, &item))) {
		int at = (int)(item.key.ino - INO_FIRST);

		assert_int_equal(item.key.kind, ITEM_EXTENT);
		assert_in_range(at, file, FILES - 1);
		for (; file < at; file++)
			assert_int_equal(t->files[file], 0);
		compare_file(&item, t->files[file], &chunks[file]);
		file++;
	}
	assert_int_equal(r, -ENOENT);
	for (; file < FILES; file++)
		assert_int_equal(t->files[file], 0);
	store_unlock(w->store);
	for (int i = 0; i < FILES; i++)
		if (chunks[i])
			compare_chunk(w, chunks[i], t->files[i]);
}

/* The listing is the twins, in order. */
static void compare_listing(struct world *w)
{
	char after[NAME_LEN_MAX + 1] = "", inner[NAME_LEN_MAX + 1];
	struct state *s, *snapshot;
	size_t count = 0;
	int r, q;

	store_lock(w->store);
	while (!(r = state_next(w->forest, 0, after, &s))) {
		uint64_t fork = s->number;

		assert_non_null(twin_of(w, fork));
		assert_true(strcmp(s->name, after) > 0);
		memcpy(after, s->name, sizeof(after));
		inner[0] = 0;
		while (!(q = state_next(w->forest, fork, inner, &snapshot))) {
			assert_int_equal(
				twin_of(w, snapshot->number)->fork, fork);
			assert_true(strcmp(snapshot->name, inner) > 0);
			memcpy(inner, snapshot->name, sizeof(inner));
			count++;
		}
		assert_int_equal(q, -ENOENT);
		count++;
	}
	assert_int_equal(r, -ENOENT);
	assert_int_equal(count, w->len);
	assert_int_equal(forest_count(w->forest), w->len);
	store_unlock(w->store);
}

/* Drain, close, and hold everything against everything. */
static void world_audit(struct world *w)
{
	struct audit *audit;

	assert_int_equal(forest_drain(w->forest), 0);
	world_close(w);
	audit = audit_read(w->scratch.store);
	world_open(w);
	audit_check(audit, w->forest);
	audit_destroy(audit);
	w->audits++;
}

/* ---- Changes ------------------------------------------------------------ */

static void twin_add(struct world *w, const struct twin *source,
		     const struct state *s)
{
	struct twin *t = &w->twins[w->len];

	*t = *source;
	t->number = s->number;
	t->fork = s->fork;
	t->origin = source->number;
	memcpy(t->name, s->name, sizeof(t->name));
	w->len++;
}

static void do_fork(struct world *w)
{
	struct twin *source = any_twin(w);
	char name[NAME_LEN_MAX + 1];
	struct state *s;

	snprintf(name, sizeof(name), "f%llu",
		 (unsigned long long)++w->names);
	if (!below(w, 10)) {
		struct twin *other = any_fork(w);

		assert_int_equal(state_fork(w->forest, get(w, source),
					    other->name, &s),
				 -EEXIST);
	}
	assert_int_equal(state_fork(w->forest, get(w, source), name, &s), 0);
	assert_int_equal(s->origin, source->number);
	/* Its tree is that of the source. */
	assert_true(state_is_redundant(w->forest, s) ||
		    (source->fork && forest_backlog(w->forest)));
	twin_add(w, source, s);
	w->forks++;
}

static void do_snapshot(struct world *w)
{
	struct twin *source = any_fork(w);
	char name[NAME_LEN_MAX + 1];
	struct state *s, *newest;

	/* Names are a snapshot's own in its fork: the same in many. */
	snprintf(name, sizeof(name), "s%llu",
		 (unsigned long long)get(w, source)->snapshots + w->names++);
	assert_int_equal(state_snapshot(w->forest, get(w, source), name, &s),
			 0);
	assert_int_equal(state_newest(w->forest, source->number, INT64_MAX,
				      &newest),
			 0);
	assert_ptr_equal(s, newest);
	assert_int_equal(state_snapshot(w->forest, s, "x", &s), -EROFS);
	assert_int_equal(state_snapshot(w->forest, get(w, source), name, &s),
			 -EEXIST);
	twin_add(w, source, newest);
	w->snapshots++;
}

/* A state that is redundant has its tree in another one, or has none. */
static void check_redundant(struct world *w, const struct twin *t)
{
	static const uint32_t none[FILES];

	if (!state_is_redundant(w->forest, get(w, t)) ||
	    !memcmp(t->files, none, sizeof(none)))
		return;
	for (size_t i = 0; i < w->len; i++)
		if (w->twins[i].number != t->number &&
		    !memcmp(w->twins[i].files, t->files, sizeof(none)))
			return;
	fail_msg("'%s' is not redundant", t->name);
}

static void do_delete(struct world *w, bool recursive)
{
	struct twin *t = any_twin(w);
	uint64_t number = t->number, gone[2];
	struct state *s = get(w, t), *left;
	int r;

	check_redundant(w, t);
	r = state_delete(w->forest, s, recursive);
	if (number == 1) {
		assert_int_equal(r, -EBUSY);
		return;
	}
	if (s->snapshots && !recursive) {
		assert_int_equal(r, -ENOTEMPTY);
		return;
	}
	assert_int_equal(r, 0);
	gone[0] = gone[1] = number;
	for (size_t i = w->len; i-- > 0;) {
		if (w->twins[i].number != number &&
		    w->twins[i].fork != number)
			continue;
		gone[1] = w->twins[i].number;
		w->twins[i] = w->twins[--w->len];
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(state_get(w->forest, gone[i], &left),
				 -ESTALE);
	w->deletions++;
}

static void do_rename(struct world *w)
{
	struct twin *t = any_twin(w), *other = any_twin(w);
	char name[NAME_LEN_MAX + 1];
	struct state *left;

	if (t->fork == other->fork && t != other)
		assert_int_equal(state_rename(w->forest, get(w, t),
					      other->name),
				 -EEXIST);
	snprintf(name, sizeof(name), "r%llu",
		 (unsigned long long)++w->names);
	assert_int_equal(state_rename(w->forest, get(w, t), name), 0);
	assert_int_equal(state_find(w->forest, t->fork, t->name, &left),
			 -ENOENT);
	memcpy(t->name, name, sizeof(name));
}

static uint32_t any_seed(struct world *w)
{
	if (w->sharing && w->seeds && !below(w, 4))
		return 1 + (uint32_t)below(w, w->seeds);
	return ++w->seeds;
}

static void do_write(struct world *w)
{
	struct twin *t = any_twin(w);
	struct tree *tree;
	uint64_t how = below(w, 40);

	if (t->fork) {
		assert_int_equal(state_edit(get(w, t), &tree), -EROFS);
		return;
	}
	if (how == 0) {
		for (int i = 0; i < FILES; i++)
			file_del(w, t, i);
	} else if (how == 1) {
		for (int i = 0; i < FILES; i++)
			file_put(w, t, i, any_seed(w));
	} else if (how < 10) {
		file_del(w, t, (int)below(w, FILES));
	} else {
		file_put(w, t, (int)below(w, FILES), any_seed(w));
	}
}

static void do_change(struct world *w)
{
	/* The number of states swings between a few and hundreds. */
	uint64_t grow = w->names / 500 % 2 ? 20 : 60;
	uint64_t how = below(w, 1000);

	assert_int_equal(store_throttle(w->store, true), 0);
	store_lock(w->store);
	if (how < 700)
		do_write(w);
	else if (how < 960 && below(w, 100) < grow && w->len < STATES_MAX)
		below(w, 2) ? do_fork(w) : do_snapshot(w);
	else if (how < 950)
		do_delete(w, false);
	else if (how < 960)
		do_delete(w, w->len > STATES_MAX / 4);
	else
		do_rename(w);
	store_unlock(w->store);
}

static void do_other(struct world *w)
{
	uint64_t how = below(w, 1000);

	if (how < 30) {
		compare_state(w, any_twin(w));
	} else if (how < 32) {
		assert_int_equal(store_sync(w->store), 0);
	} else if (how == 32) {
		store_commit_start(w->store);
	} else if (how == 33 && !below(w, 4)) {
		world_close(w);
		world_open(w);
		w->reopenings++;
	} else if (how == 34 && !below(w, 8)) {
		compare_listing(w);
	} else if (how == 35 && !below(w, 40)) {
		world_audit(w);
	}
}

/* ---- Histories ---------------------------------------------------------- */

/* Nothing but an empty main: the store must be as good as new. */
static void world_end(struct world *w)
{
	struct audit *audit;

	store_lock(w->store);
	for (int i = 0; i < FILES; i++)
		file_del(w, twin_of(w, 1), i);
	assert_true(state_is_redundant(w->forest, get(w, twin_of(w, 1))) ||
		    get(w, twin_of(w, 1))->snapshots);
	for (size_t i = w->len; i-- > 0;) {
		struct state *s;

		if (w->twins[i].number != 1 &&
		    !state_get(w->forest, w->twins[i].number, &s))
			assert_int_equal(state_delete(w->forest, s, true), 0);
	}
	assert_int_equal(forest_count(w->forest), 1);
	store_unlock(w->store);
	w->twins[0] = *twin_of(w, 1);
	w->len = 1;
	world_audit(w);
	compare_state(w, &w->twins[0]);
	compare_listing(w);
	world_close(w);
	audit = audit_read(w->scratch.store);
	assert_int_equal(audit_blocks(audit), 1);
	assert_int_equal(audit_list_entries(audit), 0);
	assert_int_equal(audit_shared(audit), 0);
	audit_destroy(audit);
}

static void run_history(bool sharing)
{
	uint64_t ops = scratch_ops(60000);
	struct world w;

	world_init(&w, sharing);
	for (uint64_t i = 0; i < ops; i++) {
		do_change(&w);
		do_other(&w);
	}
	for (size_t i = 0; i < w.len; i++)
		compare_state(&w, &w.twins[i]);
	compare_listing(&w);
	world_audit(&w);
	for (size_t i = 0; i < w.len; i++)
		compare_state(&w, &w.twins[i]);
	printf("%llu forks, %llu snapshots, %llu deletions, %llu reopenings, "
	       "%llu audits; %zu states at the end\n",
	       (unsigned long long)w.forks, (unsigned long long)w.snapshots,
	       (unsigned long long)w.deletions,
	       (unsigned long long)w.reopenings, (unsigned long long)w.audits,
	       w.len);
	world_end(&w);
	world_release(&w);
}

static void test_history(void **state)
{
	(void)state;
	run_history(false);
}

static void test_history_with_sharing(void **state)
{
	(void)state;
	run_history(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_history_with_sharing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
