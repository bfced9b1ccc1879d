/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Growing arrays, and arrays in the order of numbers, against plain loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "array.h"
#include "scratch.h"

struct item {
	uint64_t number;
	char rest[13];
};

static void test_grow(void **state)
{
	size_t len = 0, capacity = 0;
	uint64_t *numbers = NULL;

	for (; len < 1000; len++) {
		assert_int_equal(array_grow(&numbers, len, &capacity), 0);
		assert_true(capacity > len);
		numbers[len] = len;
	}
	for (size_t i = 0; i < len; i++)
		assert_int_equal(numbers[i], i);
	free(numbers);
}

static void test_no_memory(void **state)
{
	size_t capacity = SIZE_MAX / 16, len = capacity;
	uint64_t *numbers = NULL;

	assert_int_equal(array_grow(&numbers, len, &capacity), -ENOMEM);
	assert_null(array_add(&numbers, &len, &capacity));
	assert_null(numbers);
	assert_int_equal(len, SIZE_MAX / 16);
	assert_int_equal(capacity, SIZE_MAX / 16);
}

static void test_add(void **state)
{
	size_t len = 0, capacity = 0;
	struct item *items = NULL;

	for (uint64_t i = 0; i < 300; i++) {
		struct item *item = array_add(&items, &len, &capacity);

		assert_ptr_equal(item, &items[i]);
		assert_int_equal(len, i + 1);
		for (size_t j = 0; j < sizeof(item->rest); j++)
			assert_int_equal(item->rest[j], 0);
		memset(item, 0xff, sizeof(*item));
	}
	free(items);
}

static void test_order(void **state)
{
	uint64_t random = scratch_seed();
	struct item items[40];

	array_sort((struct item *)NULL, 0, number_compare);
	assert_null(array_find((struct item *)NULL, 0, 7));
	for (int round = 0; round < 2000; round++) {
		size_t len = scratch_random(&random) % 40;

		for (size_t i = 0; i < len; i++)
			items[i].number =
			        scratch_random(&random) % 50 + UINT64_MAX - 60;
		array_sort(items, len, number_compare);
		for (size_t i = 1; i < len; i++)
			assert_true(items[i - 1].number <= items[i].number);
		for (uint64_t n = UINT64_MAX - 61; n; n++) {
			struct item *found = array_find(items, len, n);
			size_t first = 0;

			while (first < len && items[first].number < n)
				first++;
			assert_int_equal(array_lower_bound(items, len, n),
			                 first);
			if (first < len && items[first].number == n)
				assert_ptr_equal(found, &items[first]);
			else
				assert_null(found);
		}
	}
}

static void test_unique(void **state)
{
	uint64_t numbers[] = {0, 0, 1, 3, 3, 3, UINT64_MAX};
	static const uint64_t left[] = {0, 1, 3, UINT64_MAX};

	assert_int_equal(numbers_unique(numbers, 7), 4);
	assert_memory_equal(numbers, left, sizeof(left));
	assert_int_equal(numbers_unique(NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_grow),   cmocka_unit_test(test_no_memory),
	        cmocka_unit_test(test_add),    cmocka_unit_test(test_order),
	        cmocka_unit_test(test_unique),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
