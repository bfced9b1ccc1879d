/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random batches, forks, snapshots, resets and removals by the library, beside
 * plain memory; another process reads the snapshots meanwhile.
 */
#include <stdio.h>
#include <sys/wait.h>

#include "lib_fixture.h"

enum { KEYS = 60, STATES = 24, VALUE_MAX = 70000, OPS = 700 };

/* A value is its length and the seed of its bytes. */
struct value {
	uint32_t len; /* UINT32_MAX: there is none */
	uint32_t seed;
};

struct model {
	bool used, readonly;
	char name[64];
	struct value values[KEYS];
};

struct world {
	struct coppice *store;
	struct model states[STATES];
	uint64_t random;
	unsigned names;
	FILE *ask, *answers; /* to the reader, and from it */
};

static uint32_t pick(struct world *w, uint32_t below)
{
	return (uint32_t)(scratch_random(&w->random) % below);
}

static void key_path(int key, char path[32])
{
	snprintf(path, 32, "d%d/e%d/k%d", key % 3, key % 5, key);
}

static void value_fill(const struct value *value, uint8_t *bytes)
{
	uint64_t random = value->seed;

	for (uint32_t i = 0; i < value->len; i += 8) {
		uint64_t word = scratch_random(&random);

		memcpy(bytes + i, &word,
		       value->len - i < 8 ? value->len - i : 8);
	}
}

/* Return a hash of all values of a state, read through the library. */
static uint64_t state_hash(struct coppice_state *state)
{
	static uint8_t bytes[VALUE_MAX + 8];
	uint64_t hash = 1469598103934665603u;
	char path[32];

	for (int key = 0; key < KEYS; key++) {
		ssize_t n;

		key_path(key, path);
		n = coppice_get(state, path, 0, bytes, sizeof(bytes));
		if (n < 0 && n != -ENOENT)
			return (uint64_t)n;
		hash = (hash ^ (uint64_t)n) * 1099511628211u;
		for (ssize_t i = 0; i < n; i += 97)
			hash = (hash ^ bytes[i]) * 1099511628211u;
	}
	return hash;
}

static uint64_t model_hash(const struct model *m)
{
	static uint8_t bytes[VALUE_MAX + 8];
	uint64_t hash = 1469598103934665603u;

	for (int key = 0; key < KEYS; key++) {
		const struct value *value = &m->values[key];
		bool none = value->len == UINT32_MAX;

		hash = (hash ^
		        (uint64_t)(none ? -ENOENT : (int64_t)value->len)) *
		       1099511628211u;
		if (none)
			continue;
		value_fill(value, bytes);
		for (uint32_t i = 0; i < value->len; i += 97)
			hash = (hash ^ bytes[i]) * 1099511628211u;
	}
	return hash;
}

/* ---- The process that reads --------------------------------------------- */

static void reader_main(const char *path, FILE *asks, FILE *answers)
{
	struct coppice_state *state, *kept = NULL;
	struct coppice *store = NULL;
	uint64_t hash, kept_hash = 0;
	char name[64];

	while (fscanf(asks, "%63s", name) == 1) {
		if (!store &&
		    coppice_open(path, COPPICE_READ_ONLY, NULL, &store))
			_exit(2);
		if (coppice_state_open(store, name, &state))
			_exit(3);
		hash = state_hash(state);
		/* A state opened before may be deleted by now. */
		if (kept && state_hash(kept) != kept_hash)
			_exit(4);
		if (hash % 3) {
			coppice_state_close(state);
		} else {
			coppice_state_close(kept);
			kept = state;
			kept_hash = hash;
		}
		fprintf(answers, "%llu\n", (unsigned long long)hash);
		fflush(answers);
	}
	_exit(0);
}

static pid_t reader_start(struct world *w, const char *path)
{
	int down[2], up[2];
	pid_t pid;

	assert_int_equal(pipe(down), 0);
	assert_int_equal(pipe(up), 0);
	pid = fork();
	if (!pid) {
		close(down[1]);
		close(up[0]);
		reader_main(path, fdopen(down[0], "r"), fdopen(up[1], "w"));
	}
	close(down[0]);
	close(up[1]);
	w->ask = fdopen(down[1], "w");
	w->answers = fdopen(up[0], "r");
	return pid;
}

static void reader_ask(struct world *w, const struct model *m)
{
	unsigned long long hash;

	ok(coppice_sync(w->store));
	fprintf(w->ask, "%s\n", m->name);
	fflush(w->ask);
	if (fscanf(w->answers, "%llu", &hash) != 1)
		fail_msg("the reader has failed at %s", m->name);
	assert_int_equal(hash, model_hash(m));
}

/* ---- Steps -------------------------------------------------------------- */

/* Return a random state, a fork if asked for; NULL: it was not found. */
static struct model *state_pick(struct world *w, bool fork)
{
	for (int i = 0; i < 20; i++) {
		struct model *m = &w->states[pick(w, STATES)];

		if (m->used && (!fork || !m->readonly))
			return m;
	}
	return NULL;
}

static struct model *state_free(struct world *w)
{
	for (int i = 0; i < STATES; i++)
		if (!w->states[i].used)
			return &w->states[i];
	return NULL;
}

static struct value value_new(struct world *w)
{
	static const uint32_t bounds[] = {2, 300, 1500, VALUE_MAX};
	struct value value = {pick(w, bounds[pick(w, 4)]),
	                      (uint32_t)scratch_random(&w->random)};

	return value;
}

static void put_random(struct world *w, struct coppice_batch *b,
                       struct coppice_state *fork, struct model *m, bool must)
{
	static uint8_t bytes[VALUE_MAX + 8];
	int key = (int)pick(w, KEYS), other = (int)pick(w, KEYS);
	struct value none = {UINT32_MAX, 0};
	char path[32], to[32];

	key_path(key, path);
	key_path(other, to);
	switch (must ? 5 : pick(w, 6)) {
	case 0:
		ok(coppice_batch_delete(b, fork, path, COPPICE_LENIENT));
		m->values[key] = none;
		break;
	case 1:
		if (m->values[key].len == UINT32_MAX || key == other)
			break;
		ok(coppice_batch_rename(b, fork, path, to, COPPICE_PARENTS));
		m->values[other] = m->values[key];
		m->values[key] = none;
		break;
	case 2:
		if (pick(w, 8))
			break;
		snprintf(path, sizeof(path), "d%d", key % 3);
		ok(coppice_batch_delete(b, fork, path,
		                        COPPICE_RECURSIVE | COPPICE_LENIENT));
		for (int i = key % 3; i < KEYS; i += 3)
			m->values[i] = none;
		break;
	default:
		m->values[key] = value_new(w);
		value_fill(&m->values[key], bytes);
		ok(coppice_batch_put(b, fork, path, bytes, m->values[key].len,
		                     COPPICE_PARENTS));
	}
}

static void step_batch(struct world *w)
{
	struct model *a = state_pick(w, true), *b = state_pick(w, true);
	struct model *free = state_free(w), before[2];
	struct coppice_state *forks[2];
	struct coppice_batch *batch;
	char snapshot[32];
	bool fails = !pick(w, 8), snap = free && a == b && !pick(w, 2);

	if (!a || !b)
		return;
	before[0] = *a;
	before[1] = *b;
	forks[0] = lib_state(w->store, a->name);
	forks[1] = lib_state(w->store, b->name);
	ok(coppice_batch_new(w->store, &batch));
	/* A batch without operations has no fork to be snapshotted. */
	put_random(w, batch, forks[0], a, true);
	for (uint32_t n = pick(w, 40); n; n--)
		put_random(w, batch, forks[n % 2], n % 2 ? b : a, false);
	if (fails)
		ok(coppice_batch_delete(batch, forks[0], "none", 0));
	snprintf(snapshot, sizeof(snapshot), "s%u", ++w->names);
	if (fails) {
		assert_int_equal(coppice_batch_commit(batch, 0, snapshot),
		                 -ENOENT);
		*a = before[0];
		*b = before[1];
	} else {
		ok(coppice_batch_commit(batch, 0, snap ? snapshot : NULL));
	}
	if (snap && !fails) {
		*free = *a;
		free->readonly = true;
		snprintf(free->name, sizeof(free->name), "%.20s~%s", a->name,
		         snapshot);
	}
	coppice_batch_discard(batch);
	coppice_state_close(forks[0]);
	coppice_state_close(forks[1]);
}

static void step_fork(struct world *w)
{
	struct model *source = state_pick(w, false), *new = state_free(w);

	if (!source || !new)
		return;
	*new = *source;
	new->readonly = false;
	snprintf(new->name, sizeof(new->name), "f%u", ++w->names);
	ok(coppice_fork(w->store, source->name, new->name, 0, NULL));
}

static void step_snapshot(struct world *w)
{
	struct model *fork = state_pick(w, true), *new = state_free(w);
	char name[32];

	if (!fork || !new)
		return;
	snprintf(name, sizeof(name), "s%u", ++w->names);
	ok(coppice_snapshot(w->store, fork->name, name));
	*new = *fork;
	new->readonly = true;
	snprintf(new->name, sizeof(new->name), "%.20s~%s", fork->name, name);
	reader_ask(w, new);
}

static void step_remove(struct world *w)
{
	struct model *m = state_pick(w, false);
	size_t len;

	if (!m || !strcmp(m->name, "main"))
		return;
	ok(coppice_remove(w->store, m->name, COPPICE_SNAPSHOTS));
	m->used = false;
	len = strlen(m->name);
	for (int i = 0; i < STATES && !m->readonly; i++) {
		struct model *s = &w->states[i];

		if (s->used && !strncmp(s->name, m->name, len) &&
		    s->name[len] == '~')
			s->used = false;
	}
}

static void step_reset(struct world *w)
{
	struct model *fork = state_pick(w, true);
	struct model *source = state_pick(w, false);

	if (!fork || !source)
		return;
	ok(coppice_reset(w->store, fork->name, source->name, NULL));
	memcpy(fork->values, source->values, sizeof(fork->values));
}

static void step_compare(struct world *w)
{
	struct model *m = state_pick(w, false);
	struct coppice_state *state;

	if (!m)
		return;
	state = lib_state(w->store, m->name);
	assert_int_equal(state_hash(state), model_hash(m));
	coppice_state_close(state);
	if (m->readonly)
		reader_ask(w, m);
}

static void test_model(void **state)
{
	static void (*const steps[])(struct world * w) = {
	        step_batch,    step_batch,  step_batch, step_fork,
	        step_snapshot, step_remove, step_reset, step_compare,
	};
	struct lib_fixture *f = *state;
	struct world *w = calloc(1, sizeof(*w));
	int status;
	pid_t pid;

	w->random = scratch_seed();
	ok(coppice_close(f->store));
	pid = reader_start(w, f->scratch.store);
	ok(coppice_open(f->scratch.store, 0, NULL, &f->store));
	w->store = f->store;
	w->states[0] = (struct model){.used = true, .name = "main"};
	for (int key = 0; key < KEYS; key++)
		w->states[0].values[key].len = UINT32_MAX;
	for (uint64_t i = scratch_ops(OPS); i; i--)
		steps[pick(w, 8)](w);
	for (int i = 0; i < STATES; i++) {
		struct coppice_state *s;

		if (!w->states[i].used)
			continue;
		s = lib_state(w->store, w->states[i].name);
		assert_int_equal(state_hash(s), model_hash(&w->states[i]));
		coppice_state_close(s);
	}
	fclose(w->ask);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fclose(w->answers);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
