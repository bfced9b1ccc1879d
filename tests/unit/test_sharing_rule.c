/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many trees that share their nodes, against plain copies: random histories of
 * changes, forks, snapshots, deletions, commits and reopenings, under the
 * sharing rule.  Nothing may be lost, freed twice, changed while shared, or
 * left over.
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

#include "fake_block.h"
#include "model.h"
#include "util.h"

enum { STATES_MAX = 40, ITEMS_MAX = 6000 };

/* A version as in the real lineage; those that exist are in a ring. */
struct version {
	struct tree tree;
	struct version *parent;
	uint64_t freeze;
	bool named;
	struct version *next, *prev;
};

struct state {
	struct version *version;
	bool readonly;
	struct model model;
	struct key at; /* where it appends */
};

struct forest {
	struct store *store;
	uint64_t rng;
	struct version ring;
	struct state states[STATES_MAX];
	size_t count;
	uint32_t value_max;
	uint64_t spread; /* of keys */
	uint64_t forks, reaps, merges, failures, reopenings, diffs;
};

static uint64_t below(struct forest *f, uint64_t n)
{
	return rng_below(&f->rng, n);
}

static struct version *version_new(struct forest *f, struct version *parent)
{
	struct version *v = calloc(1, sizeof(*v));

	assert_non_null(v);
	v->tree.store = f->store;
	v->tree.list = fake_list_new(f->store);
	v->named = true;
	v->parent = parent;
	if (parent) {
		v->tree.root = parent->tree.root;
		v->tree.base = parent->freeze;
	}
	v->next = f->ring.next;
	v->prev = &f->ring;
	v->next->prev = v->prev->next = v;
	return v;
}

static void version_free(struct forest *f, struct version *v)
{
	fake_list_drop(f->store, v->tree.list);
	v->next->prev = v->prev;
	v->prev->next = v->next;
	free(v);
}

static size_t version_children(struct forest *f, const struct version *v,
                               struct version **ret_kid)
{
	size_t children = 0;

	for (struct version *k = f->ring.next; k != &f->ring; k = k->next) {
		if (k->parent == v) {
			*ret_kid = k;
			children++;
		}
	}
	return children;
}

/* The version that holds what the state is now. */
static struct version *state_freeze(struct forest *f, struct state *state)
{
	struct version *v = state->version;

	if (state->readonly)
		return v;
	if (v->parent && v->tree.root == v->parent->tree.root)
		return v->parent;
	v->freeze = store_next_seq(f->store);
	v->named = false;
	state->version = version_new(f, v);
	return v;
}

static void state_fork(struct forest *f, struct state *from, bool readonly)
{
	struct state *state = &f->states[f->count++];

	*state = (struct state){.readonly = readonly, .at = from->at};
	state->version = version_new(f, state_freeze(f, from));
	model_copy(&state->model, &from->model);
	if (readonly)
		state->version->freeze = store_next_seq(f->store);
	f->forks++;
}

/* ---- Deletion ----------------------------------------------------------- */

static void drop_chunk(void *arg, const struct item *item)
{
	uint64_t chunk = model_chunk(item->value, item->len);

	if (chunk)
		tree_drop(arg, chunk);
}

static void version_reap(struct forest *f, struct version *v)
{
	struct key from = {0};
	int err;

	do {
		err = tree_reap(&v->tree, &from, (uint32_t)below(f, 20) + 1,
		                drop_chunk, &v->tree);
		if (!below(f, 50))
			fake_reopen(f->store);
	} while (err == -EAGAIN);
	assert_int_equal(err, 0);
	f->reaps++;
}

static void version_merge(struct forest *f, struct version *v,
                          struct version *kid)
{
	uint64_t list = kid->tree.list;

	for (size_t i = 0; i < fake_list_count(f->store, list); i++) {
		uint64_t number = fake_list_at(f->store, list, i);

		if (number > v->tree.base)
			fake_free(f->store, number);
		else
			fake_list_add(f->store, v->tree.list, number);
	}
	kid->tree.list = v->tree.list;
	kid->tree.base = v->tree.base;
	kid->parent = v->parent;
	v->tree.list = list;
	version_free(f, v);
	f->merges++;
}

static void version_reduce(struct forest *f, struct version *v)
{
	while (v && !v->named) {
		struct version *parent = v->parent;
		struct version *kid = NULL;
		size_t children = version_children(f, v, &kid);

		if (children > 1)
			return;
		if (children) {
			version_merge(f, v, kid);
			return;
		}
		version_reap(f, v);
		version_free(f, v);
		v = parent;
	}
}

static void state_delete(struct forest *f, struct state *state)
{
	struct version *v = state->version;

	model_release(&state->model);
	*state = f->states[--f->count];
	v->named = false;
	version_reduce(f, v);
}

/* ---- Comparing ---------------------------------------------------------- */

static void compare_state(struct state *state)
{
	struct key first = {0};
	struct cursor cursor;
	struct item item;
	size_t i = 0;
	int err = cursor_seek(&cursor, &state->version->tree, &first, &item);

	for (; !err; i++, err = cursor_next(&cursor, &item)) {
		assert_true(i < state->model.count);
		assert_true(model_same(&state->model.at[i], &item));
	}
	assert_int_equal(err, -ENOENT);
	assert_int_equal(i, state->model.count);
}

static bool check_enter(void *arg, uint64_t number, int level, bool is_private)
{
	return fake_mark(arg, number);
}

static void check_item(void *arg, uint64_t number, const struct item *item)
{
	uint64_t chunk = model_chunk(item->value, item->len);

	if (chunk)
		fake_mark(arg, chunk);
}

static void check_damage(void *arg, uint64_t number, int level,
                         const char *what)
{
	fail_msg("node %llu on level %d: %s", (unsigned long long)number, level,
	         what);
}

/* Every tree is intact, and what they reach is what there is. */
static void check_intact(struct forest *f)
{
	struct tree_checker checker = {check_enter, check_item, check_damage,
	                               f->store};

	fake_mark_begin(f->store);
	for (struct version *v = f->ring.next; v != &f->ring; v = v->next) {
		struct key from = {0};
		int err;

		do {
			err = tree_check(&v->tree, &from,
			                 (uint32_t)below(f, 50), &checker);
		} while (err == -EAGAIN);
		assert_int_equal(err, 0);
	}
	assert_int_equal(fake_marked(f->store), fake_blocks(f->store));
}

struct diff_walk {
	const struct model *a, *b;
	size_t ia, ib;
};

/* On to the next difference of the model. */
static void diff_skip_same(struct diff_walk *walk)
{
	while (walk->ia < walk->a->count && walk->ib < walk->b->count) {
		const struct model_item *a = &walk->a->at[walk->ia];
		const struct model_item *b = &walk->b->at[walk->ib];
		uint8_t va[TREE_VALUE_MAX], vb[TREE_VALUE_MAX];

		model_value(a, va);
		model_value(b, vb);
		if (key_compare(&a->key, &b->key) || a->len != b->len ||
		    memcmp(va, vb, a->len))
			return;
		walk->ia++;
		walk->ib++;
	}
}

static int diff_item(void *arg, const struct item *a, const struct item *b)
{
	struct diff_walk *walk = arg;

	diff_skip_same(walk);
	assert_true(a || b);
	if (a) {
		assert_true(walk->ia < walk->a->count);
		assert_true(model_same(&walk->a->at[walk->ia], a));
	}
	if (b) {
		assert_true(walk->ib < walk->b->count);
		assert_true(model_same(&walk->b->at[walk->ib], b));
	}
	/* An item of one side: the other side's next key comes later. */
	if (!b && walk->ib < walk->b->count)
		assert_true(key_compare(&a->key, &walk->b->at[walk->ib].key) <
		            0);
	if (!a && walk->ia < walk->a->count)
		assert_true(key_compare(&b->key, &walk->a->at[walk->ia].key) <
		            0);
	walk->ia += a != NULL;
	walk->ib += b != NULL;
	return 0;
}

static void compare_diff(struct forest *f)
{
	struct state *a = &f->states[below(f, f->count)];
	struct state *b = &f->states[below(f, f->count)];
	struct diff_walk walk = {&a->model, &b->model, 0, 0};
	uint32_t limit = (uint32_t)below(f, 3) * (uint32_t)below(f, 100);
	struct key from = {0};
	int err;

	if (below(f, 2) && a->model.count) {
		from = a->model.at[below(f, a->model.count)].key;
		walk.ia = model_find(walk.a, &from);
		walk.ib = model_find(walk.b, &from);
	}
	do {
		err = tree_diff(&a->version->tree, &b->version->tree, &from,
		                limit, diff_item, &walk);
	} while (err == -EAGAIN);
	assert_int_equal(err, 0);
	diff_skip_same(&walk);
	assert_int_equal(walk.ia, walk.a->count);
	assert_int_equal(walk.ib, walk.b->count);
	f->diffs++;
}

/* ---- Changes ------------------------------------------------------------ */

static struct key random_key(struct forest *f, struct state *state)
{
	uint64_t how = below(f, 10);

	if (how < 3 && state->model.count)
		return state->model.at[below(f, state->model.count)].key;
	if (how < 5) {
		/* The next of a file's extents, or the next file's. */
		if (below(f, 20))
			state->at.off++;
		else
			state->at = (struct key){state->at.ino + 1, 6, 0};
		return state->at;
	}
	return (struct key){
	        .ino = below(f, 2) ? 1 : below(f, f->spread),
	        .kind = (uint8_t)(1 + below(f, 6)),
	        .off = below(f, 3)   ? below(f, f->spread)
	               : below(f, 2) ? 0
	                             : rng_next(&f->rng) >> 1 << 4,
	};
}

static void change_put(struct forest *f, struct state *state)
{
	struct tree *tree = &state->version->tree;
	struct key key = random_key(f, state);
	struct model_item *old = model_get(&state->model, &key);
	uint64_t old_chunk = old ? old->chunk : 0;
	struct model_item item = {
	        .key = key,
	        .seed = (uint32_t)below(f, 100),
	        .len = (uint32_t)(below(f, 8) ? below(f, 60)
	                                      : below(f, f->value_max + 1)),
	};
	uint8_t value[TREE_VALUE_MAX];
	uint64_t blocks;
	int err;

	item.len = MIN(item.len, f->value_max);
	if (item.len >= 9 && !below(f, 4))
		item.chunk = fake_chunk(tree);
	model_value(&item, value);
	blocks = fake_blocks(f->store);
	err = tree_put(tree, &key, value, item.len);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		f->failures++;
		if (item.chunk)
			tree_drop(tree, item.chunk);
		return;
	}
	if (old && old->len == item.len && old->seed == item.seed &&
	    old->chunk == item.chunk)
		assert_int_equal(fake_blocks(f->store), blocks);
	if (old_chunk)
		tree_drop(tree, old_chunk);
	model_put(&state->model, &item);
}

static void change_del(struct forest *f, struct state *state)
{
	struct tree *tree = &state->version->tree;
	struct key key = random_key(f, state);
	struct model_item *old = model_get(&state->model, &key);
	uint64_t root = tree->root;
	int err = tree_del(tree, &key);

	if (!old) {
		assert_int_equal(err, -ENOENT);
		assert_int_equal(root, tree->root);
		return;
	}
	if (err) {
		assert_int_equal(err, -ENOMEM);
		f->failures++;
		return;
	}
	if (old->chunk)
		tree_drop(tree, old->chunk);
	model_del(&state->model, &key);
}

/* Now and then nearly all of it, so that nodes merge and roots shrink. */
static void change_clear(struct forest *f, struct state *state)
{
	size_t leave = below(f, 2) ? 0 : below(f, 50);
	bool front = below(f, 2);

	while (state->model.count > leave) {
		struct model_item item =
		        state->model
		                .at[front ? 0 : below(f, state->model.count)];

		assert_int_equal(tree_del(&state->version->tree, &item.key), 0);
		if (item.chunk)
			tree_drop(&state->version->tree, item.chunk);
		model_del(&state->model, &item.key);
	}
	if (!leave)
		assert_int_equal(state->version->tree.root, 0);
}

static void look(struct forest *f, struct state *state)
{
	struct tree *tree = &state->version->tree;
	struct key key = random_key(f, state);
	size_t at = model_find(&state->model, &key);
	struct model_item *same = model_get(&state->model, &key);
	struct item item;
	int err = tree_get(tree, &key, &item);

	assert_int_equal(err, same ? 0 : -ENOENT);
	if (same)
		assert_true(model_same(same, &item));
	err = tree_seek(tree, &key, &item);
	assert_int_equal(err, at < state->model.count ? 0 : -ENOENT);
	if (!err)
		assert_true(model_same(&state->model.at[at], &item));
	at = same ? at : at - 1;
	err = tree_seek_back(tree, &key, &item);
	assert_int_equal(err, at < state->model.count ? 0 : -ENOENT);
	if (!err)
		assert_true(model_same(&state->model.at[at], &item));
}

static void step(struct forest *f)
{
	struct state *state = &f->states[below(f, f->count)];
	uint64_t what = below(f, 10000);

	if (what < 3000) {
		look(f, state);
	} else if (what < 9950) {
		bool grow = state->model.count < ITEMS_MAX;

		if (state->readonly)
			return;
		if (!below(f, 20))
			fake_fail(f->store, (int)below(f, 6));
		if (grow && what < 7500)
			change_put(f, state);
		else
			change_del(f, state);
		fake_fail(f->store, -1);
	} else if (what < 9951) {
		if (!state->readonly)
			change_clear(f, state);
	} else if (what < 9955) {
		fake_freeze(f->store);
	} else if (what < 9956) {
		fake_reopen(f->store);
		f->reopenings++;
	} else if (what < 9966) {
		compare_diff(f);
	} else if (what < 9978) {
		if (f->count < STATES_MAX)
			state_fork(f, state, what >= 9974);
	} else if (what < 9988 && f->count > 1) {
		state_delete(f, state);
	}
}

static void history(uint32_t node_size, uint64_t seed, uint64_t ops)
{
	struct forest f = {.rng = seed};
	struct model empty = {0};

	f.store = fake_create(node_size);
	f.value_max = MIN((uint32_t)TREE_VALUE_MAX, node_size / 4);
	f.spread = UINT64_C(1) << (3 + below(&f, 24));
	f.ring.next = f.ring.prev = &f.ring;
	f.states[0].version = version_new(&f, NULL);
	f.states[0].model = empty;
	f.states[0].at = (struct key){f.spread, 6, 0};
	f.count = 1;
	for (uint64_t i = 0; i < ops; i++) {
		step(&f);
		if (i % (ops / 8 + 1) == ops / 8) {
			for (size_t s = 0; s < f.count; s++)
				compare_state(&f.states[s]);
			check_intact(&f);
		}
	}
	while (f.count)
		state_delete(&f, &f.states[below(&f, f.count)]);
	assert_int_equal(fake_blocks(f.store), 0);
	assert_ptr_equal(f.ring.next, &f.ring);
	fake_destroy(f.store);
	print_message("# node size %u: %llu forks, %llu reaped, %llu merged, "
	              "%llu reopenings, %llu diffs, %llu failed changes\n",
	              node_size, (unsigned long long)f.forks,
	              (unsigned long long)f.reaps, (unsigned long long)f.merges,
	              (unsigned long long)f.reopenings,
	              (unsigned long long)f.diffs,
	              (unsigned long long)f.failures);
}

static void test_histories(void **arg)
{
	static const uint32_t sizes[] = {512, 1024, 2016, 4080};
	uint64_t seed = env_number("COPPICE_SEED", (uint64_t)now_ns());
	uint64_t ops = env_number("COPPICE_OPS", 2500000);
	enum { ROUNDS = 3 };

	print_message("# COPPICE_SEED=%llu COPPICE_OPS=%llu\n",
	              (unsigned long long)seed, (unsigned long long)ops);
	for (unsigned i = 0; i < ROUNDS * ARRAY_SIZE(sizes); i++)
		history(sizes[i % ARRAY_SIZE(sizes)], seed + i,
		        ops / (ROUNDS * ARRAY_SIZE(sizes)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
