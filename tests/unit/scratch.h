/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by unit tests: a private folder that is removed again, however the
 * test ends, and random numbers whose seed is printed and can be given in
 * COPPICE_SEED.
 */
#ifndef COPPICE_SCRATCH_H
#define COPPICE_SCRATCH_H

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct scratch {
	char dir[64];
	char store[80]; /* dir/store: not there yet */
	pid_t remover;  /* the process of scratch_watch(); -1: none */
	int alive;      /* open as long as the test lives, or a child of it */
};

static inline int scratch_unlink(const char *path, const struct stat *st,
                                 int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void scratch_remove(const struct scratch *scratch)
{
	nftw(scratch->dir, scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/*
 * A process that outlives the test: one that fails, crashes or is killed does
 * not come to its end.  If there can be none, the folder is left then.
 */
static inline void scratch_watch(struct scratch *scratch)
{
	int ends[2];
	char byte;

	scratch->remover = -1;
	scratch->alive = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	scratch->alive = ends[1];
	fflush(NULL);
	scratch->remover = fork();
	if (scratch->remover) {
		close(ends[0]);
		return;
	}
	/* Leave the test's group, and do not keep its output open. */
	setsid();
	signal(SIGTERM, SIG_IGN);
	if (ends[0] != 0)
		dup2(ends[0], 0);
	close_range(1, ~0u, 0);
	if (read(0, &byte, 1) != 1)
		scratch_remove(scratch);
	_exit(0);
}

static inline void scratch_init(struct scratch *scratch)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch->dir, sizeof(scratch->dir), "%.40s/coppice-XXXXXX",
	         tmp ? tmp : "/tmp");
	if (!mkdtemp(scratch->dir)) {
		perror("mkdtemp");
		exit(1);
	}
	snprintf(scratch->store, sizeof(scratch->store), "%s/store",
	         scratch->dir);
	scratch_watch(scratch);
}

static inline void scratch_release(struct scratch *scratch)
{
	scratch_remove(scratch);
	if (scratch->remover <= 0)
		return;
	/* A child may hold the other end open: closing alone does not do. */
	send(scratch->alive, "", 1, MSG_NOSIGNAL);
	close(scratch->alive);
	waitpid(scratch->remover, NULL, 0);
	scratch->remover = -1;
}

static inline uint64_t scratch_seed(void)
{
	const char *given = getenv("COPPICE_SEED");
	uint64_t seed =
	        given ? strtoull(given, NULL, 0)
	              : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();

	printf("# COPPICE_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/*
 * Return the number of operations of a random test: COPPICE_OPS, or the
 * default.  Where each takes longer by COPPICE_TEST_SLOWER, with a sanitizer,
 * there are fewer in proportion: the plain build does all of them.
 */
static inline uint64_t scratch_ops(uint64_t otherwise)
{
	const char *given = getenv("COPPICE_OPS");
	const char *slower = getenv("COPPICE_TEST_SLOWER");
	uint64_t factor = slower ? strtoull(slower, NULL, 0) : 1;

	if (given)
		return strtoull(given, NULL, 0);
	return otherwise > factor ? otherwise / factor : 1;
}

/* splitmix64 */
static inline uint64_t scratch_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

#endif
