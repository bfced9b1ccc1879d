/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers to bytes and back, and bytes that are no number. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "codec.h"
#include "scratch.h"
#include "util.h"

static void test_fixed(void **state)
{
	uint8_t bytes[15];
	static const uint8_t expected[15] = {1, 2,  3,  4,  5,  6,  7, 8,
	                                     9, 10, 11, 12, 13, 14, 15};
	struct writer w = writer_init(bytes, sizeof(bytes));
	struct reader r = reader_init(bytes, sizeof(bytes));

	put_u8(&w, 0x01);
	put_u16(&w, 0x0203);
	put_u32(&w, 0x04050607);
	put_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
	assert_false(w.bad);
	assert_int_equal(writer_len(&w), sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));
	assert_int_equal(get_u8(&r), 0x01);
	assert_int_equal(get_u16(&r), 0x0203);
	assert_int_equal(get_u32(&r), 0x04050607);
	assert_int_equal(get_u64(&r), UINT64_C(0x08090a0b0c0d0e0f));
	assert_true(reader_done(&r));
}

static void varint_check(uint64_t v)
{
	uint8_t bytes[10];
	struct writer w = writer_init(bytes, sizeof(bytes));
	struct reader r;

	put_varint(&w, v);
	assert_false(w.bad);
	r = reader_init(bytes, writer_len(&w));
	assert_true(get_varint(&r) == v);
	assert_true(reader_done(&r));
	w = writer_init(bytes, sizeof(bytes));
	put_svarint(&w, (int64_t)v);
	assert_false(w.bad);
	r = reader_init(bytes, writer_len(&w));
	assert_true(get_svarint(&r) == (int64_t)v);
	assert_true(reader_done(&r));
	/* A number cut short is not decoded. */
	r = reader_init(bytes, writer_len(&w) - 1);
	get_svarint(&r);
	assert_false(reader_done(&r));
}

static void test_varints(void **state)
{
	uint64_t seed = scratch_seed();

	for (unsigned bit = 0; bit < 64; bit++) {
		varint_check(UINT64_C(1) << bit);
		varint_check((UINT64_C(1) << bit) - 1);
		varint_check(scratch_random(&seed) >> bit);
	}
	varint_check(UINT64_MAX);
}

/* Each number has one form: others are damage. */
static void test_bad_varints(void **state)
{
	static const struct {
		uint8_t bytes[11];
		size_t len;
	} bad[] = {
	        {{0}, 0},
	        {{0x80}, 1},
	        {{0x80, 0x00}, 2},
	        {{0xff, 0xff, 0x00}, 3},
	        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
	         10},
	        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
	          0x01},
	         11},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct reader r = reader_init(bad[i].bytes, bad[i].len);

		assert_int_equal(get_varint(&r), 0);
		assert_true(r.bad);
	}
}

/* Bytes past the end are neither written nor read, then or later. */
static void test_bounds(void **state)
{
	uint8_t bytes[5] = {1, 2, 3, 4, 5};
	struct writer w = writer_init(bytes, 4);
	struct reader r = reader_init(bytes, 4);

	put_u16(&w, 0);
	put_u32(&w, 0x09090909);
	assert_true(w.bad);
	put_u8(&w, 0x09);
	assert_int_equal(writer_len(&w), 2);
	assert_int_equal(bytes[2], 3);
	assert_int_equal(bytes[4], 5);
	assert_int_equal(get_u64(&r), 0);
	assert_true(r.bad);
	assert_int_equal(get_u8(&r), 0);
	assert_null(reader_take(&r, 1));
	assert_false(reader_done(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_fixed),
	        cmocka_unit_test(test_varints),
	        cmocka_unit_test(test_bad_varints),
	        cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
