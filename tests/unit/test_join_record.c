/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of joins: their keys, what they hold, and their check and repair. */
#include "fs_fixture.h"

#include <stdio.h>
#include <string.h>

#include "forest.h"
#include "join_record.h"

static struct fixture w;
static node_t one, two;

static int setup(void **state)
{
	fixture_init(&w, 12);
	one = make(&w, NODE_ROOT, "main@one", S_IFDIR | 0755);
	two = make(&w, NODE_ROOT, "main@two", S_IFDIR | 0755);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	return 0;
}

static void change(node_t root)
{
	char name[16];
	node_t file;

	/* Another file in each state: no conflicts. */
	snprintf(name, sizeof(name), "f%u", (unsigned)NODE_STATE(root));
	file = look(&w, root, name);
	if (!file)
		file = make(&w, root, name, S_IFREG | 0644);
	put_text(&w, file, attr(&w, file).st_size, "x");
}

/* Return the join's plan in brief: true: there was nothing to do. */
static bool join(node_t from, node_t into)
{
	struct fs_join what = {.from = NODE_STATE(from),
	                       .into = NODE_STATE(into)};
	struct fs_joined joined;
	bool nothing;

	assert_int_equal(fs_join(w.fs, &what, &joined), 0);
	assert_int_equal(joined.conflicts, 0);
	nothing = !joined.plan;
	fs_joined_release(w.fs, &joined);
	return nothing;
}

static int find(uint64_t into, uint64_t from, struct join_record *ret)
{
	int r;

	store_lock(w.store);
	r = join_record_next(w.forest, into, from - 1, ret);
	store_unlock(w.store);
	return r || ret->from == from ? r : -ENOENT;
}

/* ---- Keys and contents -------------------------------------------------- */

static void test_codec(void **state)
{
	const struct join_record join = {.into = 7,
	                                 .from = UINT64_MAX,
	                                 .version = 300,
	                                 .seq = UINT64_MAX,
	                                 .time = -1,
	                                 .name = "main~x"};
	struct join_record again;
	struct record record;

	for (int kind = JOIN_BY_INTO; kind <= JOIN_BY_FROM; kind++) {
		record.key_len =
		        (uint32_t)join_record_key(record.key, kind, &join);
		record.len = kind == JOIN_BY_INTO
		                     ? (uint32_t)join_record_encode(
		                               &join, record.value)
		                     : 0;
		assert_int_equal(join_record_decode(&record, &again),
		                 kind != JOIN_BY_INTO);
		assert_int_equal(again.into, join.into);
		assert_int_equal(again.from, join.from);
		if (kind != JOIN_BY_FROM)
			assert_int_equal(again.version, join.version);
		/* A byte too many or too few. */
		record.len++;
		assert_int_equal(join_record_decode(&record, &again), -EUCLEAN);
		record.len--;
		record.key_len--;
		assert_int_equal(join_record_decode(&record, &again), -EUCLEAN);
	}
	record.key_len = 0;
	assert_int_equal(join_record_decode(&record, &again), -EUCLEAN);
	record.key_len =
	        (uint32_t)join_record_key(record.key, JOIN_BY_INTO, &join);
	record.len = (uint32_t)join_record_encode(&join, record.value);
	assert_int_equal(join_record_decode(&record, &again), 0);
	assert_int_equal(again.seq, join.seq);
	assert_int_equal(again.time, join.time);
	assert_string_equal(again.name, join.name);
	for (uint32_t len = record.len; len--;) {
		record.len = len;
		assert_int_equal(join_record_decode(&record, &again), -EUCLEAN);
	}
}

/* ---- What they hold ----------------------------------------------------- */

static bool is_joined(uint64_t version)
{
	bool joined;

	store_lock(w.store);
	joined = version_is_joined(w.forest, version);
	store_unlock(w.store);
	return joined;
}

/* The newest join of two states replaces the one before, and lets go of it. */
static void test_newest(void **state)
{
	struct join_record first, second;

	change(w.main);
	change(one);
	assert_false(join(one, two));
	assert_int_equal(find(NODE_STATE(two), NODE_STATE(one), &first), 0);
	assert_string_equal(first.name, "main@one");
	assert_true(is_joined(first.version));
	assert_true(join(one, two));
	change(one);
	assert_false(join(one, two));
	assert_int_equal(find(NODE_STATE(two), NODE_STATE(one), &second), 0);
	assert_true(second.version != first.version);
	assert_true(second.seq > first.seq);
	assert_true(is_joined(second.version));
	assert_false(is_joined(first.version));
	/* Cut the joins after the first. */
	store_lock(w.store);
	assert_int_equal(join_records_cut(w.forest, NODE_STATE(two), first.seq),
	                 0);
	store_unlock(w.store);
	assert_int_equal(find(NODE_STATE(two), NODE_STATE(one), &second),
	                 -ENOENT);
	assert_false(is_joined(second.version));
}

/* The records go with either state. */
static void test_forget(void **state)
{
	struct join_record record;
	for (int i = 0; i < 2; i++) {
		node_t other = make(&w, NODE_ROOT, i ? "main@b" : "main@a",
		                    S_IFDIR | 0755);
		struct state *s;

		change(other);
		change(two);
		assert_false(join(other, two));
		assert_int_equal(
		        find(NODE_STATE(two), NODE_STATE(other), &record), 0);
		store_lock(w.store);
		assert_int_equal(
		        state_get(w.forest, NODE_STATE(i ? two : other), &s),
		        0);
		assert_int_equal(fs_state_delete(w.fs, s, true), 0);
		store_unlock(w.store);
		assert_int_equal(
		        find(NODE_STATE(two), NODE_STATE(other), &record),
		        -ENOENT);
		assert_false(is_joined(record.version));
	}
}

/* A snapshot contains the joins from before it was made. */
static void test_of_snapshots(void **state)
{
	struct join_record record;
	struct state *fork, *snapshots[2];
	char name[] = "a";

	change(one);
	for (int i = 0; i < 2; i++, name[0]++) {
		store_lock(w.store);
		assert_int_equal(state_get(w.forest, NODE_STATE(two), &fork),
		                 0);
		assert_int_equal(fs_state_snapshot(w.fs, fork, name,
		                                   &fixture_cred,
		                                   &snapshots[i]),
		                 0);
		store_unlock(w.store);
		if (!i)
			assert_false(join(one, two));
	}
	store_lock(w.store);
	assert_int_equal(join_record_of(snapshots[0], 0, &record), -ENOENT);
	assert_int_equal(join_record_of(snapshots[1], 0, &record), 0);
	assert_int_equal(record.from, NODE_STATE(one));
	assert_int_equal(join_record_of(snapshots[1], record.from, &record),
	                 -ENOENT);
	store_unlock(w.store);
}

/* ---- Check and repair --------------------------------------------------- */

static unsigned findings, losses;

static int on_finding(void *arg, const struct finding *finding)
{
	if (arg)
		print_message("# %s\n", finding->text);
	findings++;
	return 0;
}

static int on_loss(void *arg, const struct finding *finding)
{
	print_message("# %s: %s\n", finding->kind, finding->text);
	losses++;
	return 0;
}

static unsigned check(void)
{
	const struct check_options options = {.found = on_finding, .arg = &w};

	assert_int_equal(store_sync(w.store), 0);
	findings = 0;
	assert_int_equal(forest_check(w.store, &options), 0);
	return findings;
}

static void repair(void)
{
	const struct store_options options = {.readonly = true};
	const struct repair_options how = {.found = on_finding,
	                                   .done = on_loss};
	struct repair_result result;
	struct store *store;

	fixture_close(&w);
	assert_int_equal(store_open(w.scratch.store, &options, &store), 0);
	losses = 0;
	assert_int_equal(forest_repair(store, &how, &result), 0);
	assert_true(result.found);
	free(result.kept);
	store_close(store);
	fixture_open(&w);
}

/* Records that lead nowhere are found and removed, and the others are kept. */
static void test_repair(void **state)
{
	const struct join_record bad[] = {
	        {.into = 99, .from = NODE_STATE(one), .version = 1, .seq = 1},
	        {.into = NODE_STATE(one), .from = 99, .version = 1, .seq = 1},
	        {.into = NODE_STATE(one),
	         .from = NODE_STATE(w.main),
	         .version = 12345,
	         .seq = 1},
	};
	struct join_record record, was;
	uint8_t key[JOIN_KEY_MAX];
	size_t len;

	change(w.main);
	change(one);
	assert_false(join(one, two));
	change(one);
	join(w.main, one);
	change(two);
	assert_int_equal(find(NODE_STATE(two), NODE_STATE(one), &was), 0);
	assert_int_equal(check(), 0);
	store_lock(w.store);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(join_record_write(w.store, &bad[i]), 0);
	/* A pointer of its own. */
	record = (struct join_record){.into = NODE_STATE(two), .from = 77};
	len = join_record_key(key, JOIN_BY_FROM, &record);
	assert_int_equal(table_put(w.store, TABLE_HOLD, key, len, NULL, 0), 0);
	store_unlock(w.store);
	assert_true(check() >= 4);
	repair();
	assert_true(losses >= 3);
	assert_int_equal(check(), 0);
	assert_int_equal(find(NODE_STATE(two), NODE_STATE(one), &record), 0);
	assert_string_equal(record.name, was.name);
	assert_true(is_joined(record.version));
	assert_int_equal(find(99, NODE_STATE(one), &record), -ENOENT);
	/* The base of the next join is the version that was kept. */
	change(one);
	assert_false(join(one, two));
	assert_true(join(one, two));
	assert_int_equal(check(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_codec),
	        cmocka_unit_test_setup_teardown(test_newest, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_of_snapshots, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_repair, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
