/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bases of joins, in random histories of changes and joins between forks:
 * held against sets of the changes that each version contains.
 *
 * COPPICE_SEED runs one history alone.
 */
#include "fs_fixture.h"

#include <stdio.h>
#include <string.h>

#include "join_base.h"

enum { STATES = 4, STEPS = 24, HISTORIES = 30, HELD = STATES * (STEPS + 1) };

static struct fixture w;
static uint64_t running;

/* A version, and bits of the changes that it contains. */
struct held {
	struct state_hold hold;
	uint64_t changes;
};

static struct history {
	node_t roots[STATES];
	uint64_t changes[STATES];
	/* Change that was joined last: [into][from]. */
	uint64_t joined[STATES][STATES];
	unsigned count; /* changes so far */
	struct held held[HELD];
	unsigned held_count;
	uint64_t rng;
} h;

static struct state *state_of(int s)
{
	struct state *state;

	assert_int_equal(state_get(w.forest, NODE_STATE(h.roots[s]), &state),
	                 0);
	return state;
}

/* Hold all states as they are, so that each version keeps its number. */
static void hold_all(void)
{
	store_lock(w.store);
	for (int s = 0; s < STATES; s++) {
		struct held *held = &h.held[h.held_count++];

		assert_int_equal(state_hold(state_of(s), &held->hold), 0);
		held->changes = h.changes[s];
	}
	store_unlock(w.store);
}

static void change(int s)
{
	char name[16];

	snprintf(name, sizeof(name), "f%u", h.count);
	put_text(&w, make(&w, h.roots[s], name, S_IFREG | 0644), 0, "x");
	h.changes[s] |= UINT64_C(1) << h.count++;
}

static void join(int from, int into)
{
	struct fs_join what = {.from = NODE_STATE(h.roots[from]),
	                       .into = NODE_STATE(h.roots[into])};
	struct fs_joined joined;
	int err = fs_join(w.fs, &what, &joined);

	/* Crossed joins may leave too many bases. */
	assert_true(!err || err == -EMLINK);
	if (!err) {
		assert_int_equal(joined.conflicts, 0);
		h.changes[into] |= h.changes[from];
		h.joined[into][from] = h.changes[from];
	}
	fs_joined_release(w.fs, &joined);
}

/* Return the changes of a version that is held. */
static uint64_t changes_of(uint64_t version)
{
	for (unsigned i = 0; i < h.held_count; i++) {
		if (hold_version(&h.held[i].hold) == version)
			return h.held[i].changes;
	}
	fail_msg("version %llu was never held", (unsigned long long)version);
	return 0;
}

/*
 * The bases have nothing that one side has not, and all that was joined between
 * the two; none of them contains another.  What came by way of others may be
 * missing, because only the last join of two states is known.
 */
static void compare(int ours, int theirs)
{
	const struct held *last = &h.held[h.held_count - STATES];
	uint64_t ids[JOIN_BASES_MAX], sets[JOIN_BASES_MAX], all = 0;
	int count;

	store_lock(w.store);
	count = join_bases(state_of(ours), &last[ours].hold, state_of(theirs),
	                   &last[theirs].hold, JOIN_BASES_MAX, ids);
	store_unlock(w.store);
	if (count == -EMLINK)
		return;
	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		sets[i] = changes_of(ids[i]);
		all |= sets[i];
		for (int k = 0; k < i; k++) {
			assert_true(sets[i] & ~sets[k]);
			assert_true(sets[k] & ~sets[i]);
		}
	}
	assert_false(all & ~(last[ours].changes & last[theirs].changes));
}

static void history_run(uint64_t seed)
{
	fixture_init(&w, 12);
	h = (struct history){.rng = seed, .roots = {w.main}};
	for (int s = 1; s < STATES; s++) {
		char name[16];

		snprintf(name, sizeof(name), "main@%d", s);
		h.roots[s] = make(&w, NODE_ROOT, name, S_IFDIR | 0755);
	}
	hold_all();
	for (int step = 0; step < STEPS; step++) {
		int a = (int)(scratch_random(&h.rng) % STATES);
		int b = (int)(scratch_random(&h.rng) % STATES);
		if (a == b || scratch_random(&h.rng) % 2)
			change(a);
		else
			join(a, b);
		hold_all();
		for (int i = 0; i < STATES * STATES; i++) {
			if (i / STATES != i % STATES)
				compare(i / STATES, i % STATES);
		}
	}
	store_lock(w.store);
	for (unsigned i = 0; i < h.held_count; i++)
		hold_release(w.forest, &h.held[i].hold);
	store_unlock(w.store);
	fixture_release(&w);
}

static void test_histories(void **state)
{
	const char *only = getenv("COPPICE_SEED");
	uint64_t seed = only ? strtoull(only, NULL, 10) : 1;
	uint64_t end = only ? seed + 1 : HISTORIES + 1;

	for (; seed < end; seed++) {
		running = seed;
		history_run(seed);
	}
}

/*
 * A fork that has switched to the tree of another one contains what that had
 * joined.
 */
static void test_switched(void **state)
{
	struct fs_join what;
	struct fs_joined joined;
	node_t one, two;

	fixture_init(&w, 12);
	one = make(&w, NODE_ROOT, "main@one", S_IFDIR | 0755);
	two = make(&w, NODE_ROOT, "main@two", S_IFDIR | 0755);
	put_text(&w, make(&w, w.main, "a", S_IFREG | 0644), 0, "a");
	put_text(&w, make(&w, one, "b", S_IFREG | 0644), 0, "b");
	/* main into one, and one into two, which has no changes of its own. */
	what = (struct fs_join){.from = NODE_STATE(w.main),
	                        .into = NODE_STATE(one)};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fs_join(w.fs, &what, &joined), 0);
		assert_true(joined.done);
		fs_joined_release(w.fs, &joined);
		what.from = NODE_STATE(one);
		what.into = NODE_STATE(two);
	}
	/* Main has nothing for two, before and after a change of two. */
	what.from = NODE_STATE(w.main);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fs_join(w.fs, &what, &joined), 0);
		assert_null(joined.plan);
		fs_joined_release(w.fs, &joined);
		if (!i)
			make(&w, two, "c", S_IFREG | 0644);
	}
	fixture_release(&w);
}

/* A fork of a fork knows what its source had joined before. */
static void test_forks_of_forks(void **state)
{
	struct fs_join what;
	struct fs_joined joined;
	node_t other, fork;

	fixture_init(&w, 12);
	other = make(&w, NODE_ROOT, "main@other", S_IFDIR | 0755);
	put_text(&w, make(&w, other, "a", S_IFREG | 0644), 0, "a");
	put_text(&w, make(&w, w.main, "b", S_IFREG | 0644), 0, "b");
	what = (struct fs_join){.from = NODE_STATE(other),
	                        .into = NODE_STATE(w.main)};
	assert_int_equal(fs_join(w.fs, &what, &joined), 0);
	fs_joined_release(w.fs, &joined);
	fork = make(&w, NODE_ROOT, "main@fork", S_IFDIR | 0755);
	what.into = NODE_STATE(fork);
	assert_int_equal(fs_join(w.fs, &what, &joined), 0);
	assert_null(joined.plan);
	fs_joined_release(w.fs, &joined);
	/* Two trees that were made apart have nothing in common. */
	what.from = NODE_STATE(make(&w, NODE_ROOT, "apart", S_IFDIR | 0755));
	assert_int_equal(fs_join(w.fs, &what, &joined), -ENODATA);
	fs_joined_release(w.fs, &joined);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_histories),
	        cmocka_unit_test(test_switched),
	        cmocka_unit_test(test_forks_of_forks),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (failed)
		fprintf(stderr, "COPPICE_SEED=%llu\n",
		        (unsigned long long)running);
	return failed;
}
