/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large files, durability, and what others feel meanwhile.
 *
 *   io append FILE COUNT          4 KiB at the end and fsync, COUNT times
 *   io random FILE COUNT          4 KiB over a random page, COUNT times; fsync
 *   io write FILE MIB [TEXT]      from the start to the end, and fsync; with
 *                                 TEXT that file's bytes over and over
 *   io read FILE                  from the start to the end
 *   io pieces FILE SECONDS        128 KiB at random places, past the kernel's
 *                                 pages
 *   io mmap FILE                  a byte of every page, the second time
 *   io load FILE SECONDS          write without pause, 128 KiB a call
 *   io fsyncs FILE SECONDS        append and fsync without pause
 *   io probe DIR SECONDS          small operations, a little pause after each
 *
 * Prints lines of JSON: latencies in microseconds, or bytes and seconds.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

enum { PAGE = 4096, PIECE = 128 << 10, LOAD_SIZE = 256 << 20 };

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "io: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int file_open(const char *path, int flags)
{
	int fd = open(path, flags, 0644);

	check(fd >= 0, path);
	return fd;
}

static void print_rate(const char *name, double bytes, double ms)
{
	printf("{\"op\": \"%s\", \"bytes\": %.0f, \"seconds\": %.6f}\n", name,
	       bytes, ms / 1e3);
	fflush(stdout);
}

static int64_t seconds_from_now(const char *seconds)
{
	return clock_ns() + (int64_t)(atof(seconds) * 1e9);
}

/* ---- Durability --------------------------------------------------------- */

static void append_one(int fd, uint64_t *random, struct sample *sample)
{
	char page[PAGE];
	int64_t start;

	random_fill(page, sizeof(page), random);
	start = clock_ns();
	check(write(fd, page, PAGE) == PAGE, "write");
	check(!fsync(fd), "fsync");
	sample_add(sample, clock_ns() - start);
}

static void io_append(const char *path, const char *count)
{
	int fd = file_open(path, O_WRONLY | O_CREAT | O_APPEND);
	struct sample sample = {0};
	uint64_t random = 1;

	for (int i = atoi(count); i > 0; i--)
		append_one(fd, &random, &sample);
	sample_print(&sample, "append");
	close(fd);
}

static void io_fsyncs(const char *path, const char *seconds)
{
	int fd = file_open(path, O_WRONLY | O_CREAT | O_APPEND);
	int64_t end = seconds_from_now(seconds);
	struct sample sample = {0};
	uint64_t random = 1;

	while (clock_ns() < end)
		append_one(fd, &random, &sample);
	sample_print(&sample, "append");
	close(fd);
}

static void io_random(const char *path, const char *count)
{
	int fd = file_open(path, O_RDWR), n = atoi(count);
	uint64_t random = (uint64_t)clock_ns();
	char page[PAGE];
	struct stat st;
	int64_t clock;

	check(!fstat(fd, &st) && st.st_size >= PAGE, path);
	clock = clock_ns();
	for (int i = 0; i < n; i++) {
		uint64_t at =
		        random_next(&random) % (uint64_t)(st.st_size / PAGE);

		random_fill(page, sizeof(page), &random);
		check(pwrite(fd, page, PAGE, (off_t)at * PAGE) == PAGE,
		      "pwrite");
	}
	check(!fsync(fd), "fsync");
	print_rate("random", (double)n * PAGE, clock_lap(&clock));
	close(fd);
}

/* ---- Large files -------------------------------------------------------- */

/* The bytes of a file, `ret_len` of them, at least one piece. */
static char *text_read(const char *path, size_t *ret_len)
{
	int fd = file_open(path, O_RDONLY);
	struct stat st;
	char *text;

	check(!fstat(fd, &st) && st.st_size >= PIECE, path);
	text = xcalloc(1, (size_t)st.st_size);
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = read(fd, text + at, (size_t)(st.st_size - at));

		check(n > 0, path);
		at += n;
	}
	close(fd);
	*ret_len = (size_t)st.st_size;
	return text;
}

static void io_write(const char *path, const char *mib, const char *text_path)
{
	/* No part of what is written repeats within reach of a compressor. */
	size_t len = (size_t)64 << 20, at = 0,
	       bytes = strtoull(mib, NULL, 10) << 20;
	uint64_t random = (uint64_t)clock_ns();
	char *data;
	int64_t clock;
	int fd;

	if (text_path) {
		data = text_read(text_path, &len);
	} else {
		data = xcalloc(1, len);
		random_fill(data, len, &random);
	}
	fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC);
	clock = clock_ns();
	for (size_t done = 0; done < bytes; done += PIECE) {
		if (at + PIECE > len)
			at = 0;
		/* Equal chunks would be stored once. */
		memcpy(data + at, &(uint64_t){random + done}, 8);
		if (!text_path)
			for (size_t i = PAGE; i < PIECE; i += PAGE)
				memcpy(data + at + i,
				       &(uint64_t){random + done + i}, 8);
		check(write(fd, data + at, PIECE) == PIECE, "write");
		at += PIECE;
	}
	check(!fsync(fd), "fsync");
	print_rate("write", (double)bytes, clock_lap(&clock));
	close(fd);
	free(data);
}

static void io_read(const char *path)
{
	int64_t clock = clock_ns();
	int fd = file_open(path, O_RDONLY);
	char *buffer = xcalloc(1, PIECE);
	double bytes = 0;
	ssize_t n;

	while ((n = read(fd, buffer, PIECE)) > 0)
		bytes += (double)n;
	check(!n, "read");
	print_rate("read", bytes, clock_lap(&clock));
	close(fd);
	free(buffer);
}

/* Read a byte of each page. */
static void map_touch(const volatile char *map, size_t len)
{
	for (size_t i = 0; i < len; i += PAGE)
		(void)map[i];
}

static void io_pieces(const char *path, const char *seconds)
{
	int fd = file_open(path, O_RDONLY | O_DIRECT);
	int64_t end = seconds_from_now(seconds), start, clock = clock_ns();
	char *buffer = aligned_alloc(PAGE, PIECE);
	struct sample sample = {0};
	uint64_t random = 1;
	struct stat st;
	double bytes;

	check(buffer && !fstat(fd, &st) && st.st_size >= PIECE, path);
	do {
		uint64_t at =
		        random_next(&random) % (uint64_t)(st.st_size / PIECE);

		start = clock_ns();
		check(pread(fd, buffer, PIECE, (off_t)at * PIECE) == PIECE,
		      "read");
		sample_add(&sample, clock_ns() - start);
	} while (clock_ns() < end);
	bytes = (double)sample.count * PIECE;
	print_rate("pieces", bytes, clock_lap(&clock));
	sample_print(&sample, "piece");
	close(fd);
	free(buffer);
}

static void io_mmap(const char *path)
{
	int fd = file_open(path, O_RDONLY);
	struct stat st;
	int64_t clock;
	char *map;

	check(!fstat(fd, &st), path);
	for (int i = 0; i < 2; i++) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd,
		           0);
		check(map != MAP_FAILED, "mmap");
		clock = clock_ns();
		map_touch(map, (size_t)st.st_size);
		if (i)
			print_rate("mmap", (double)st.st_size,
			           clock_lap(&clock));
		munmap(map, (size_t)st.st_size);
	}
	close(fd);
}

/* ---- Under load --------------------------------------------------------- */

static void io_load(const char *path, const char *seconds)
{
	int fd = file_open(path, O_WRONLY | O_CREAT);
	int64_t end = seconds_from_now(seconds), start, clock = clock_ns();
	char *data = xcalloc(1, PIECE);
	struct sample sample = {0};
	uint64_t random = 1;
	off_t at = 0;
	double bytes;

	while (clock_ns() < end) {
		random_fill(data, PIECE, &random);
		start = clock_ns();
		check(pwrite(fd, data, PIECE, at) == PIECE, "write");
		sample_add(&sample, clock_ns() - start);
		at = (at + PIECE) % LOAD_SIZE;
	}
	bytes = (double)sample.count * PIECE;
	print_rate("load", bytes, clock_lap(&clock));
	sample_print(&sample, "load-write");
	close(fd);
	free(data);
}

enum { PROBES = 7 };

static const char *const probe_names[PROBES] = {
        "create", "stat", "read", "overwrite", "rename", "mkdir", "unlink",
};

static bool probe_store(int flags)
{
	static char data[1000];
	static uint64_t random = 1;
	int fd = open("probe", O_WRONLY | flags, 0644);
	bool good;

	random_fill(data, sizeof(data), &random);
	good = fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data);
	return fd >= 0 && !close(fd) && good;
}

static bool probe_read(void)
{
	char data[1000];
	int fd = open("probe", O_RDONLY);
	bool good = fd >= 0 && read(fd, data, sizeof(data)) == sizeof(data);

	return fd >= 0 && !close(fd) && good;
}

/* Have the attributes read anew, and not from the kernel's memory. */
static bool probe_stat(void)
{
	struct statx st;

	return !statx(AT_FDCWD, "probe", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
	              &st);
}

static bool probe_one(int kind, int round)
{
	char name[32];

	switch (kind) {
	case 0:
		return probe_store(O_CREAT | O_EXCL);
	case 1:
		return probe_stat();
	case 2:
		return probe_read();
	case 3:
		return probe_store(O_TRUNC);
	case 4:
		return !rename("probe", "renamed");
	case 5:
		snprintf(name, sizeof(name), "dir%d", round);
		return !mkdir(name, 0755);
	default:
		return !unlink("renamed");
	}
}

static void io_probe(const char *path, const char *seconds)
{
	const struct timespec pause = {.tv_nsec = 500000};
	int64_t end = seconds_from_now(seconds), start, took;
	struct sample each[PROBES] = {0}, all = {0};

	check(!chdir(path), path);
	for (int round = 0; clock_ns() < end; round++) {
		for (int kind = 0; kind < PROBES; kind++) {
			start = clock_ns();
			check(probe_one(kind, round), probe_names[kind]);
			took = clock_ns() - start;
			sample_add(&each[kind], took);
			sample_add(&all, took);
			nanosleep(&pause, NULL);
		}
	}
	for (int kind = 0; kind < PROBES; kind++)
		sample_print(&each[kind], probe_names[kind]);
	sample_print(&all, "all");
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (argc == 4 && !strcmp(verb, "append"))
		io_append(argv[2], argv[3]);
	else if (argc == 4 && !strcmp(verb, "random"))
		io_random(argv[2], argv[3]);
	else if ((argc == 4 || argc == 5) && !strcmp(verb, "write"))
		io_write(argv[2], argv[3], argv[4]);
	else if (argc == 3 && !strcmp(verb, "read"))
		io_read(argv[2]);
	else if (argc == 4 && !strcmp(verb, "pieces"))
		io_pieces(argv[2], argv[3]);
	else if (argc == 3 && !strcmp(verb, "mmap"))
		io_mmap(argv[2]);
	else if (argc == 4 && !strcmp(verb, "load"))
		io_load(argv[2], argv[3]);
	else if (argc == 4 && !strcmp(verb, "fsyncs"))
		io_fsyncs(argv[2], argv[3]);
	else if (argc == 4 && !strcmp(verb, "probe"))
		io_probe(argv[2], argv[3]);
	else {
		fprintf(stderr, "usage: io VERB FILE [ARGUMENT]...\n");
		return 2;
	}
	return 0;
}
