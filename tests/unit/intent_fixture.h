/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stores with an intent log, and crashes of them.  A crash is a copy of the
 * files of a store in use.
 */
#ifndef COPPICE_INTENT_FIXTURE_H
#define COPPICE_INTENT_FIXTURE_H

#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>

#include "engine.h"
#include "store_fixture.h"

static char crashed[100]; /* path of the copy that crash() makes */

struct answer {
	sem_t done;
	int err;
};

static inline void on_durable(void *arg, int err)
{
	struct answer *answer = arg;

	answer->err = err;
	sem_post(&answer->done);
}

/* Do what an fsync does. */
static inline int sync_by_log(struct store *store)
{
	struct answer answer = {.err = -EINPROGRESS};

	sem_init(&answer.done, 0, 0);
	store_fsync(store, on_durable, &answer);
	while (sem_wait(&answer.done))
		;
	sem_destroy(&answer.done);
	return answer.err;
}

static inline void put(struct store *store, const char *key, uint8_t value)
{
	store_lock(store);
	assert_int_equal(
	        table_put(store, TABLE_NAME, key, strlen(key), &value, 1), 0);
	store_unlock(store);
}

/* Return the value, or -1. */
static inline int get(struct store *store, const char *key)
{
	struct record record;
	int r;

	store_lock(store);
	r = table_get(store, TABLE_NAME, key, strlen(key), &record);
	store_unlock(store);
	assert_true(r == 0 || r == -ENOENT);
	return r == 0 ? record.value[0] : -1;
}

static inline struct store_stats stats_of(struct store *store)
{
	struct store_stats stats;

	store_stats(store, &stats);
	return stats;
}

static inline void file_copy(const char *from, const char *to)
{
	char bytes[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC),
	    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		assert_int_equal(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

/* Copy a file of one directory to another one. */
static inline void one_copy(const char *from, const char *to, const char *name)
{
	char in[200], out[200];

	snprintf(in, sizeof(in), "%s/%s", from, name);
	snprintf(out, sizeof(out), "%s/%s", to, name);
	file_copy(in, out);
}

/* Copy the files of the store as they are to `crashed`. */
static inline void crash(const struct scratch *scratch)
{
	snprintf(crashed, sizeof(crashed), "%s/crashed", scratch->dir);
	assert_true(!mkdir(crashed, 0700) || errno == EEXIST);
	one_copy(scratch->store, crashed, "data.mdb");
	one_copy(scratch->store, crashed, "log");
}

static inline bool exists(const char *path, const char *name)
{
	char file[200];

	snprintf(file, sizeof(file), "%s/%s", path, name);
	return !access(file, F_OK);
}

/* Open the copy, of which so many entries must be replayed. */
static inline struct store *copy_open(uint64_t replayed)
{
	struct store *store = open_store(crashed);

	assert_int_equal(stats_of(store).replayed, replayed);
	return store;
}

/* Change a byte of the copied log. */
static inline void log_damage(off_t at)
{
	char file[200];
	uint8_t byte;
	int fd;

	snprintf(file, sizeof(file), "%s/log", crashed);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/*
 * Return a store that uses its log, and commits only when it is asked to.  The
 * record "first" is committed.
 */
static inline struct store *logged_store(struct scratch *scratch)
{
	struct store_options options = {.commit_ms = 1000000};
	struct store *store;

	scratch_init(scratch);
	assert_int_equal(store_create(scratch->store, NULL), 0);
	assert_int_equal(store_open(scratch->store, &options, &store), 0);
	put(store, "first", 1);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 0);
	assert_int_equal(stats_of(store).commits, 1);
	return store;
}

static inline void end(struct store *store, struct scratch *scratch)
{
	assert_int_equal(store_close(store), 0);
	scratch_release(scratch);
}

#endif
