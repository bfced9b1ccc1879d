/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Durable batches of a process that is killed: all of them are there. */
#include <signal.h>
#include <sys/wait.h>

#include "lib_fixture.h"

enum { SLOTS = 6, KEYS = 300, VALUE = 10000 };

static void key_of(char key[32], int n)
{
	snprintf(key, 32, "d%d/k%d", n % 7, n);
}

static void value_of(char value[VALUE], int slot, int n)
{
	uint64_t random = (uint64_t)(slot * KEYS + n);

	for (size_t i = 0; i < VALUE; i += sizeof(random)) {
		uint64_t word = scratch_random(&random);

		memcpy(value + i, &word, sizeof(word));
	}
}

/* Write more than an entry of the log takes in each slot. */
static void slots_write(const char *path)
{
	struct coppice_batch *batch;
	struct coppice_state *main;
	struct coppice *store;
	char key[32], value[VALUE];

	if (coppice_open(path, 0, NULL, &store) ||
	    coppice_state_open(store, "main", &main) ||
	    coppice_batch_new(store, &batch))
		_exit(1);
	for (int slot = 0; slot < SLOTS; slot++) {
		for (int i = 0; i < KEYS; i++) {
			key_of(key, i);
			value_of(value, slot, i);
			if (coppice_batch_put(batch, main, key, value, VALUE,
			                      COPPICE_PARENTS))
				_exit(1);
		}
		snprintf(key, sizeof(key), "s%d", slot);
		if (coppice_batch_commit(batch, COPPICE_DURABLE, key))
			_exit(1);
	}
	raise(SIGKILL);
}

static void slot_expect(struct coppice *store, const char *name, int slot)
{
	struct coppice_state *state = lib_state(store, name);
	char key[32], value[VALUE], found[VALUE];

	for (int i = 0; i < KEYS; i++) {
		key_of(key, i);
		value_of(value, slot, i);
		assert_int_equal(coppice_get(state, key, 0, found, VALUE),
		                 VALUE);
		assert_memory_equal(found, value, VALUE);
	}
	coppice_state_close(state);
}

static void test_killed(void **state)
{
	struct lib_fixture *w = *state;
	char name[32];
	int status;
	pid_t pid;

	ok(coppice_close(w->store));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		slots_write(w->scratch.store);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	for (int slot = 0; slot < SLOTS; slot++) {
		snprintf(name, sizeof(name), "main~s%d", slot);
		slot_expect(w->store, name, slot);
	}
	slot_expect(w->store, "main", SLOTS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
