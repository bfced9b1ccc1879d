/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Point reads by libcoppice.
 *
 *   lib_reads STORE KEYS SLOTS THREADS ROUNDS [MEMORY_MB]
 *
 * Makes the store if there is none: KEYS values of 1,000 bytes, then SLOTS
 * slots that overwrite 20,000 of them each and end in a snapshot.  Then, ROUNDS
 * times, reads random keys of the newest state and of a slot in the middle, one
 * by one and by coppice_get_many(), from THREADS threads at once.  Prints a
 * line of JSON each time.  See bench.h.
 */
#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "coppice.h"

enum { READS = 100000, UPDATES = 20000, MANY = 64, KEY = 32, THREADS_MAX = 64 };

struct bench {
	struct coppice *store;
	uint64_t keys;
	int slots, threads;
};

static void check(ssize_t r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "lib_reads: %s: %s\n", what, coppice_error());
	exit(1);
}

static void key_of(char key[KEY], uint64_t n)
{
	snprintf(key, KEY, "d%03d/k%llu", (int)(n % 100),
	         (unsigned long long)n);
}

/* ---- Making the store --------------------------------------------------- */

static void records_put(struct bench *self, int slot, uint64_t count)
{
	uint64_t random = (uint64_t)slot + 1;
	struct coppice_state *fork;
	struct coppice_batch *batch;
	uint8_t record[SLOT_RECORD];
	char key[KEY], name[KEY];

	check(coppice_state_open(self->store, "main", &fork), "main");
	check(coppice_batch_new(self->store, &batch), "batch");
	for (uint64_t i = 0; i < count; i++) {
		key_of(key, slot ? random_next(&random) % self->keys : i);
		random_fill(record, sizeof(record), &random);
		check(coppice_batch_put(batch, fork, key, record,
		                        sizeof(record), COPPICE_PARENTS),
		      "put");
	}
	snprintf(name, sizeof(name), "s%d", slot);
	check(coppice_batch_commit(batch, COPPICE_DURABLE, name), "commit");
	coppice_batch_discard(batch);
	coppice_state_close(fork);
}

static void store_make(struct bench *self, const char *path)
{
	check(coppice_open(path, COPPICE_CREATE, NULL, &self->store), "create");
	records_put(self, 0, self->keys);
	for (int slot = 1; slot <= self->slots; slot++)
		records_put(self, slot, UPDATES);
	check(coppice_close(self->store), "close");
}

/* ---- Reading ------------------------------------------------------------ */

struct reader {
	pthread_t thread;
	struct coppice_state *state;
	uint64_t keys, random;
	bool many;
	double cpu_ms;
};

static double thread_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void many_read(struct reader *r)
{
	static __thread uint8_t records[MANY][SLOT_RECORD];
	struct coppice_get gets[MANY];
	char keys[MANY][KEY];

	for (int i = 0; i < MANY; i++) {
		key_of(keys[i], random_next(&r->random) % r->keys);
		gets[i] = (struct coppice_get){keys[i], 0, records[i],
		                               SLOT_RECORD, -1};
	}
	check(coppice_get_many(r->state, gets, MANY), "get many");
	for (int i = 0; i < MANY; i++)
		check(gets[i].result == SLOT_RECORD ? 0 : -1, keys[i]);
}

static void *reader_run(void *arg)
{
	struct reader *r = arg;
	uint8_t record[SLOT_RECORD];
	double start = thread_ms();
	char key[KEY];

	for (int i = 0; i < READS; i += r->many ? MANY : 1) {
		if (r->many) {
			many_read(r);
			continue;
		}
		key_of(key, random_next(&r->random) % r->keys);
		check(coppice_get(r->state, key, 0, record, sizeof(record)),
		      key);
	}
	r->cpu_ms = thread_ms() - start;
	return NULL;
}

static void reads_run(struct bench *self, const char *name, bool many,
                      const char *what)
{
	struct reader readers[THREADS_MAX];
	struct coppice_state *state;
	int64_t clock = clock_ns();
	double opened, ms, cpu = 0;

	check(coppice_state_open(self->store, name, &state), name);
	opened = clock_lap(&clock);
	for (int i = 0; i < self->threads; i++) {
		readers[i] =
		        (struct reader){.state = state,
		                        .keys = self->keys,
		                        .random = (uint64_t)clock + (uint64_t)i,
		                        .many = many};
		pthread_create(&readers[i].thread, NULL, reader_run,
		               &readers[i]);
	}
	for (int i = 0; i < self->threads; i++) {
		pthread_join(readers[i].thread, NULL);
		cpu += readers[i].cpu_ms;
	}
	ms = clock_lap(&clock);
	coppice_state_close(state);
	printf("{\"reads\": \"%s\", \"many\": %d, \"threads\": %d, "
	       "\"open_us\": %.1f, \"per_s\": %.0f, "
	       "\"per_cpu_s\": %.0f}\n",
	       what, many, self->threads, opened * 1e3,
	       READS * (double)self->threads / ms * 1e3,
	       READS * (double)self->threads / cpu * 1e3);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct coppice_options options = {.size = sizeof(options)};
	struct bench self = {0};
	char old[KEY];
	int rounds;

	if (argc < 6) {
		fprintf(stderr, "usage: lib_reads STORE KEYS SLOTS THREADS "
		                "ROUNDS [MEMORY_MB]\n");
		return 2;
	}
	self.keys = strtoull(argv[2], NULL, 10);
	self.slots = atoi(argv[3]);
	self.threads = atoi(argv[4]);
	if (self.threads < 1 || self.threads > THREADS_MAX)
		self.threads = 1;
	rounds = atoi(argv[5]);
	if (argc > 6)
		options.memory = strtoull(argv[6], NULL, 10) << 20;
	if (access(argv[1], F_OK))
		store_make(&self, argv[1]);
	check(coppice_open(argv[1], 0, &options, &self.store), "open");
	snprintf(old, sizeof(old), "main~s%d", self.slots / 2);
	for (int i = 0; i < rounds; i++) {
		reads_run(&self, "main", false, "newest");
		reads_run(&self, "main", true, "newest");
		reads_run(&self, old, false, "old");
		reads_run(&self, old, true, "old");
	}
	check(coppice_close(self.store), "close");
	return 0;
}
