/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the benchmark's programs: a clock, random bytes, percentiles, and
 * the plan of the slot workload.
 */
#ifndef COPPICE_BENCH_H
#define COPPICE_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

/* Milliseconds since *start, which becomes now. */
static inline double clock_lap(int64_t *start)
{
	int64_t now = clock_ns(), was = *start;

	*start = now;
	return (double)(now - was) / 1e6;
}

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Bytes that do not compress; `len` is rounded down to a multiple of 8. */
static inline void random_fill(void *data, size_t len, uint64_t *state)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word = random_next(state);

		memcpy((char *)data + i, &word, 8);
	}
}

static inline void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return p;
}

/* Latencies of one kind of operation, in nanoseconds. */
struct sample {
	int64_t *ns;
	size_t count, room;
	int64_t sum;
};

static inline void sample_add(struct sample *self, int64_t ns)
{
	if (self->count == self->room) {
		self->room = self->room ? 2 * self->room : 4096;
		self->ns = realloc(self->ns, self->room * sizeof(*self->ns));
		if (!self->ns)
			abort();
	}
	self->ns[self->count++] = ns;
	self->sum += ns;
}

static inline int sample_order(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* A line of JSON, in microseconds; the sample is empty afterwards. */
static inline void sample_print(struct sample *self, const char *name)
{
	size_t n = self->count;

	if (!n)
		return;
	qsort(self->ns, n, sizeof(*self->ns), sample_order);
	printf("{\"op\": \"%s\", \"count\": %zu, \"mean\": %.3f, "
	       "\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n",
	       name, n, (double)self->sum / (double)n / 1e3,
	       (double)self->ns[n / 2] / 1e3,
	       (double)self->ns[n * 99 / 100] / 1e3,
	       (double)self->ns[n - 1] / 1e3);
	fflush(stdout);
	free(self->ns);
	*self = (struct sample){0};
}

/*
 * The slot workload: in every slot some random ones of `files` records of 1,000
 * bytes are overwritten, and then there is a snapshot.  `rounds` slots from
 * each of the numbers in `at` on are whole, `updates` records, and measured;
 * those between them change `filler` records only, so that a late slot is
 * reached within the time and the disk that a benchmark may take.
 */
enum { SLOT_RECORD = 1000, SLOT_AT_MAX = 8 };

struct slot_plan {
	int files, updates, filler, rounds;
	int at[SLOT_AT_MAX], at_count;
};

/* Arguments FILES UPDATES FILLER ROUNDS AT...; false if there are too few. */
static inline int slot_plan_parse(struct slot_plan *self, int argc, char **argv)
{
	if (argc < 5 || argc > 4 + SLOT_AT_MAX)
		return 0;
	self->files = atoi(argv[0]);
	self->updates = atoi(argv[1]);
	self->filler = atoi(argv[2]);
	self->rounds = atoi(argv[3]);
	self->at_count = argc - 4;
	for (int i = 0; i < self->at_count; i++)
		self->at[i] = atoi(argv[4 + i]);
	return self->files > 0 && self->rounds > 0;
}

static inline int slot_plan_last(const struct slot_plan *self)
{
	return self->at[self->at_count - 1] + self->rounds - 1;
}

/* The number in `at` that the slot is measured for; 0: a slot between. */
static inline int slot_plan_at(const struct slot_plan *self, int slot)
{
	for (int i = self->at_count; i-- > 0;)
		if (slot >= self->at[i])
			return slot < self->at[i] + self->rounds ? self->at[i]
			                                         : 0;
	return 0;
}

/* One measured slot as a line of JSON, in milliseconds. */
static inline void slot_print(int slot, int at, double write, double snapshot,
                              double sync)
{
	printf("{\"slot\": %d, \"at\": %d, \"write_ms\": %.3f, "
	       "\"snapshot_ms\": %.3f, \"sync_ms\": %.3f}\n",
	       slot, at, write, snapshot, sync);
	fflush(stdout);
}

#endif
