/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States of a real store and their model. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fsck.h"
#include "engine.h"
#include "util.h"

static uint64_t below(struct fixture *w, uint64_t n)
{
	return scratch_random(&w->rng) % n;
}

void fixture_open(struct fixture *w)
{
	struct store_options options = {.memory = 8 << 20, .commit_ms = 50};

	assert_int_equal(store_open(w->scratch.store, &options, &w->store), 0);
	/* Some lists are then too long for one commit, and others not. */
	if (below(w, 2))
		w->store->ops_most = w->store->ops_most_alone =
		        1 + below(w, 60);
	w->store->sparse.least = 1;
	assert_int_equal(forest_open(w->store, &w->forest), 0);
}

void fixture_close(struct fixture *w)
{
	forest_close(w->forest);
	assert_int_equal(store_close(w->store), 0);
}

void fixture_init(struct fixture *w, uint64_t seed, bool sharing)
{
	*w = (struct fixture){.rng = seed, .sharing = sharing};
	scratch_init(&w->scratch);
	assert_int_equal(store_create(w->scratch.store, NULL), 0);
	assert_int_equal(store_open(w->scratch.store, NULL, &w->store), 0);
	assert_int_equal(forest_create(w->store, 0, 0, 0755), 0);
	assert_int_equal(store_close(w->store), 0);
	w->model = calloc(STATES_MAX, sizeof(*w->model));
	assert_non_null(w->model);
	w->len = 1;
	w->model[0] = (struct model){.number = 1, .name = "main"};
	fixture_open(w);
	/* The default state is never deleted. */
	store_lock(w->store);
	assert_int_equal(
	        state_set_default(w->forest, fixture_get(w, &w->model[0])), 0);
	store_unlock(w->store);
	assert_int_equal(store_sync(w->store), 0);
}

void fixture_release(struct fixture *w)
{
	free(w->model);
	scratch_release(&w->scratch);
}

struct state *fixture_get(struct fixture *w, const struct model *t)
{
	struct state *s;

	assert_int_equal(state_get(w->forest, t->number, &s), 0);
	return s;
}

struct model *fixture_model(struct fixture *w, uint64_t number)
{
	for (size_t i = 0; i < w->len; i++)
		if (w->model[i].number == number)
			return &w->model[i];
	return NULL;
}

static struct model *any_model(struct fixture *w)
{
	return &w->model[below(w, w->len)];
}

static struct model *any_fork(struct fixture *w)
{
	struct model *t;

	do
		t = any_model(w);
	while (t->fork);
	return t;
}

/* The listing is the model, in order. */
static void compare_listing(struct fixture *w)
{
	char after[NAME_LEN_MAX + 1] = "", inner[NAME_LEN_MAX + 1];
	struct state *s, *snapshot;
	size_t count = 0;
	int r, q;

	store_lock(w->store);
	while (!(r = state_next(w->forest, 0, after, &s))) {
		uint64_t fork = s->number;

		assert_non_null(fixture_model(w, fork));
		assert_true(strcmp(s->name, after) > 0);
		memcpy(after, s->name, sizeof(after));
		inner[0] = 0;
		while (!(q = state_next(w->forest, fork, inner, &snapshot))) {
			assert_int_equal(
			        fixture_model(w, snapshot->number)->fork, fork);
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

static int ignore(void *arg, const struct swept *swept)
{
	(void)arg, (void)swept;
	return 0;
}

/* Drain, close, and hold everything against everything. */
void fixture_fsck(struct fixture *w)
{
	struct fsck *fsck;

	assert_int_equal(forest_drain(w->forest), 0);
	if (w->sweeps)
		assert_int_equal(forest_sweep(w->forest, false, ignore, NULL),
		                 0);
	fixture_close(w);
	fsck = fsck_read(w->scratch.store);
	fixture_open(w);
	fsck_check(fsck, w->forest);
	fsck_destroy(fsck);
	w->checks++;
}

void fixture_crash(struct fixture *w, uint64_t steps,
                   void (*step)(struct fixture *w), bool sync)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open(w);
		for (uint64_t i = 0; i < steps; i++)
			step(w);
		if (sync)
			store_sync(w->store);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int on_found(void *arg, const struct finding *finding)
{
	if (finding->ino ||
	    (finding->version && !strcmp(finding->kind, "count")))
		return 0;
	print_message("# %s: %s, version %llu: %s\n", finding->kind,
	              finding->state ? finding->state : "",
	              (unsigned long long)finding->version, finding->text);
	++*(uint64_t *)arg;
	return 0;
}

uint64_t fixture_findings(struct fixture *w)
{
	uint64_t count = 0;
	const struct check_options options = {.found = on_found, .arg = &count};

	assert_int_equal(store_sync(w->store), 0);
	assert_int_equal(forest_check(w->store, &options), 0);
	return count;
}

/* ---- Changes ------------------------------------------------------------ */

static void model_add(struct fixture *w, const struct model *source,
                      const struct state *s)
{
	struct model *t = &w->model[w->len];

	*t = *source;
	t->number = s->number;
	t->fork = s->fork;
	t->origin = source->number;
	memcpy(t->name, s->name, sizeof(t->name));
	w->len++;
}

static void do_fork(struct fixture *w)
{
	struct model *source = any_model(w);
	char name[NAME_LEN_MAX + 1];
	struct state *s;

	snprintf(name, sizeof(name), "f%llu", (unsigned long long)++w->names);
	if (!below(w, 10)) {
		struct model *other = any_fork(w);

		assert_int_equal(state_fork(w->forest, fixture_get(w, source),
		                            other->name, &s),
		                 -EEXIST);
	}
	assert_int_equal(
	        state_fork(w->forest, fixture_get(w, source), name, &s), 0);
	assert_int_equal(s->origin, source->number);
	/* The fork's tree is the source's. */
	assert_true(state_is_redundant(w->forest, s) ||
	            (source->fork && (forest_backlog(w->forest) ||
	                              w->forest->meta.trashed_snapshots)));
	model_add(w, source, s);
	w->forks++;
}

static void do_create(struct fixture *w)
{
	const struct inode root = {.mode = S_IFDIR | 0755, .nlink = 2};
	const struct model none = {0};
	char name[NAME_LEN_MAX + 1];
	struct state *s;

	snprintf(name, sizeof(name), "t%llu", (unsigned long long)++w->names);
	assert_int_equal(state_create(w->forest, any_fork(w)->name, &root, &s),
	                 -EEXIST);
	assert_int_equal(state_create(w->forest, name, &root, &s), 0);
	assert_int_equal(s->origin, 0);
	assert_true(state_is_redundant(w->forest, s));
	model_add(w, &none, s);
	w->trees++;
}

static void do_snapshot(struct fixture *w)
{
	struct model *source = any_fork(w);
	char name[NAME_LEN_MAX + 1];
	struct state *s, *newest;

	snprintf(name, sizeof(name), "s%llu", (unsigned long long)++w->names);
	assert_int_equal(
	        state_snapshot(w->forest, fixture_get(w, source), name, &s), 0);
	assert_int_equal(
	        state_newest(w->forest, source->number, INT64_MAX, &newest), 0);
	assert_ptr_equal(s, newest);
	assert_int_equal(state_snapshot(w->forest, s, "x", &s), -EROFS);
	assert_int_equal(
	        state_snapshot(w->forest, fixture_get(w, source), name, &s),
	        -EEXIST);
	model_add(w, source, newest);
	w->snapshots++;
}

/* A state that is redundant has its tree in another one, or has none. */
static void check_redundant(struct fixture *w, const struct model *t)
{
	static const uint32_t none[FILES];

	if (!state_is_redundant(w->forest, fixture_get(w, t)) ||
	    !memcmp(t->files, none, sizeof(none)))
		return;
	for (size_t i = 0; i < w->len; i++)
		if (w->model[i].number != t->number &&
		    !memcmp(w->model[i].files, t->files, sizeof(none)))
			return;
	fail_msg("'%s' is not redundant", t->name);
}

static void do_delete(struct fixture *w, bool recursive)
{
	struct model *t = any_model(w);
	uint64_t number = t->number, gone[2];
	struct state *s = fixture_get(w, t), *left;
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
		if (w->model[i].number != number && w->model[i].fork != number)
			continue;
		gone[1] = w->model[i].number;
		w->model[i] = w->model[--w->len];
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(state_get(w->forest, gone[i], &left), -ESTALE);
	w->deletions++;
}

static void do_rename(struct fixture *w)
{
	struct model *t = any_model(w), *other = any_model(w);
	char name[NAME_LEN_MAX + 1];
	struct state *left;

	if (t->fork == other->fork && t != other)
		assert_int_equal(
		        state_rename(w->forest, fixture_get(w, t), other->name),
		        -EEXIST);
	snprintf(name, sizeof(name), "r%llu", (unsigned long long)++w->names);
	assert_int_equal(state_rename(w->forest, fixture_get(w, t), name), 0);
	assert_int_equal(state_find(w->forest, t->fork, t->name, &left),
	                 -ENOENT);
	memcpy(t->name, name, sizeof(name));
}

static uint32_t any_seed(struct fixture *w)
{
	if (w->sharing && w->seeds && !below(w, 4))
		return 1 + (uint32_t)below(w, w->seeds);
	return ++w->seeds;
}

static void do_write(struct fixture *w)
{
	struct model *t = any_model(w);
	struct tree *tree;
	uint64_t how = below(w, 40);

	if (t->fork) {
		assert_int_equal(state_edit(fixture_get(w, t), &tree), -EROFS);
		return;
	}
	if (how == 0) {
		for (int i = 0; i < FILES; i++)
			fixture_del(w, t, i);
	} else if (how == 1) {
		for (int i = 0; i < FILES; i++)
			fixture_put(w, t, i, any_seed(w));
	} else if (how < 10) {
		fixture_del(w, t, (int)below(w, FILES));
	} else {
		fixture_put(w, t, (int)below(w, FILES), any_seed(w));
	}
}

void fixture_change(struct fixture *w)
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

void fixture_look(struct fixture *w)
{
	uint64_t how = below(w, 1000);

	if (how < 30) {
		fixture_compare_state(w, any_model(w));
	} else if (how < 32) {
		assert_int_equal(store_sync(w->store), 0);
	} else if (how == 32) {
		store_commit_start(w->store);
	} else if (how == 33 && !below(w, 4)) {
		fixture_close(w);
		fixture_open(w);
		w->reopenings++;
	} else if (how == 34 && !below(w, 8)) {
		compare_listing(w);
	} else if (how == 35 && !below(w, 40)) {
		fixture_fsck(w);
	}
}

/* ---- All of it ---------------------------------------------------------- */

void fixture_compare(struct fixture *w)
{
	for (size_t i = 0; i < w->len; i++)
		fixture_compare_state(w, &w->model[i]);
	compare_listing(w);
}

/* Make a model of the state as it is. */
static void model_read(struct fixture *w, const struct state *s)
{
	struct model *t = &w->model[w->len];
	struct cursor cursor;
	struct item item;
	struct key first = fixture_inode_key(0);
	struct inode inode;
	int r;

	assert_true(w->len < STATES_MAX);
	*t = (struct model){
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

void fixture_believe(struct fixture *w)
{
	char after[NAME_LEN_MAX + 1] = "", inner[NAME_LEN_MAX + 1];
	struct state *s, *snapshot;

	w->len = 0;
	store_lock(w->store);
	while (!state_next(w->forest, 0, after, &s)) {
		uint64_t fork = s->number;

		memcpy(after, s->name, sizeof(after));
		model_read(w, s);
		inner[0] = 0;
		while (!state_next(w->forest, fork, inner, &snapshot)) {
			memcpy(inner, snapshot->name, sizeof(inner));
			model_read(w, snapshot);
		}
	}
	store_unlock(w->store);
}

/* With only an empty main, the store must be as good as new. */
void fixture_end(struct fixture *w)
{
	struct fsck *fsck;

	store_lock(w->store);
	for (int i = 0; i < FILES; i++)
		fixture_del(w, fixture_model(w, 1), i);
	assert_true(state_is_redundant(w->forest,
	                               fixture_get(w, fixture_model(w, 1))) ||
	            fixture_get(w, fixture_model(w, 1))->snapshots);
	for (size_t i = w->len; i-- > 0;) {
		struct state *s;

		if (w->model[i].number != 1 &&
		    !state_get(w->forest, w->model[i].number, &s))
			assert_int_equal(state_delete(w->forest, s, true), 0);
	}
	assert_int_equal(forest_count(w->forest), 1);
	store_unlock(w->store);
	w->model[0] = *fixture_model(w, 1);
	w->len = 1;
	fixture_fsck(w);
	fixture_compare_state(w, &w->model[0]);
	compare_listing(w);
	fixture_close(w);
	fsck = fsck_read(w->scratch.store);
	assert_int_equal(fsck_blocks(fsck), 1);
	assert_int_equal(fsck_list_entries(fsck), 0);
	assert_int_equal(fsck_shared(fsck), 0);
	fsck_destroy(fsck);
}
