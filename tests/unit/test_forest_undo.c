/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of states that are undone: between the steps of a random history many
 * are made and undone, after which all records and all structs in memory must
 * be what they were, and the history goes on.  Others are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "util.h"
#include "fixture.h"

enum { DEFAULT_OPS = 3000, DUMP_MAX = 4 << 20, STEPS_MAX = 12 };

struct dump {
	size_t len;
	uint8_t bytes[DUMP_MAX];
};

static void dump_add(struct dump *dump, const void *bytes, size_t len)
{
	assert_true(dump->len + len <= DUMP_MAX);
	memcpy(dump->bytes + dump->len, bytes, len);
	dump->len += len;
}

/* Append all records of the states, and what is in memory alone.  Lock held. */
static void dump_read(struct fixture *w, struct dump *dump)
{
	struct record record;

	dump->len = 0;
	assert_int_equal(forest_put(w->forest), 0);
	for (enum table table = TABLE_META; table < TABLE_COUNT; table++) {
		int r = table_seek(w->store, table, "", 0, &record);

		while (!r) {
			dump_add(dump, &table, sizeof(table));
			dump_add(dump, record.key, record.key_len);
			dump_add(dump, record.value, record.len);
			r = table_next(w->store, table, record.key,
			               record.key_len, &record);
		}
		assert_int_equal(r, -ENOENT);
	}
	dump_add(dump, &w->forest->meta, sizeof(w->forest->meta));
	dump_add(dump, &w->forest->root, sizeof(w->forest->root));
}

/* ---- Random changes of random states ------------------------------------ */

static uint64_t below(struct fixture *w, uint64_t n)
{
	return scratch_random(&w->rng) % n;
}

/* Return a state, or NULL if that number has none.  Lock held. */
static struct state *any_state(struct fixture *w)
{
	uint64_t number;
	struct state *s;

	if (below(w, 4))
		number = w->model[below(w, w->len)].number;
	else
		number = 1 + below(w, store_counter(w->store, COUNTER_STATE));
	return state_get(w->forest, number, &s) ? NULL : s;
}

static void name_make(struct fixture *w, char name[32])
{
	/* Some are taken. */
	snprintf(name, 32, "n%llu", (unsigned long long)below(w, 40));
}

static int make(struct fixture *w, struct state *s)
{
	struct inode root = {.mode = 040755, .nlink = 2};
	struct state *made;
	char name[32];

	name_make(w, name);
	switch (below(w, 4)) {
	case 0:
		return state_create(w->forest, name, &root, &made);
	case 1:
		return state_fork(w->forest, s, name, &made);
	default:
		return state_snapshot(w->forest, s, name, &made);
	}
}

static int describe(struct fixture *w, struct state *s)
{
	static const char *const keys[] = {"quota", "a:b", "description"};
	static const char *const tags[] = {"one", "two"};
	const char *key = keys[below(w, ARRAY_SIZE(keys))];
	const char *tag = tags[below(w, ARRAY_SIZE(tags))];

	switch (below(w, 4)) {
	case 0:
		return s->fork && !strcmp(key, "quota")
		               ? 0
		               : property_set(s, key, "1000000000");
	case 1:
		return property_unset(s, key);
	case 2:
		return tag_add(s, tag);
	default:
		return tag_del(s, tag);
	}
}

static int exchange_root(struct fixture *w)
{
	struct inode root;

	assert_int_equal(forest_root_inode(w->forest, &root), 0);
	root.mtime.sec++;
	return forest_set_root_inode(w->forest, &root);
}

/* The trees of forks that got another one. */
static struct {
	unsigned count;
	struct state_hold before[STEPS_MAX];
	struct state_side side[STEPS_MAX];
} trees;

/* Give a fork the tree of another state, as a restoration does. */
static int replace(struct fixture *w, struct state *s)
{
	struct state_hold *before = &trees.before[trees.count];
	struct state_side *side = &trees.side[trees.count];
	struct state *from = any_state(w);
	int r;

	if (!from || s->fork)
		return -EROFS;
	trees.count++;
	r = state_hold(s, before);
	if (!r)
		r = side_begin(from, side);
	if (!r)
		r = join_records_cut(w->forest, s->number, 0);
	return r ? r : side_switch(side, s);
}

static void trees_release(struct fixture *w)
{
	while (trees.count) {
		trees.count--;
		hold_release(w->forest, &trees.before[trees.count]);
		side_end(w->forest, &trees.side[trees.count]);
	}
}

/* Try a change.  Return the number of those that succeeded. */
static unsigned step(struct fixture *w)
{
	struct state *s = any_state(w);
	char name[32];
	int r;

	if (!s)
		return 0;
	name_make(w, name);
	switch (below(w, 9)) {
	case 0:
	case 1:
	case 2:
		r = make(w, s);
		break;
	case 3:
		r = state_rename(w->forest, s, name);
		break;
	case 4:
		r = below(w, 2) ? state_delete(w->forest, s, below(w, 2))
		                : state_trash(w->forest, s, below(w, 2));
		break;
	case 5:
		r = below(w, 3) ? exchange_root(w)
		                : state_set_default(w->forest, s);
		break;
	case 6:
		r = replace(w, s);
		break;
	default:
		r = describe(w, s);
	}
	assert_true(r == 0 || r == -EEXIST || r == -EROFS || r == -EBUSY ||
	            r == -ENOTEMPTY || r == -ENODATA || r == -ESTALE);
	return r == 0;
}

/* Look states up, so that pointers between structs in memory are used. */
static void look_up(struct fixture *w)
{
	uint64_t quota;

	for (size_t i = 0; i < w->len; i++) {
		struct state *s = fixture_get(w, &w->model[i]);
		struct state_info info;

		assert_string_equal(s->name, w->model[i].name);
		assert_int_equal(state_info(w->forest, s, &info), 0);
		assert_int_equal(quota_get(s, &quota), 0);
		assert_true(quota == UINT64_MAX);
	}
}

static unsigned undo_some(struct fixture *w)
{
	static struct dump before, after;
	unsigned done = 0;

	store_lock(w->store);
	dump_read(w, &before);
	assert_int_equal(forest_undo_begin(w->forest), 0);
	for (uint64_t n = below(w, STEPS_MAX); n; n--)
		done += step(w);
	trees_release(w);
	forest_undo_end(w->forest, true);
	dump_read(w, &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.bytes, after.bytes, after.len);
	look_up(w);
	store_unlock(w->store);
	return done;
}

static void test_undone(void **state)
{
	uint64_t ops = scratch_ops(DEFAULT_OPS);
	struct fixture w;
	unsigned done = 0;

	fixture_init(&w, scratch_seed(), false);
	for (uint64_t i = 0; i < ops; i++) {
		fixture_change(&w);
		fixture_look(&w);
		done += undo_some(&w);
	}
	assert_true(done > ops);
	fixture_compare(&w);
	fixture_fsck(&w);
	fixture_compare(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* A tree that was held while changes were made that are undone. */
struct seen {
	uint64_t version, root;
	bool made; /* since the beginning */
};

static void seen_add(struct fixture *w, struct seen *ret)
{
	struct state *s = any_state(w);
	struct state_hold hold = {0};

	*ret = (struct seen){0};
	if (!s || state_hold(s, &hold))
		return;
	ret->version = hold_version(&hold);
	ret->root = hold_tree(&hold)->root;
	ret->made = forest_undo_made(w->forest, ret->version);
	hold_release(w->forest, &hold);
}

/* Hold the versions outside, and begin a head of each that is given up. */
static void seen_hold(struct fixture *w, const struct seen *seen)
{
	struct state_hold hold = {0};
	struct state_side side = {0}, above = {0};
	int r;

	if (!seen->version)
		return;
	r = version_hold_id(w->forest, seen->version, &hold);
	assert_int_equal(r, seen->made ? -ENOENT : 0);
	if (r)
		return;
	assert_int_equal(hold_tree(&hold)->root, seen->root);
	assert_int_equal(side_begin_at(&hold, &side), 0);
	side_freeze(&side);
	assert_int_equal(side_begin_at(&side.hold, &above), 0);
	side_end(w->forest, &above);
	side_end(w->forest, &side);
	hold_release(w->forest, &hold);
}

/* Versions held while changes were made are held after they were undone. */
static void test_held(void **state)
{
	const struct inode root = {.mode = 040755, .nlink = 2};
	uint64_t ops = scratch_ops(DEFAULT_OPS) / 3;
	struct seen seen[STEPS_MAX];
	struct state_side side = {0};
	struct fixture w;

	fixture_init(&w, scratch_seed(), false);
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t n = 0;

		fixture_change(&w);
		store_lock(w.store);
		assert_int_equal(forest_undo_begin(w.forest), 0);
		for (uint64_t end = below(&w, STEPS_MAX); n < end; n++) {
			step(&w);
			seen_add(&w, &seen[n]);
		}
		trees_release(&w);
		assert_int_equal(forest_undo_frozen(w.forest), 0);
		while (n)
			seen_hold(&w, &seen[--n]);
		assert_int_equal(side_create(w.forest, &root, &side), 0);
		side_freeze(&side);
		side_end(w.forest, &side);
		look_up(&w);
		store_unlock(w.store);
		if (!below(&w, 50))
			fixture_fsck(&w);
	}
	fixture_compare(&w);
	fixture_fsck(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* Changes that are kept are the same with and without an undo. */
static void test_kept(void **state)
{
	uint64_t ops = scratch_ops(DEFAULT_OPS) / 10;
	struct fixture w;

	fixture_init(&w, scratch_seed(), false);
	for (uint64_t i = 0; i < ops; i++) {
		store_lock(w.store);
		assert_int_equal(forest_undo_begin(w.forest), 0);
		for (uint64_t n = below(&w, STEPS_MAX); n; n--)
			step(&w);
		trees_release(&w);
		forest_undo_end(w.forest, below(&w, 2));
		store_unlock(w.store);
		if (!below(&w, 20))
			fixture_fsck(&w);
	}
	fixture_fsck(&w);
	fixture_close(&w);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_undone),
	        cmocka_unit_test(test_kept),
	        cmocka_unit_test(test_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
