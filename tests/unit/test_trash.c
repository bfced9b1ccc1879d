/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The trash: random histories in which states are deleted, come back and are
 * deleted for good, against plain copies; and its rules one by one.
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

#include "fixture.h"
#include "util.h"

enum { DAY = 86400 };

/* ---- Histories ---------------------------------------------------------- */

/* A state in the trash, or a snapshot of one. */
struct gone {
	struct model model;
	uint64_t entry; /* number of the state that is in the trash */
};

struct bin {
	struct fixture w;
	struct gone at[STATES_MAX];
	size_t len;
	uint64_t trashed, back, purged;
};

static struct gone *gone_find(struct bin *b, uint64_t number)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->at[i].model.number == number)
			return &b->at[i];
	return NULL;
}

static void gone_remove(struct bin *b, uint64_t number)
{
	struct gone *g = gone_find(b, number);

	assert_non_null(g);
	*g = b->at[--b->len];
}

/* Move a state, and the snapshots of a fork, to the trash. */
static void do_trash(struct bin *b)
{
	struct fixture *w = &b->w;
	struct model *t = &w->model[scratch_random(&w->rng) % w->len];
	bool recursive = scratch_random(&w->rng) % 2;
	uint64_t number = t->number;
	char name[NAME_LEN_MAX + 1];
	uint64_t fork = t->fork;
	struct state *s = fixture_get(w, t), *found;
	int r;

	if (number == 1 || b->len + s->snapshots >= STATES_MAX)
		return;
	memcpy(name, t->name, sizeof(name));
	r = state_trash(w->forest, s, recursive);
	if (s->snapshots && !recursive) {
		assert_int_equal(r, -ENOTEMPTY);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(state_trash(w->forest, s, true), -ESTALE);
	assert_int_equal(state_delete(w->forest, s, true), -ESTALE);
	assert_int_equal(state_get(w->forest, number, &found), -ESTALE);
	assert_int_equal(state_find(w->forest, fork, name, &found), -ENOENT);
	assert_int_equal(trash_find(w->forest, fork, name, &found), 0);
	assert_int_equal(found->number, number);
	for (size_t i = w->len; i-- > 0;) {
		if (w->model[i].number != number && w->model[i].fork != number)
			continue;
		b->at[b->len++] = (struct gone){w->model[i], number};
		w->model[i] = w->model[--w->len];
	}
	b->trashed++;
}

static struct gone *any_entry(struct bin *b)
{
	struct gone *g;

	if (!b->len)
		return NULL;
	g = &b->at[scratch_random(&b->w.rng) % b->len];
	return gone_find(b, g->entry);
}

static void do_undelete(struct bin *b)
{
	struct fixture *w = &b->w;
	struct gone *g = any_entry(b);
	char name[NAME_LEN_MAX + 1];
	uint64_t number;
	struct state *s;
	int r;

	if (!g || w->len + b->len >= STATES_MAX)
		return;
	number = g->entry;
	assert_int_equal(trash_get(w->forest, number, &s), 0);
	memcpy(name, g->model.name, sizeof(name));
	if (scratch_random(&w->rng) % 2)
		snprintf(name, sizeof(name), "u%llu",
		         (unsigned long long)++w->names);
	r = state_undelete(w->forest, s, name);
	if (g->model.fork && !fixture_model(w, g->model.fork)) {
		assert_int_equal(r, -ENOTDIR);
		return;
	}
	assert_int_equal(r, 0);
	memcpy(g->model.name, name, sizeof(name));
	assert_int_equal(state_undelete(w->forest, s, NULL), -ESTALE);
	for (size_t i = b->len; i-- > 0;) {
		if (b->at[i].entry != number)
			continue;
		w->model[w->len++] = b->at[i].model;
		b->at[i] = b->at[--b->len];
	}
	b->back++;
}

/* Forget what is gone for good, together with its fork. */
static void forget(struct bin *b)
{
	for (size_t i = b->len; i-- > 0;) {
		uint64_t fork = b->at[i].model.fork;

		if (fork && !fixture_model(&b->w, fork) && !gone_find(b, fork))
			gone_remove(b, b->at[i].model.number);
	}
}

static void do_purge(struct bin *b)
{
	struct gone *g = any_entry(b);
	uint64_t number;
	struct state *s;

	if (!g)
		return;
	number = g->entry;
	assert_int_equal(trash_get(b->w.forest, number, &s), 0);
	assert_int_equal(state_purge(b->w.forest, s), 0);
	gone_remove(b, number);
	forget(b);
	b->purged++;
}

static void count_check(struct bin *b)
{
	uint64_t entries = 0, inner = 0;
	struct trash_walk walk = {0};
	int64_t due = 0;
	struct state *s;

	forget(b);
	for (size_t i = 0; i < b->len; i++) {
		bool own = b->at[i].entry == b->at[i].model.number;

		entries += own;
		inner += !own;
	}
	store_lock(b->w.store);
	/* Snapshots of a purged fork are deleted in the background. */
	if (!forest_backlog(b->w.forest)) {
		assert_int_equal(forest_trash_count(b->w.forest), entries);
		assert_int_equal(b->w.forest->meta.trashed_snapshots, inner);
		for (; !trash_next(b->w.forest, &walk, &s); entries--) {
			assert_non_null(gone_find(b, s->number));
			assert_true(s->due >= due);
			due = s->due;
		}
		assert_int_equal(entries, 0);
	}
	store_unlock(b->w.store);
}

static void test_history(void **state)
{
	uint64_t ops = scratch_ops(20000), count;
	struct bin *b = calloc(1, sizeof(*b));
	struct fixture *w = &b->w;
	size_t had;

	(void)state;
	fixture_init(w, scratch_seed(), false);
	store_lock(w->store);
	assert_int_equal(forest_set_trash_time(w->forest, DAY), 0);
	store_unlock(w->store);
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t how = scratch_random(&w->rng) % 100;

		store_lock(w->store);
		forget(b);
		had = w->len;
		if (how < 6)
			do_trash(b);
		else if (how < 9)
			do_undelete(b);
		else if (how < 10)
			do_purge(b);
		store_unlock(w->store);
		/* Undeleted states are as before. */
		for (size_t j = had; j < w->len; j++)
			fixture_compare_state(w, &w->model[j]);
		if (how >= 10)
			fixture_change(w);
		fixture_look(w);
		if (!(i % 500))
			count_check(b);
		if (!(i % 4000))
			assert_int_equal(fixture_findings(w), 0);
	}
	fixture_compare(w);
	assert_int_equal(fixture_findings(w), 0);
	fixture_fsck(w);
	count_check(b);
	assert_int_equal(forest_empty_trash(w->forest, &count), 0);
	assert_false(store_has_feature(w->store, STORE_FEATURE_TRASH));
	assert_int_equal(fixture_findings(w), 0);
	printf("# %llu to the trash, %llu back, %llu for good, %llu at the "
	       "end\n",
	       (unsigned long long)b->trashed, (unsigned long long)b->back,
	       (unsigned long long)b->purged, (unsigned long long)count);
	fixture_end(w);
	fixture_release(w);
	free(b);
}

/* ---- One by one --------------------------------------------------------- */

static struct state *named(struct fixture *w, const char *name)
{
	struct state *s;

	assert_int_equal(state_named(w->forest, name, &s), 0);
	return s;
}

/* A fork `try` with a file and two snapshots; what is deleted stays a day. */
static void bin_init(struct fixture *w)
{
	struct state *s, *snapshot;
	struct model t = {0};

	fixture_init(w, 1, false);
	store_lock(w->store);
	assert_int_equal(forest_set_trash_time(w->forest, DAY), 0);
	assert_int_equal(
	        state_fork(w->forest, named(w, "main"), "main@try", &s), 0);
	t.number = s->number;
	fixture_put(w, &t, 1, 7);
	assert_int_equal(state_snapshot(w->forest, s, "one", &snapshot), 0);
	fixture_put(w, &t, 2, 8);
	assert_int_equal(state_snapshot(w->forest, named(w, "main@try"), "two",
	                                &snapshot),
	                 0);
	assert_int_equal(property_set(snapshot, "user:key", "value"), 0);
}

static void bin_release(struct fixture *w)
{
	store_unlock(w->store);
	assert_int_equal(fixture_findings(w), 0);
	fixture_close(w);
	fixture_release(w);
}

static void trash(struct fixture *w, const char *name)
{
	assert_int_equal(state_trash(w->forest, named(w, name), true), 0);
}

static void test_everything_comes_back(void **state)
{
	struct property *p = malloc(sizeof(*p));
	struct state *s, *again;
	uint64_t number;
	struct fixture w;

	(void)state;
	bin_init(&w);
	number = named(&w, "main@try")->number;
	trash(&w, "main@try");
	assert_int_equal(forest_count(w.forest), 1);
	store_unlock(w.store);
	/* The state's blocks are kept, also after a restart. */
	fixture_close(&w);
	fixture_open(&w);
	assert_int_equal(forest_drain(w.forest), 0);
	assert_int_equal(fixture_findings(&w), 0);
	store_lock(w.store);
	assert_int_equal(forest_trash_time(w.forest),
	                 INT64_C(1000000000) * DAY);
	assert_int_equal(trash_named(w.forest, "main@try", &s), 0);
	assert_int_equal(s->number, number);
	assert_int_equal(trash_named(w.forest, "main@try~one", &again), 0);
	assert_int_equal(trash_named(w.forest, "main@try/.snap/one", &again),
	                 0);
	assert_int_equal(trash_named(w.forest, "main@try~three", &again),
	                 -ENOENT);
	assert_int_equal(state_undelete(w.forest, again, NULL), -ESTALE);
	assert_int_equal(state_undelete(w.forest, s, "main"), -EEXIST);
	assert_int_equal(state_undelete(w.forest, s, "a/b"), -EINVAL);
	assert_int_equal(state_undelete(w.forest, s, NULL), 0);
	assert_int_equal(forest_count(w.forest), 4);
	assert_int_equal(state_resolve(w.forest, "main@try~1", &s), 0);
	assert_string_equal(s->name, "two");
	assert_int_equal(property_get(s, "user:key", p), 0);
	assert_string_equal(p->value, "value");
	free(p);
	bin_release(&w);
}

static void test_a_name_that_several_had(void **state)
{
	struct state *s, *first;
	struct fixture w;

	(void)state;
	bin_init(&w);
	first = named(&w, "main@try~one");
	trash(&w, "main@try~one");
	assert_int_equal(
	        state_snapshot(w.forest, named(&w, "main@try"), "one", &s), 0);
	trash(&w, "main@try~one");
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), 0);
	assert_int_not_equal(s->number, first->number);
	assert_int_equal(state_undelete(w.forest, s, NULL), 0);
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), 0);
	assert_int_equal(s->number, first->number);
	assert_int_equal(state_undelete(w.forest, s, NULL), -EEXIST);
	assert_int_equal(state_undelete(w.forest, s, "other"), 0);
	/* The snapshot is the oldest, as before. */
	assert_int_equal(state_resolve(w.forest, "main@try~3", &s), 0);
	assert_string_equal(s->name, "other");
	bin_release(&w);
}

static void test_a_snapshot_whose_fork_is_deleted(void **state)
{
	struct state *s, *fork;
	struct fixture w;

	(void)state;
	bin_init(&w);
	trash(&w, "main@try~one");
	trash(&w, "main@try");
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), 0);
	assert_int_equal(state_undelete(w.forest, s, NULL), -ENOTDIR);
	assert_int_equal(state_fork(w.forest, s, "saved", &fork), 0);
	assert_int_equal(trash_named(w.forest, "main@try", &s), 0);
	/* A fork in the trash cannot be forked: it could come back. */
	assert_int_equal(state_fork(w.forest, s, "again", &fork), -ESTALE);
	/* Purging the fork purges its snapshot. */
	assert_int_equal(state_purge(w.forest, s), 0);
	store_unlock(w.store);
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	assert_int_equal(forest_trash_count(w.forest), 0);
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), -ENOENT);
	assert_false(store_has_feature(w.store, STORE_FEATURE_TRASH));
	bin_release(&w);
}

static void test_a_fork_with_snapshots_in_the_trash_alone(void **state)
{
	struct state *s;
	struct fixture w;

	(void)state;
	bin_init(&w);
	trash(&w, "main@try~one");
	trash(&w, "main@try~two");
	assert_int_equal(state_delete(w.forest, named(&w, "main@try"), false),
	                 0);
	store_unlock(w.store);
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), -ENOENT);
	assert_int_equal(forest_trash_count(w.forest), 0);
	bin_release(&w);
}

/* A tree that only the trash shares would be lost. */
static void test_the_trash_keeps_nothing_for_rmdir(void **state)
{
	struct state *s, *fork;
	struct fixture w;

	(void)state;
	bin_init(&w);
	assert_int_equal(
	        state_fork(w.forest, named(&w, "main@try~one"), "a", &fork), 0);
	assert_int_equal(
	        state_fork(w.forest, named(&w, "main@try~one"), "b", &s), 0);
	trash(&w, "main@try~one");
	assert_true(state_is_redundant(w.forest, fork));
	trash(&w, "b");
	assert_false(state_is_redundant(w.forest, fork));
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), 0);
	assert_int_equal(state_undelete(w.forest, s, NULL), 0);
	assert_true(state_is_redundant(w.forest, fork));
	bin_release(&w);
}

/* A state that cannot come back leaves no name behind. */
static void test_a_damaged_neighbour(void **state)
{
	static const uint8_t garbage[3] = {255, 255, 255};
	struct record record;
	struct state *s;
	struct fixture w;
	uint8_t key[8];
	int64_t created;

	(void)state;
	bin_init(&w);
	be64_put(key, named(&w, "main@try~one")->number);
	trash(&w, "main@try~two");
	store_unlock(w.store);
	fixture_close(&w);
	fixture_open(&w);
	store_lock(w.store);
	assert_int_equal(table_get(w.store, TABLE_STATE, key, 8, &record), 0);
	assert_int_equal(table_put(w.store, TABLE_STATE, key, 8, garbage, 3),
	                 0);
	assert_int_equal(trash_named(w.forest, "main@try~two", &s), 0);
	created = s->created;
	assert_int_equal(state_undelete(w.forest, s, "other"), -EUCLEAN);
	assert_string_equal(s->name, "two");
	assert_int_equal(s->created, created);
	assert_int_equal(state_resolve(w.forest, "main@try~other", &s),
	                 -ENOENT);
	assert_int_equal(trash_named(w.forest, "main@try~two", &s), 0);
	assert_int_equal(table_put(w.store, TABLE_STATE, key, 8, record.value,
	                           record.len),
	                 0);
	store_unlock(w.store);
	assert_int_equal(fixture_findings(&w), 0);
	store_lock(w.store);
	assert_int_equal(state_undelete(w.forest, s, "other"), 0);
	bin_release(&w);
}

static void test_time_passes(void **state)
{
	struct state *s;
	struct fixture w;

	(void)state;
	bin_init(&w);
	assert_int_equal(forest_set_trash_time(w.forest, -1), -EINVAL);
	trash(&w, "main@try~one");
	assert_int_equal(forest_set_trash_time(w.forest, 0), 0);
	trash(&w, "main@try~two"); /* due at once */
	store_unlock(w.store);
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	assert_int_equal(trash_named(w.forest, "main@try~two", &s), -ENOENT);
	assert_int_equal(trash_named(w.forest, "main@try~one", &s), 0);
	bin_release(&w);
}

static void test_space(void **state)
{
	struct space *space;
	uint64_t bytes, number;
	struct fixture w;

	(void)state;
	bin_init(&w);
	number = named(&w, "main@try")->number;
	trash(&w, "main@try");
	store_unlock(w.store);
	assert_int_equal(store_sync(w.store), 0);
	store_lock(w.store);
	assert_int_equal(space_create(w.forest, &space), 0);
	assert_int_equal(trash_measure(w.forest, space, number), 0);
	assert_int_equal(space_frees(space, &bytes), 0);
	assert_true(bytes > 0);
	assert_int_equal(trash_measure(w.forest, space, 1), -ESTALE);
	space_destroy(space);
	bin_release(&w);
}

/* ---- Damage ------------------------------------------------------------- */

static int print_finding(void *arg, const struct finding *finding)
{
	print_message("# %s: %s: %s\n", finding->kind,
	              finding->state ? finding->state : "", finding->text);
	return 0;
}

static void repair(struct fixture *w)
{
	const struct store_options read = {.readonly = true};
	const struct repair_options options = {.found = print_finding,
	                                       .done = print_finding};
	struct repair_result result;

	fixture_close(w);
	assert_int_equal(store_open(w->scratch.store, &read, &w->store), 0);
	assert_int_equal(forest_repair(w->store, &options, &result), 0);
	store_close(w->store);
	assert_true(result.found > 0);
	free(result.kept);
	fixture_open(w);
}

/* The check finds what is wrong with the trash, and repair keeps the states. */
static void test_damage(void **state)
{
	struct record keys[TRASH_KEYS];
	struct state *s;
	struct fixture w;
	size_t count;

	(void)state;
	for (int i = 0; i < 5; i++) {
		bin_init(&w);
		trash(&w, "main@try~one");
		trash(&w, "main@try");
		assert_int_equal(
		        trash_named(w.forest,
		                    i < 3 ? "main@try~one" : "main@try", &s),
		        0);
		count = trash_keys(s, keys);
		if (i < 4) {
			size_t at = (size_t)i % count;

			assert_int_equal(table_del(w.store, TABLE_TRASH,
			                           keys[at].key,
			                           keys[at].key_len),
			                 0);
		} else {
			keys[0].key[keys[0].key_len - 1] ^= 1;
			assert_int_equal(table_put(w.store, TABLE_TRASH,
			                           keys[0].key, keys[0].key_len,
			                           NULL, 0),
			                 0);
		}
		store_unlock(w.store);
		assert_true(fixture_findings(&w) > 0);
		repair(&w);
		assert_int_equal(fixture_findings(&w), 0);
		store_lock(w.store);
		assert_int_equal(forest_trash_time(w.forest),
		                 INT64_C(1000000000) * DAY);
		assert_int_equal(forest_trash_count(w.forest), 2);
		assert_int_equal(trash_named(w.forest, "main@try", &s), 0);
		assert_int_equal(state_undelete(w.forest, s, NULL), 0);
		assert_int_equal(trash_named(w.forest, "main@try~one", &s), 0);
		assert_int_equal(state_undelete(w.forest, s, NULL), 0);
		assert_int_equal(forest_count(w.forest), 4);
		bin_release(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_everything_comes_back),
	        cmocka_unit_test(test_a_name_that_several_had),
	        cmocka_unit_test(test_a_snapshot_whose_fork_is_deleted),
	        cmocka_unit_test(test_a_fork_with_snapshots_in_the_trash_alone),
	        cmocka_unit_test(test_the_trash_keeps_nothing_for_rmdir),
	        cmocka_unit_test(test_a_damaged_neighbour),
	        cmocka_unit_test(test_time_passes),
	        cmocka_unit_test(test_space),
	        cmocka_unit_test(test_damage),
	        cmocka_unit_test(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
