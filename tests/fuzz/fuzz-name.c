/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any text that may name a state: names, numbers, times. */
#include "forest.h"
#include "name.h"
#include "fuzz.h"
#include "fs_fixture.h"
#include "escaped_name.h"

static struct fixture fixture;

static void at_end(void)
{
	fixture_release(&fixture);
}

static void begin(void)
{
	struct state *main, *made;

	fuzz_quiet();
	setenv("TZ", "Europe/Berlin", 1);
	fixture_init(&fixture, 0);
	store_lock(fixture.store);
	fuzz_assert(!state_find(fixture.forest, 0, "main", &main));
	fuzz_assert(!state_snapshot(fixture.forest, main, "monday", &made));
	fuzz_assert(!state_snapshot(fixture.forest, main, "1", &made));
	fuzz_assert(!state_fork(fixture.forest, main, "main@a", &made));
	fuzz_assert(!state_fork(fixture.forest, main, "main~@1@b", &made));
	store_unlock(fixture.store);
	atexit(at_end);
}

static void check_names(const char *name)
{
	struct state *state;
	char full[NAME_LEN_MAX * 2 + 2];

	store_lock(fixture.store);
	if (!state_resolve(fixture.forest, name, &state)) {
		struct state *same;

		state_full_name(fixture.forest, state, full);
		fuzz_assert(!state_resolve(fixture.forest, full, &same));
		fuzz_assert(state == same);
	}
	state_source(fixture.forest, name, &state);
	state_next(fixture.forest, 0, name, &state);
	store_unlock(fixture.store);
	if (!name_check_fork(name) || !name_check_snapshot(name))
		fuzz_assert(*name && strlen(name) <= NAME_LEN_MAX &&
		            !strchr(name, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *name;
	int64_t time;
	json_t *text;

	if (!fixture.store)
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
