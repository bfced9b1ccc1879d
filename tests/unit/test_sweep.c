/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sweeping over random histories: after a sweep exactly what the states need is
 * stored, and all is charged to whose it is; nothing is lost, or freed twice.
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
#include <string.h>

#include "fixture.h"
#include "util.h"

struct sum {
	uint64_t versions, bytes, forks;
};

static int on_swept(void *arg, const struct swept *swept)
{
	struct sum *sum = arg;

	assert_true(swept->version && swept->forks_len > 1);
	sum->versions++;
	sum->bytes += swept->bytes;
	sum->forks += swept->forks_len;
	return 0;
}

static struct sum sweep(struct fixture *w, bool dry_run)
{
	struct sum sum = {0};

	assert_int_equal(forest_sweep(w->forest, dry_run, on_swept, &sum), 0);
	return sum;
}

static void run_history(bool sharing)
{
	uint64_t ops = scratch_ops(12000), versions = 0, bytes = 0;
	struct fixture w;

	fixture_init(&w, scratch_seed(), sharing);
	w.sweeps = true;
	for (uint64_t i = 0; i < ops; i++) {
		struct sum sum;

		fixture_change(&w);
		fixture_look(&w);
		if (scratch_random(&w.rng) % 300)
			continue;
		sum = sweep(&w, false);
		versions += sum.versions;
		bytes += sum.bytes;
		if (scratch_random(&w.rng) % 8)
			continue;
		assert_int_equal(fixture_findings(&w), 0);
		fixture_compare(&w);
		fixture_fsck(&w);
	}
	fixture_compare(&w);
	fixture_fsck(&w);
	assert_int_equal(sweep(&w, true).versions, 0);
	printf("# %llu times a version was swept, of %llu bytes\n",
	       (unsigned long long)versions, (unsigned long long)bytes);
	fixture_end(&w);
	fixture_release(&w);
}

static void test_history(void **state)
{
	(void)state;
	run_history(false);
}

static void test_history_with_sharing(void **state)
{
	(void)state;
	run_history(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_history),
	        cmocka_unit_test(test_history_with_sharing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
