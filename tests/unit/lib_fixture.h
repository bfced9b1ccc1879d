/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store that tests of the library use. */
#ifndef COPPICE_LIB_FIXTURE_H
#define COPPICE_LIB_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coppice.h"
#include "scratch.h"

struct lib_fixture {
	struct scratch scratch;
	struct coppice *store;
};

/* Fail with the library's message if a call has failed. */
#define ok(call)                                                               \
	do {                                                                   \
		ssize_t ok_result = (call);                                    \
		if (ok_result < 0)                                             \
			fail_msg("%s: %zd: %s", #call, ok_result,              \
			         coppice_error());                             \
	} while (0)

static inline int lib_setup(void **state)
{
	struct lib_fixture *w = calloc(1, sizeof(*w));

	scratch_init(&w->scratch);
	ok(coppice_open(w->scratch.store, COPPICE_CREATE, NULL, &w->store));
	*state = w;
	return 0;
}

/* Run a verb of the command on the store, which is closed. */
static inline void lib_command(const struct lib_fixture *w, const char *verb)
{
	char self[4096], command[8192];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status;

	assert_true(len > 0);
	self[len] = 0;
	*strrchr(self, '/') = 0;
	snprintf(command, sizeof(command),
	         "%s/../../tools/coppice %s %s >%s/output 2>&1 || "
	         "{ cat %s/output; false; }",
	         self, verb, w->scratch.store, w->scratch.dir, w->scratch.dir);
	status = system(command);
	assert_int_equal(status, 0);
}

static inline int lib_teardown(void **state)
{
	struct lib_fixture *w = *state;

	ok(coppice_close(w->store));
	lib_command(w, "check --data");
	scratch_release(&w->scratch);
	free(w);
	return 0;
}

/* An entry of a program's table of tests, each with a store of its own. */
#define lib_test(function)                                                     \
	cmocka_unit_test_setup_teardown(function, lib_setup, lib_teardown)

static inline struct coppice_state *lib_state(struct coppice *store,
                                              const char *name)
{
	struct coppice_state *state = NULL;

	ok(coppice_state_open(store, name, &state));
	return state;
}

/* Put a text, in a batch of its own. */
static inline void lib_put(struct coppice *store, const char *fork,
                           const char *path, const char *text)
{
	struct coppice_state *state = lib_state(store, fork);
	struct coppice_batch *batch;

	ok(coppice_batch_new(store, &batch));
	ok(coppice_batch_put(batch, state, path, text, strlen(text),
	                     COPPICE_PARENTS));
	ok(coppice_batch_commit(batch, 0, NULL));
	coppice_batch_discard(batch);
	coppice_state_close(state);
}

/* Check that the file has the text, or with NULL that there is none. */
static inline void lib_expect(struct coppice_state *state, const char *path,
                              const char *text)
{
	char buffer[256];
	ssize_t n = coppice_get(state, path, 0, buffer, sizeof(buffer) - 1);

	if (!text) {
		assert_int_equal(n, -ENOENT);
		return;
	}
	ok(n);
	buffer[n] = 0;
	assert_string_equal(buffer, text);
}

static inline void lib_expect_in(struct coppice *store, const char *name,
                                 const char *path, const char *text)
{
	struct coppice_state *state = lib_state(store, name);

	lib_expect(state, path, text);
	coppice_state_close(state);
}

#endif
