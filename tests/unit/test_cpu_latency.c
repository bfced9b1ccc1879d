/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The limit of the processors' latency, written to a file in place of the
 * kernel's device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu_latency.h"
#include "scratch.h"

enum { WRITTEN_MAX = 16, TICKS = 1000 };

static struct scratch scratch;

static const char *in_dir(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", scratch.dir, name);
	return path;
}

static void file_make(const char *name, const char *text)
{
	FILE *f = fopen(in_dir(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Begin with the driver of idle processors and an empty device. */
static void begin(struct cpu_latency *latency, const char *driver)
{
	file_make("cpu_dma_latency", "");
	file_make("devices/system/cpu/cpuidle/current_driver", driver);
	cpu_latency_init(latency);
	cpu_latency_open(latency, scratch.dir, scratch.dir);
	assert_true(latency->fd >= 0);
}

static void expect_written(size_t count, const int32_t *values)
{
	int32_t written[WRITTEN_MAX];
	int fd = open(in_dir("cpu_dma_latency"), O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, written, sizeof(written)),
	                 count * sizeof(*values));
	assert_memory_equal(written, values, count * sizeof(*values));
	close(fd);
}

/* Return the number of ticks until the limit is, or is not, held. */
static int ticks_until(struct cpu_latency *latency, bool held,
                       unsigned requests)
{
	for (int i = 1; i < TICKS; i++) {
		cpu_latency_tick(latency, requests);
		if (cpu_latency_held(latency) == held)
			return i;
	}
	return TICKS;
}

static void test_streaks(void **state)
{
	const int32_t expected[] = {0, CPU_LATENCY_NONE, 0, CPU_LATENCY_NONE};
	struct cpu_latency latency;

	begin(&latency, "haltpoll\n");
	assert_false(cpu_latency_held(&latency));
	assert_in_range(ticks_until(&latency, true, 20), 2, 10);
	/* Fewer requests keep it, but would not have set it. */
	assert_int_equal(ticks_until(&latency, false, 2), TICKS);
	assert_in_range(ticks_until(&latency, false, 0), 2, 40);
	assert_int_equal(ticks_until(&latency, true, 2), TICKS);
	/* One burst is no streak. */
	cpu_latency_drop(&latency);
	cpu_latency_tick(&latency, 20);
	assert_false(cpu_latency_held(&latency));
	assert_in_range(ticks_until(&latency, true, UINT_MAX), 1, 10);
	cpu_latency_drop(&latency);
	assert_false(cpu_latency_held(&latency));
	expect_written(4, expected);
	cpu_latency_close(&latency);
}

static void test_other_drivers(void **state)
{
	const char *const drivers[] = {"intel_idle\n", "none", ""};

	for (size_t i = 0; i < 3; i++) {
		struct cpu_latency latency;
		int32_t expected = 2;

		begin(&latency, drivers[i]);
		assert_in_range(ticks_until(&latency, true, 20), 2, 10);
		expect_written(1, &expected);
		cpu_latency_close(&latency);
		assert_false(cpu_latency_held(&latency));
	}
}

static void test_without_the_device(void **state)
{
	struct cpu_latency latency;

	cpu_latency_init(&latency);
	assert_int_equal(ticks_until(&latency, true, 100), TICKS);
	cpu_latency_open(&latency, in_dir("nothing"), scratch.dir);
	assert_int_equal(ticks_until(&latency, true, 100), TICKS);
	cpu_latency_drop(&latency);
	cpu_latency_close(&latency);
}

/* A device that takes nothing is not asked again. */
static void test_a_device_that_fails(void **state)
{
	struct cpu_latency latency;

	assert_int_equal(unlink(in_dir("cpu_dma_latency")), 0);
	assert_int_equal(symlink("/dev/full", in_dir("cpu_dma_latency")), 0);
	cpu_latency_init(&latency);
	cpu_latency_open(&latency, scratch.dir, scratch.dir);
	assert_true(latency.fd >= 0);
	assert_int_equal(ticks_until(&latency, true, 100), TICKS);
	assert_int_equal(latency.fd, -1);
	cpu_latency_close(&latency);
	assert_int_equal(unlink(in_dir("cpu_dma_latency")), 0);
}

int main(void)
{
	static const char *const dirs[] = {"devices", "devices/system",
	                                   "devices/system/cpu",
	                                   "devices/system/cpu/cpuidle"};
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_streaks),
	        cmocka_unit_test(test_other_drivers),
	        cmocka_unit_test(test_without_the_device),
	        cmocka_unit_test(test_a_device_that_fails),
	};
	int failed = 1;

	scratch_init(&scratch);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		if (mkdir(in_dir(dirs[i]), 0700))
			goto out;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
out:
	scratch_release(&scratch);
	return failed;
}
