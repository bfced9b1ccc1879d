/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the control socket: the input goes in at one end; at the other
 * are the reader of lines and, for each line that is an object, the verbs.
 */
#include <sys/socket.h>

#include "control.h"
#include "json_line.h"
#include "fs_fixture.h"
#include "fuzz.h"

enum { STATES_MOST = 100 };

static struct fixture fixture;

static void at_end(void)
{
	fixture_release(&fixture);
}

/* A small store again, when there are too many states in it. */
static void begin(void)
{
	if (fixture.store) {
		uint64_t states;

		store_lock(fixture.store);
		states = forest_count(fixture.forest);
		store_unlock(fixture.store);
		if (states < STATES_MOST)
			return;
		fixture_release(&fixture);
	} else {
		fuzz_quiet();
		atexit(at_end);
	}
	fixture_init(&fixture, 0);
}

static int row(void *arg, json_t *json)
{
	unsigned *rows = arg;

	fuzz_assert(json_is_object(json));
	return ++*rows > 1000;
}

static void request(const char *line, size_t len)
{
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *answer = NULL;
	unsigned rows = 0;
	int err;

	if (json_is_object(json)) {
		err = control_run(fixture.fs, json, row, &rows, &answer);
		fuzz_assert(err < 0 || json_is_object(answer));
		if (!err && !json_object_get(answer, "ok"))
			fuzz_assert(json_object_get(answer, "error") &&
			            json_is_integer(
			                    json_object_get(answer, "errno")));
	}
	json_decref(answer);
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct json_line_reader reader;
	int ends[2], size = 1 << 20;
	char *line;
	size_t line_len;

	if (len > 100000)
		return 0;
	begin();
	fuzz_assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* A message that does not fit is like that of a client that was cut
	 * off. */
	if (send(ends[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		len = 0;
	close(ends[0]);
	fuzz_assert(!json_line_reader_init(&reader, ends[1]));
	while (!json_line_read(&reader, 1000, &line, &line_len))
		request(line, line_len);
	json_line_reader_release(&reader);
	close(ends[1]);
	return 0;
}
