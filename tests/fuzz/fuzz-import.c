/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frames of an import, as a client of the control socket sends them, and
 * those of an export.  Whatever an import returns, all states fit together.
 */
#include <sys/socket.h>

#include "fs_fixture.h"
#include "fuzz.h"
#include "import_stream.h"

enum { LONGEST = 50000, IMPORTS_MOST = 500, CHUNK_BITS = 12 };

static struct fixture fixture;

static void at_end(void)
{
	fixture_release(&fixture);
}

/* A small store again, now and then. */
static void begin(void)
{
	static unsigned imports;

	if (fixture.store && ++imports % IMPORTS_MOST)
		return;
	if (fixture.store) {
		fixture_release(&fixture);
	} else {
		fuzz_quiet();
		atexit(at_end);
	}
	fixture_init(&fixture, CHUNK_BITS);
}

/* Return a socket from which the input can be read until its end. */
static int socket_make(const uint8_t *data, size_t len, int *ret_other)
{
	int ends[2], size = 1 << 20;

	fuzz_assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* A stream larger than the socket takes is cut off. */
	if (send(ends[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		fuzz_assert(errno == EAGAIN);
	shutdown(ends[0], SHUT_WR);
	*ret_other = ends[0];
	return ends[1];
}

static void import(const uint8_t *data, size_t len)
{
	struct path_filter filter = {0};
	const struct fs_cred root = {0};
	const struct fs_import what = {.state = "main",
	                               .path = "/",
	                               .cred = &root,
	                               .filter = &filter,
	                               .keep_excluded = true};
	struct fs_imported imported;
	int other, socket = socket_make(data, len, &other);

	fuzz_assert(!path_filter_add(&filter, "- x*"));
	fuzz_assert(fs_import(fixture.fs, &what, socket, &imported) <= 0);
	fs_imported_release(fixture.fs, &imported);
	path_filter_release(&filter);
	close(socket);
	close(other);
	fixture_check(&fixture);
}

static void frames(const uint8_t *data, size_t len)
{
	struct import_frames frames;
	enum import_kind kind;
	struct reader body;
	int other, socket = socket_make(data, len, &other);

	fuzz_assert(!frames_init(&frames, socket));
	while (!frames_next(&frames, &kind, &body))
		fuzz_assert(reader_left(&body) <= len);
	frames_free(&frames);
	close(socket);
	close(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len > LONGEST)
		return 0;
	begin();
	import(data, len);
	frames(data, len);
	return 0;
}
