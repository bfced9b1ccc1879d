/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whatever is said to name a state: names, numbers, times. */
#include "forest.h"
#include "fuzz.h"
#include "fs_fixture.h"
#include "escaped_name.h"

static struct fixture world;

static void at_end(void)
{
	fixture_release(&world);
}

static void begin(void)
{
	struct state *main, *made;

	fuzz_quiet();
	setenv("TZ", "Europe/Berlin", 1);
	fixture_init(&world, 0);
	store_lock(world.store);
	fuzz_assert(!state_find(world.forest, 0, "main", &main));
	fuzz_assert(!state_snapshot(world.forest, main, "monday", &made));
	fuzz_assert(!state_snapshot(world.forest, main, "1", &made));
	fuzz_assert(!state_fork(world.forest, main, "main@a", &made));
	fuzz_assert(!state_fork(world.forest, main, "main~@1@b", &made));
	store_unlock(world.store);
	atexit(at_end);
}

static void check_names(const char *name)
{
	struct state *state;
	char full[NAME_LEN_MAX * 2 + 2];

	store_lock(world.store);
	if (!state_resolve(world.forest, name, &state)) {
		struct state *same;

		state_full_name(world.forest, state, full);
		fuzz_assert(!state_resolve(world.forest, full, &same));
		fuzz_assert(state == same);
	}
	state_source(world.forest, name, &state);
	state_next(world.forest, 0, name, &state);
	store_unlock(world.store);
	if (!name_check_fork(name) || !name_check_snapshot(name))
		fuzz_assert(*name && strlen(name) <= NAME_LEN_MAX &&
		            !strchr(name, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *name;
	int64_t time;
	json_t *text;

	if (!world.store)
		begin();
	name = malloc(len + 1);
	fuzz_assert(name);
	memcpy(name, data, len);
	name[len] = 0;
	check_names(name);
	name_parse_time(name, INT64_C(1795227378) * 1000000000, &time);
	text = name_escape(name);
	if (text) {
		char *again = malloc(len + 1);

		fuzz_assert(again && !name_unescape(text, again, len + 1));
		fuzz_assert(!strcmp(name, again));
		free(again);
	}
	json_decref(text);
	free(name);
	return 0;
}
