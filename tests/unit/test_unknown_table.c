/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables and databases that another version of the program has added: the check
 * logs them, and the repair keeps them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "intact.h"
#include "util.h"

static const char keys[2][5] = {"\x3fone", "\xfftwo"};

enum { ENTRIES = 3000, LONG = 10000 };

/* Fill value i of the database "numbers"; return its length. */
static size_t value_fill(uint64_t i, uint8_t value[LONG])
{
	size_t len = i % 100 ? i % 97 : LONG;

	memset(value, (int)(i % 251), LONG);
	return len;
}

static void database_fill(MDB_dbi dbi)
{
	uint8_t value[LONG];

	for (uint64_t i = 0; i < ENTRIES; i++) {
		MDB_val k = {sizeof(i), &i}, v = {value_fill(i, value), value};

		assert_int_equal(mdb_put(plant.txn, dbi, &k, &v, 0), 0);
	}
}

/* Add the tables and databases to an intact store. */
static void unknown_add(void)
{
	MDB_val k = {3, (void *)"key"}, v = {5, (void *)"value"};
	MDB_dbi dbi;

	plant_begin("records", 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		MDB_val key = {4, (void *)keys[i]};

		assert_int_equal(mdb_put(plant.txn, plant.dbi, &key, &v, 0), 0);
	}
	assert_int_equal(mdb_dbi_open(plant.txn, "aside", MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_put(plant.txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_dbi_open(plant.txn, "empty", MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_dbi_open(plant.txn, "numbers",
	                              MDB_CREATE | MDB_INTEGERKEY, &dbi),
	                 0);
	database_fill(dbi);
	plant_end();
}

static void value_expect(MDB_dbi dbi, MDB_val key, const void *value,
                         size_t len)
{
	MDB_val v;

	assert_int_equal(mdb_get(plant.txn, dbi, &key, &v), 0);
	assert_int_equal(v.mv_size, len);
	assert_memory_equal(v.mv_data, value, len);
}

static void expect_unknown(void)
{
	uint8_t value[LONG];
	MDB_stat stat;
	MDB_dbi dbi;

	plant_reopen("records", 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		value_expect(plant.dbi, (MDB_val){4, (void *)keys[i]}, "value",
		             5);
	assert_int_equal(mdb_dbi_open(plant.txn, "aside", 0, &dbi), 0);
	value_expect(dbi, (MDB_val){3, (void *)"key"}, "value", 5);
	assert_int_equal(mdb_dbi_open(plant.txn, "empty", 0, &dbi), 0);
	assert_int_equal(mdb_stat(plant.txn, dbi, &stat), 0);
	assert_int_equal(stat.ms_entries, 0);
	assert_int_equal(
	        mdb_dbi_open(plant.txn, "numbers", MDB_INTEGERKEY, &dbi), 0);
	assert_int_equal(mdb_stat(plant.txn, dbi, &stat), 0);
	assert_int_equal(stat.ms_entries, ENTRIES);
	for (uint64_t i = 0; i < ENTRIES; i++) {
		size_t len = value_fill(i, value);

		value_expect(dbi, (MDB_val){sizeof(i), &i}, value, len);
	}
	plant_end();
}

/* Run fn with the store; put what it logs into `log`. */
static void with_log(void (*fn)(struct store *store), char log[4096])
{
	struct store_options options = {.readonly = true};
	struct store *store;
	int saved = dup(STDERR_FILENO), fd;
	FILE *file = tmpfile();
	ssize_t len;

	fd = fileno(file);
	assert_int_equal(store_open(intact.scratch.store, &options, &store), 0);
	dup2(fd, STDERR_FILENO);
	fn(store);
	dup2(saved, STDERR_FILENO);
	close(saved);
	store_close(store);
	len = pread(fd, log, 4095, 0);
	assert_true(len >= 0);
	log[len] = 0;
	fclose(file);
}

static void check(struct store *store)
{
	expect_clean(store);
}

static void test_check_logs(void **state)
{
	char log[4096];

	unknown_add();
	with_log(check, log);
	assert_non_null(strstr(log, "table 63"));
	assert_non_null(strstr(log, "table 255"));
	assert_non_null(strstr(log, "database 'aside'"));
	assert_non_null(strstr(log, "database 'empty'"));
	assert_non_null(strstr(log, "database 'numbers'"));
	assert_null(strstr(log, "database 'blocks'"));
	intact_restore();
	with_log(check, log);
	assert_string_equal(log, "");
}

static void repair(struct store *store)
{
	struct found found = {0};
	struct repair_options options = {
	        .found = found_add, .done = found_add, .arg = &found};
	struct repair_result result;

	assert_int_equal(forest_repair(store, &options, &result), 0);
	assert_true(result.found > 0);
	assert_non_null(result.kept);
	unlink(result.kept);
	free(result.kept);
}

static void test_repair_keeps(void **state)
{
	char log[4096];

	unknown_add();
	plant_reopen("blocks", MDB_INTEGERKEY);
	assert_true(plant_find(false, 0));
	plant_flip(plant.value.mv_size - 1, 0x80);
	plant_end();
	with_log(repair, log);
	expect_unknown();
	with_log(check, log);
	assert_non_null(strstr(log, "database 'numbers'"));
}

/* Writing goes on beside a database that is not known. */
static void test_write(void **state)
{
	struct work w = {0};

	unknown_add();
	work_open(&w, intact.scratch.store);
	state_make(&w, "tuesday", true);
	work_close(&w);
	expect_unknown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_check_logs),
	        cmocka_unit_test(test_repair_keeps),
	        cmocka_unit_test(test_write),
	};

	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, intact_setup, intact_teardown);
}
