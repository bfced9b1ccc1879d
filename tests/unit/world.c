/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States of a real store and their twins. */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "audit.h"
#include "engine.h"
#include "util.h"

static uint64_t below(struct world *w, uint64_t n)
{
	return scratch_random(&w->rng) % n;
}

void world_open(struct world *w)
{
	struct store_options options = {.memory = 8 << 20, .commit_ms = 50};

	assert_int_equal(store_open(w->scratch.store, &options, &w->store), 0);
	/* So that some lists are too long for one commit, and others not. */
	if (below(w, 2))
		w->store->ops_most = w->store->ops_most_alone =
		        1 + below(w, 60);
	w->store->sparse.least = 1;
	assert_int_equal(forest_open(w->store, &w->forest), 0);
}

void world_close(struct world *w)
{
	forest_close(w->forest);
	assert_int_equal(store_close(w->store), 0);
}

void world_init(struct world *w, uint64_t seed, bool sharing)
{
	*w = (struct world){.rng = seed, .sharing = sharing};
	scratch_init(&w->scratch);
	assert_int_equal(store_create(w->scratch.store, NULL), 0);
	assert_int_equal(store_open(w->scratch.store, NULL, &w->store), 0);
	assert_int_equal(forest_create(w->store, 0, 0, 0755), 0);
	assert_int_equal(store_close(w->store), 0);
	w->twins = calloc(STATES_MAX, sizeof(*w->twins));
	assert_non_null(w->twins);
	w->len = 1;
	w->twins[0] = (struct twin){.number = 1, .name = "main"};
	world_open(w);
	/* So that it is never deleted. */
	store_lock(w->store);
	assert_int_equal(
	        state_set_default(w->forest, world_get(w, &w->twins[0])), 0);
	store_unlock(w->store);
	assert_int_equal(store_sync(w->store), 0);
}

void world_release(struct world *w)
{
	free(w->twins);
	scratch_release(&w->scratch);
}

struct state *world_get(struct world *w, const struct twin *t)
{
	struct state *s;

	assert_int_equal(state_get(w->forest, t->number, &s), 0);
	return s;
}

struct twin *world_twin(struct world *w, uint64_t number)
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

		assert_non_null(world_twin(w, fork));
		assert_true(strcmp(s->name, after) > 0);
		memcpy(after, s->name, sizeof(after));
		inner[0] = 0;
		while (!(q = state_next(w->forest, fork, inner, &snapshot))) {
			assert_int_equal(world_twin(w, snapshot->number)->fork,
			                 fork);
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
void world_audit(struct world *w)
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

	snprintf(name, sizeof(name), "f%llu", (unsigned long long)++w->names);
	if (!below(w, 10)) {
		struct twin *other = any_fork(w);

		assert_int_equal(state_fork(w->forest, world_get(w, source),
		                            other->name, &s),
		                 -EEXIST);
	}
	assert_int_equal(state_fork(w->forest, world_get(w, source), name, &s),
	                 0);
	assert_int_equal(s->origin, source->number);
	/* Its tree is that of the source. */
	assert_true(state_is_redundant(w->forest, s) ||
	            (source->fork && forest_backlog(w->forest)));
	twin_add(w, source, s);
	w->forks++;
}

static void do_create(struct world *w)
{
	const struct inode root = {.mode = S_IFDIR | 0755, .nlink = 2};
	const struct twin none = {0};
	char name[NAME_LEN_MAX + 1];
	struct state *s;

	snprintf(name, sizeof(name), "t%llu", (unsigned long long)++w->names);
	assert_int_equal(state_create(w->forest, any_fork(w)->name, &root, &s),
	                 -EEXIST);
	assert_int_equal(state_create(w->forest, name, &root, &s), 0);
	assert_int_equal(s->origin, 0);
	assert_true(state_is_redundant(w->forest, s));
	twin_add(w, &none, s);
	w->trees++;
}

static void do_snapshot(struct world *w)
{
	struct twin *source = any_fork(w);
	char name[NAME_LEN_MAX + 1];
	struct state *s, *newest;

	snprintf(name, sizeof(name), "s%llu", (unsigned long long)++w->names);
	assert_int_equal(
	        state_snapshot(w->forest, world_get(w, source), name, &s), 0);
	assert_int_equal(
	        state_newest(w->forest, source->number, INT64_MAX, &newest), 0);
	assert_ptr_equal(s, newest);
	assert_int_equal(state_snapshot(w->forest, s, "x", &s), -EROFS);
	assert_int_equal(
	        state_snapshot(w->forest, world_get(w, source), name, &s),
	        -EEXIST);
	twin_add(w, source, newest);
	w->snapshots++;
}

/* A state that is redundant has its tree in another one, or has none. */
static void check_redundant(struct world *w, const struct twin *t)
{
	static const uint32_t none[FILES];

	if (!state_is_redundant(w->forest, world_get(w, t)) ||
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
	struct state *s = world_get(w, t), *left;
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
		if (w->twins[i].number != number && w->twins[i].fork != number)
			continue;
		gone[1] = w->twins[i].number;
		w->twins[i] = w->twins[--w->len];
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(state_get(w->forest, gone[i], &left), -ESTALE);
	w->deletions++;
}

static void do_rename(struct world *w)
{
	struct twin *t = any_twin(w), *other = any_twin(w);
	char name[NAME_LEN_MAX + 1];
	struct state *left;

	if (t->fork == other->fork && t != other)
		assert_int_equal(
		        state_rename(w->forest, world_get(w, t), other->name),
		        -EEXIST);
	snprintf(name, sizeof(name), "r%llu", (unsigned long long)++w->names);
	assert_int_equal(state_rename(w->forest, world_get(w, t), name), 0);
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
		assert_int_equal(state_edit(world_get(w, t), &tree), -EROFS);
		return;
	}
	if (how == 0) {
		for (int i = 0; i < FILES; i++)
			world_del(w, t, i);
	} else if (how == 1) {
		for (int i = 0; i < FILES; i++)
			world_put(w, t, i, any_seed(w));
	} else if (how < 10) {
		world_del(w, t, (int)below(w, FILES));
	} else {
		world_put(w, t, (int)below(w, FILES), any_seed(w));
	}
}

void world_change(struct world *w)
{
	/* The number of states swings between a few and hundreds. */
	uint64_t grow = w->names / 500 % 2 ? 20 : 60;
	uint64_t how = below(w, 1000);

	assert_int_equal(store_throttle(w->store, true), 0);
	store_lock(w->store);
	if (how < 700)
		do_write(w);
	else if (how < 960 && below(w, 100) < grow && w->len < STATES_MAX)
		(below(w, 2)   ? do_snapshot
		 : below(w, 5) ? do_fork
		               : do_create)(w);
	else if (how < 950)
		do_delete(w, false);
	else if (how < 960)
		do_delete(w, w->len > STATES_MAX / 4);
	else
		do_rename(w);
	store_unlock(w->store);
}

void world_look(struct world *w)
{
	uint64_t how = below(w, 1000);

	if (how < 30) {
		world_compare_state(w, any_twin(w));
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

/* ---- All of it ---------------------------------------------------------- */

void world_compare(struct world *w)
{
	for (size_t i = 0; i < w->len; i++)
		world_compare_state(w, &w->twins[i]);
	compare_listing(w);
}

/* The twin of a state as it is. */
static void twin_read(struct world *w, const struct state *s)
{
	struct twin *t = &w->twins[w->len];
	struct cursor cursor;
	struct item item;
	struct key first = world_inode_key(0);
	struct inode inode;
	int r;

	assert_true(w->len < STATES_MAX);
	*t = (struct twin){
	        .number = s->number, .fork = s->fork, .origin = s->origin};
	memcpy(t->name, s->name, sizeof(t->name));
	r = cursor_seek(&cursor, &s->version->tree, &first, &item);
	for (; !r; r = cursor_next(&cursor, &item)) {
		if (item.key.kind != ITEM_INODE)
			continue;
		assert_int_equal(inode_decode(item.value, item.len, &inode), 0);
		t->files[item.key.ino - INO_FIRST] = (uint32_t)inode.size;
	}
	assert_int_equal(r, -ENOENT);
	w->len++;
}

void world_believe(struct world *w)
{
	char after[NAME_LEN_MAX + 1] = "", inner[NAME_LEN_MAX + 1];
	struct state *s, *snapshot;

	w->len = 0;
	store_lock(w->store);
	while (!state_next(w->forest, 0, after, &s)) {
		uint64_t fork = s->number;

		memcpy(after, s->name, sizeof(after));
		twin_read(w, s);
		inner[0] = 0;
		while (!state_next(w->forest, fork, inner, &snapshot)) {
			memcpy(inner, snapshot->name, sizeof(inner));
			twin_read(w, snapshot);
		}
	}
	store_unlock(w->store);
}

/* Nothing but an empty main: the store must be as good as new. */
void world_end(struct world *w)
{
	struct audit *audit;

	store_lock(w->store);
	for (int i = 0; i < FILES; i++)
		world_del(w, world_twin(w, 1), i);
	assert_true(
	        state_is_redundant(w->forest, world_get(w, world_twin(w, 1))) ||
	        world_get(w, world_twin(w, 1))->snapshots);
	for (size_t i = w->len; i-- > 0;) {
		struct state *s;

		if (w->twins[i].number != 1 &&
		    !state_get(w->forest, w->twins[i].number, &s))
			assert_int_equal(state_delete(w->forest, s, true), 0);
	}
	assert_int_equal(forest_count(w->forest), 1);
	store_unlock(w->store);
	w->twins[0] = *world_twin(w, 1);
	w->len = 1;
	world_audit(w);
	world_compare_state(w, &w->twins[0]);
	compare_listing(w);
	world_close(w);
	audit = audit_read(w->scratch.store);
	assert_int_equal(audit_blocks(audit), 1);
	assert_int_equal(audit_list_entries(audit), 0);
	assert_int_equal(audit_shared(audit), 0);
	audit_destroy(audit);
}
