/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes of tests of the library that take their steps one at a time, and
 * values that they compare.
 */
#ifndef COPPICE_LIB_CHILD_H
#define COPPICE_LIB_CHILD_H

#include <poll.h>
#include <sys/wait.h>

#include "lib_fixture.h"

struct child {
	pid_t pid;
	int to, from;
};

/* Wait for the parent; exit if it has gone. */
static inline void step_wait(int from)
{
	char byte;

	if (read(from, &byte, 1) != 1)
		_exit(3);
}

static inline void step_done(int to)
{
	if (write(to, "", 1) != 1)
		_exit(3);
}

/* Start a process that calls fn() with the two ends of its pipes. */
static inline struct child
child_start(void (*fn)(const char *store, int from, int to), const char *store)
{
	struct child child;
	int down[2], up[2];

	assert_int_equal(pipe(down), 0);
	assert_int_equal(pipe(up), 0);
	child.pid = fork();
	if (!child.pid) {
		close(down[1]);
		close(up[0]);
		fn(store, down[0], up[1]);
		_exit(0);
	}
	close(down[0]);
	close(up[1]);
	child.to = down[1];
	child.from = up[0];
	return child;
}

/* Let the child take its next step, and wait until it has. */
static inline void child_step(struct child *child)
{
	char byte;

	assert_int_equal(write(child->to, "", 1), 1);
	if (read(child->from, &byte, 1) != 1)
		fail_msg("the other process has failed");
}

static inline void child_end(struct child *child, int signal)
{
	int status;

	if (signal)
		kill(child->pid, signal);
	close(child->to);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	assert_int_equal(status, signal);
	close(child->from);
}

/* In the child, a failure is its exit status. */
#define must(condition)                                                        \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "# line %d: %s: %s\n", __LINE__,       \
			        #condition, coppice_error());                  \
			_exit(2);                                              \
		}                                                              \
	} while (0)

/* ---- Keys whose values belong together ---------------------------------- */

enum { KEYS = 400, KEY_BYTES = 400 };

/*
 * Fill in the value of a key: no two are alike, so that none is stored as what
 * differs from another.
 */
static inline void key_value(const char *text, int key, char value[KEY_BYTES])
{
	uint64_t random = strtoull(text, NULL, 36) * KEYS + (uint64_t)key;

	for (int i = 0; i < KEY_BYTES; i += 8) {
		uint64_t word = scratch_random(&random);

		memcpy(value + i, &word, 8);
	}
}

/* Give all keys the values of the text, in one step. */
static inline void keys_commit(struct coppice *store, const char *text,
                               unsigned flags, const char *snapshot)
{
	struct coppice_state *main = lib_state(store, "main");
	struct coppice_batch *b;
	char path[32], value[KEY_BYTES];

	ok(coppice_batch_new(store, &b));
	for (int i = 0; i < KEYS; i++) {
		snprintf(path, sizeof(path), "d%d/k%d", i % 7, i);
		key_value(text, i, value);
		ok(coppice_batch_put(b, main, path, value, sizeof(value),
		                     COPPICE_PARENTS));
	}
	ok(coppice_batch_commit(b, flags, snapshot));
	coppice_batch_discard(b);
	coppice_state_close(main);
}

static inline void keys_put(struct coppice *store, const char *text,
                            const char *snapshot)
{
	keys_commit(store, text, COPPICE_DURABLE, snapshot);
}

/* Return true if all keys have the values of the text. */
static inline bool keys_have(struct coppice_state *state, const char *text)
{
	char path[32], value[KEY_BYTES], found[KEY_BYTES];

	for (int i = 0; i < KEYS; i++) {
		snprintf(path, sizeof(path), "d%d/k%d", i % 7, i);
		key_value(text, i, value);
		if (coppice_get(state, path, 0, found, sizeof(found)) !=
		            sizeof(found) ||
		    memcmp(found, value, sizeof(value)) != 0)
			return false;
	}
	return true;
}

#endif
