/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The check: nothing is found in a store that was used in every way, and
 * everything in one where something was damaged on purpose.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scratch.h"
#include "util.h"
#include "work.h"

/* What a check found. */
struct found {
	size_t count;
	char kinds[4096]; /* with a space in front of and behind each */
	char first[600];
	bool print;
};

static int on_found(void *arg, const struct finding *f)
{
	struct found *found = arg;

	if (!found->count++)
		snprintf(found->first, sizeof(found->first), "%s: %s:%s: %s",
			 f->kind, f->state ? f->state : "-",
			 f->path ? f->path : "-", f->text);
	if (found->print)
		print_message("# %s: %s:%s ino %llu version %llu: %s\n",
			      f->kind, f->state ? f->state : "-",
			      f->path ? f->path : "-",
			      (unsigned long long)f->ino,
			      (unsigned long long)f->version, f->text);
	if (strlen(found->kinds) + strlen(f->kind) + 3 < sizeof(found->kinds)) {
		strcat(found->kinds, " ");
		strcat(found->kinds, f->kind);
		strcat(found->kinds, " ");
	}
	return 0;
}

static struct found check(struct store *store, bool data, bool print)
{
	struct found found = { .print = print };
	struct check_options options = { .data = data,
					 .found = on_found,
					 .arg = &found };

	assert_int_equal(forest_check(store, &options), 0);
	return found;
}

static void expect_clean(struct store *store)
{
	struct found found = check(store, true, true);

	if (found.count)
		fail_msg("%zu findings; %s", found.count, found.first);
}

/* ---- Clean -------------------------------------------------------------- */

/* While it is in use, after a commit, after all was given back, and closed. */
static void test_clean(void **state)
{
	uint64_t seed = scratch_seed(), steps = scratch_ops(3000);
	struct scratch scratch;
	struct work w;

	for (int round = 0; round < 3; round++) {
		scratch_init(&scratch);
		work_init(&w, scratch.store, seed + (uint64_t)round);
		expect_clean(w.store);
		for (uint64_t i = 1; i <= steps; i++) {
			work_step(&w);
			if (i % 151 == 0)
				expect_clean(w.store);
			if (i % 257 == 0)
				work_compare(&w);
			if (i % 397 == 0) {
				assert_int_equal(forest_drain(w.forest), 0);
				expect_clean(w.store);
			}
			if (i % 500 == 0) {
				work_close(&w);
				work_open(&w, scratch.store);
				work_compare(&w);
				expect_clean(w.store);
			}
		}
		work_compare(&w);
		work_close(&w);
		work_release(&w);
		scratch_release(&scratch);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
