/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlists and the jobs on them, across commits and reopenings. */
#include "store_fixture.h"

enum { ENTRIES = 4000 };

static void job_run(struct store *store, struct list_job job)
{
	int rounds = 0;

	job.budget = 700;
	do {
		assert_int_equal(list_job_run(store, &job), 0);
		assert_true(++rounds < 50);
	} while (!job.done);
}

static uint64_t list_entries(struct store *store, uint64_t list)
{
	struct list_info info;

	store_lock(store);
	assert_int_equal(list_info(store, list, &info), 0);
	store_unlock(store);
	return info.entries;
}

static void test_lists(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree tree = {.store = store, .list = 7, .owner = 3};
	static uint64_t numbers[ENTRIES];
	uint64_t seed = scratch_seed(), above, bytes, middle;
	struct chunk *chunk;
	char data[32];

	for (int i = 0; i < ENTRIES; i++) {
		snprintf(data, sizeof(data), "chunk %d", i);
		numbers[i] = chunk_make(&tree, data, (uint32_t)strlen(data));
	}
	middle = numbers[ENTRIES / 2];
	/* On the list in random order, some before and some after a commit. */
	for (int i = ENTRIES - 1; i > 0; i--) {
		int j = (int)(scratch_random(&seed) % (uint64_t)(i + 1));
		uint64_t n = numbers[i];

		numbers[i] = numbers[j];
		numbers[j] = n;
	}
	for (int i = 0; i < ENTRIES; i++) {
		store_lock(store);
		list_add(store, i % 5 ? 7 : 8, numbers[i]);
		store_unlock(store);
		if (i % 900 == 0)
			assert_int_equal(store_sync(store), 0);
	}
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(list_entries(store, 7) + list_entries(store, 8),
	                 ENTRIES);
	store = reopen(store, &scratch, &tree);
	job_run(store,
	        (struct list_job){.kind = LIST_MOVE, .list = 8, .other = 7});
	assert_int_equal(list_entries(store, 8), 0);
	assert_int_equal(list_entries(store, 7), ENTRIES);
	store_lock(store);
	assert_int_equal(list_bytes_above(store, 7, middle, &above), 0);
	store_unlock(store);
	bytes = unique_bytes(store, 3);
	job_run(store, (struct list_job){.kind = LIST_FREE_ABOVE,
	                                 .list = 7,
	                                 .other = 3,
	                                 .above = middle});
	assert_int_equal(unique_bytes(store, 3), bytes - above);
	for (int i = 0; i < ENTRIES; i++) {
		int r = chunk_load(store, numbers[i], &chunk);

		assert_int_equal(r, numbers[i] > middle ? -ENOENT : 0);
		if (r == 0)
			chunk_unref(chunk);
	}
	job_run(store, (struct list_job){.kind = LIST_DROP, .list = 7});
	assert_int_equal(list_entries(store, 7), 0);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
