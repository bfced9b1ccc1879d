/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The default of memory=, on machines and in cgroups that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine.h"
#include "memory_default.h"
#include "scratch.h"
#include "store.h"
#include "util.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* Write a file of the machine, and make its folders. */
static void file_write(const struct scratch *m, const char *name,
                       const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", m->dir, name);
	for (char *p = path + strlen(m->dir) + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void physical_set(const struct scratch *m, uint64_t bytes)
{
	char text[96];

	snprintf(text, sizeof(text), "MemTotal: %8llu kB\nMemFree: 17 kB\n",
	         (unsigned long long)bytes >> 10);
	file_write(m, "/proc/meminfo", text);
}

static void limit_set(const struct scratch *m, const char *name, uint64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)bytes);
	file_write(m, name, text);
}

static void assert_default(const struct scratch *m, uint64_t bytes)
{
	assert_int_equal(memory_default(m->dir), bytes);
}

static int setup(void **state)
{
	struct scratch *m = calloc(1, sizeof(*m));

	if (!m)
		return -1;
	scratch_init(m);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct scratch *m = *state;

	scratch_release(m);
	free(m);
	return 0;
}

static void test_physical(void **state)
{
	const struct scratch *m = *state;

	assert_default(m, 256 * MIB);
	physical_set(m, 8 * GIB);
	assert_default(m, 256 * MIB);
	physical_set(m, 16 * GIB);
	assert_default(m, 512 * MIB);
	physical_set(m, 32 * GIB);
	assert_default(m, GIB);
	physical_set(m, 1024 * GIB);
	assert_default(m, GIB);
	physical_set(m, GIB);
	assert_default(m, 256 * MIB);
	physical_set(m, 512 * MIB);
	assert_default(m, 128 * MIB);
	physical_set(m, 32 * MIB);
	assert_default(m, 16 * MIB);
}

static void test_unified(void **state)
{
	const struct scratch *m = *state;

	physical_set(m, 64 * GIB);
	file_write(m, "/proc/self/cgroup", "0::/a.slice/b.scope\n");
	file_write(m, "/proc/self/mountinfo",
	           "22 1 0:5 / /proc rw - proc proc rw\n"
	           "30 23 0:26 / /cg rw,nosuid shared:4 - cgroup2 cg rw\n");
	assert_default(m, GIB);
	file_write(m, "/cg/a.slice/b.scope/memory.max", "max\n");
	assert_default(m, GIB);
	/* A limit that is large enough changes nothing. */
	limit_set(m, "/cg/a.slice/b.scope/memory.max", 8 * GIB);
	assert_default(m, GIB);
	limit_set(m, "/cg/a.slice/b.scope/memory.max", 2 * GIB);
	assert_default(m, 512 * MIB);
	/* The limits of the cgroups above it count as well. */
	limit_set(m, "/cg/a.slice/memory.max", 400 * MIB);
	assert_default(m, 100 * MIB);
	limit_set(m, "/cg/memory.max", 200 * MIB);
	assert_default(m, 50 * MIB);
	/* Limits of other cgroups do not. */
	limit_set(m, "/cg/a.slice/c.scope/memory.max", 100 * MIB);
	limit_set(m, "/memory.max", 100 * MIB);
	assert_default(m, 50 * MIB);
	limit_set(m, "/cg/memory.max", 0);
	assert_default(m, 16 * MIB);
}

static void test_container(void **state)
{
	const struct scratch *m = *state;

	physical_set(m, 64 * GIB);
	/* The mount shows the part of the hierarchy from /box on. */
	file_write(m, "/proc/self/mountinfo",
	           "30 23 0:26 /box /cg rw - cgroup2 cg rw\n");
	limit_set(m, "/cg/memory.max", 2 * GIB);
	limit_set(m, "/cg/in/memory.max", GIB);
	file_write(m, "/proc/self/cgroup", "0::/box/in\n");
	assert_default(m, 256 * MIB);
	file_write(m, "/proc/self/cgroup", "0::/box\n");
	assert_default(m, 512 * MIB);
	/* Paths outside this part, of which only the root can be seen. */
	file_write(m, "/proc/self/cgroup", "0::/boxes/in\n");
	assert_default(m, 512 * MIB);
	file_write(m, "/proc/self/cgroup", "0::/../in\n");
	assert_default(m, 512 * MIB);
}

static void test_version_1(void **state)
{
	const struct scratch *m = *state;

	physical_set(m, 64 * GIB);
	file_write(m, "/proc/self/cgroup",
	           "9:name=memory:/x\n8:cpu,memory:/a/b\n7:pids:/x\n0::/u\n");
	file_write(m, "/proc/self/mountinfo",
	           "30 23 0:26 / /cg/pids rw - cgroup cg rw,pids\n"
	           "31 23 0:27 / /cg/mem rw - cgroup cg rw,cpu,memory\n"
	           "32 23 0:28 / /cg/uni rw - cgroup2 cg rw\n");
	limit_set(m, "/cg/pids/x/memory.limit_in_bytes", 100 * MIB);
	limit_set(m, "/cg/mem/x/memory.limit_in_bytes", 100 * MIB);
	limit_set(m, "/cg/mem/memory.limit_in_bytes", INT64_MAX - 4095);
	assert_default(m, GIB);
	limit_set(m, "/cg/mem/a/b/memory.limit_in_bytes", 2 * GIB);
	assert_default(m, 512 * MIB);
	/* Both hierarchies may have limits. */
	limit_set(m, "/cg/uni/u/memory.max", GIB);
	assert_default(m, 256 * MIB);
	limit_set(m, "/cg/mem/a/memory.limit_in_bytes", 512 * MIB);
	assert_default(m, 128 * MIB);
}

/* Lines that are cut short, or are something else, limit nothing. */
static void test_nonsense(void **state)
{
	static const char *const texts[] = {
	        "",
	        "\n",
	        ":",
	        "0:",
	        "0:\n",
	        "1::/\n",
	        ":memory",
	        "MemTotal: x\n",
	        "30 23 0:26 / /cg rw - \n",
	        "30 23 0:26 / - cgroup2 cg rw\n",
	        " - cgroup2 cg rw\n",
	};
	static const char line[] = "30 23 0:26 / /cg rw - cgroup2 cg rw\n";
	const struct scratch *m = *state;

	limit_set(m, "/cg/memory.max", 400 * MIB);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		file_write(m, "/proc/meminfo", texts[i]);
		file_write(m, "/proc/self/cgroup", "0::/\n");
		file_write(m, "/proc/self/mountinfo", texts[i]);
		assert_default(m, 256 * MIB);
		file_write(m, "/proc/self/mountinfo", line);
		assert_default(m, 100 * MIB);
		file_write(m, "/proc/self/cgroup", texts[i]);
		assert_default(m, 256 * MIB);
	}
}

/* Only clean blocks get more by a large default: groups stay as they are. */
static void test_store(void **state)
{
	const struct scratch *m = *state;
	struct store_options options = {.memory = 512 * MIB};
	struct store_stats stats;
	struct store *store;

	assert_int_equal(store_create(m->store, NULL), 0);
	assert_int_equal(store_open(m->store, NULL, &store), 0);
	store_stats(store, &stats);
	assert_int_equal(stats.memory_limit, memory_default(""));
	assert_int_equal(store->clean_limit, stats.memory_limit / 2);
	assert_int_equal(store->txg_hard,
	                 MIN(stats.memory_limit, 256 * MIB) / 4);
	assert_int_equal(store_close(store), 0);
	assert_int_equal(store_open(m->store, &options, &store), 0);
	store_stats(store, &stats);
	assert_int_equal(stats.memory_limit, 512 * MIB);
	assert_int_equal(store->clean_limit, 256 * MIB);
	assert_int_equal(store->txg_hard, 128 * MIB);
	assert_int_equal(store_close(store), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_physical),  TEST(test_unified),  TEST(test_container),
	        TEST(test_version_1), TEST(test_nonsense), TEST(test_store),
	};

	return cmocka_run_group_tests_name("memory_default", tests, NULL, NULL);
}
