/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables against a plain model, across commits and reopenings. */
#include "store_fixture.h"

enum { MODEL_KEYS = 500 };
struct model {
	bool there[MODEL_KEYS];
	uint32_t value[MODEL_KEYS];
};

static size_t model_key(int i, char key[16])
{
	return (size_t)snprintf(key, 16, "%0*d", 3 + i % 3, i * 7 % MODEL_KEYS);
}

static int model_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void model_compare(struct store *store, const struct model *model)
{
	static char keys[MODEL_KEYS][16];
	struct record record = {.key_len = 0};
	size_t n = 0, seen = 0;
	int r;

	for (int i = 0; i < MODEL_KEYS; i++)
		if (model->there[i])
			model_key(i, keys[n++]);
	qsort(keys, n, sizeof(keys[0]), model_order);
	store_lock(store);
	for (r = table_seek(store, TABLE_NAME, "", 0, &record); r == 0;
	     r = table_next(store, TABLE_NAME, record.key, record.key_len,
	                    &record)) {
		assert_true(seen < n);
		assert_int_equal(record.key_len, strlen(keys[seen]));
		assert_memory_equal(record.key, keys[seen], record.key_len);
		seen++;
	}
	assert_int_equal(r, -ENOENT);
	assert_int_equal(seen, n);
	for (int i = 0; i < MODEL_KEYS; i++) {
		char key[16];
		size_t len = model_key(i, key);

		r = table_get(store, TABLE_NAME, key, len, &record);
		assert_int_equal(r, model->there[i] ? 0 : -ENOENT);
		if (r == 0)
			assert_memory_equal(record.value, &model->value[i], 4);
	}
	store_unlock(store);
}

static void test_tables(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	static struct model model;
	uint64_t random = scratch_seed();

	for (int round = 0; round < 60; round++) {
		store_lock(store);
		for (int n = 0; n < 50; n++) {
			int i = (int)(scratch_random(&random) % MODEL_KEYS);
			char key[16];
			size_t len = model_key(i, key);

			model.there[i] = scratch_random(&random) % 3 != 0;
			model.value[i] = (uint32_t)scratch_random(&random);
			if (model.there[i])
				assert_int_equal(table_put(store, TABLE_NAME,
				                           key, len,
				                           &model.value[i], 4),
				                 0);
			else
				assert_int_equal(
				        table_del(store, TABLE_NAME, key, len),
				        0);
			/* A neighbour table must not shine through. */
			table_put(store, TABLE_TIME, key, len, "x", 1);
			table_put(store, TABLE_STATE, key, len, "x", 1);
		}
		store_unlock(store);
		if (round % 3 == 0)
			assert_int_equal(store_sync(store), 0);
		else if (round % 3 == 1)
			store_commit_start(store);
		model_compare(store, &model);
		if (round % 20 == 19) {
			assert_int_equal(store_close(store), 0);
			store = open_store(scratch.store);
			model_compare(store, &model);
		}
	}
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
