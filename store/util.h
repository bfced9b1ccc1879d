/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small helpers for every folder: cleanup attributes, sizes, the log.  Every
 * source may include this header.
 */
#ifndef COPPICE_UTIL_H
#define COPPICE_UTIL_H

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void free_pointer(void *p)
{
	free(*(void **)p);
}

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_ _cleanup_(free_pointer)
#define _cleanup_close_ _cleanup_(close_fd)
#define _cleanup_fclose_ _cleanup_(close_file)

/* Return the pointer, and set it to NULL: the caller owns what it points to. */
#define steal(p)                                                               \
	__extension__({                                                        \
		__auto_type _s = *(p);                                         \
		*(p) = NULL;                                                   \
		_s;                                                            \
	})

static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/*
 * Return pages that have only freed memory to the system.  This takes
 * milliseconds: call it after much was freed.
 */
static inline void memory_trim(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

/* Return the wall-clock time in nanoseconds since the epoch. */
static inline int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Return monotonic time in nanoseconds, for measuring. */
static inline int64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Initialize a condition whose timed waits end at a time of mono_ns(). */
static inline void cond_init_monotonic(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

enum log_level {
	LOG_LEVEL_NONE = -1, /* nothing is written */
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* The one mutable global: messages above this level are not written. */
extern enum log_level log_level;

/*
 * Write one line to standard error, or to syslog once log_to_syslog() was
 * called.
 */
void log_line(enum log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
void log_to_syslog(const char *ident);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
