/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small files, one operation on each of them in turn, with as little cost in
 * the client as can be.
 *
 *   small DIR FILES SIZE PHASE...
 *
 * Phases: create, stat, read, overwrite (O_TRUNC and a write), rename, unlink.
 * There are 10,000 files a directory.  Prints a line of JSON a phase, in
 * microseconds an operation.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

enum { FILES_A_DIRECTORY = 10000 };

struct small {
	int files;
	size_t size;
	char *data, *buffer;
};

typedef int phase_fn(const struct small *self, const char *name, int i);

static int store_data(const struct small *self, const char *name, int flags)
{
	int fd = open(name, O_WRONLY | flags, 0644);

	if (fd < 0)
		return -1;
	if (write(fd, self->data, self->size) != (ssize_t)self->size) {
		close(fd);
		return -1;
	}
	return close(fd);
}

static int phase_create(const struct small *self, const char *name, int i)
{
	return store_data(self, name, O_CREAT | O_EXCL);
}

static int phase_overwrite(const struct small *self, const char *name, int i)
{
	return store_data(self, name, O_TRUNC);
}

static int phase_stat(const struct small *self, const char *name, int i)
{
	struct stat st;

	return stat(name, &st);
}

static int phase_read(const struct small *self, const char *name, int i)
{
	int fd = open(name, O_RDONLY);

	if (fd < 0)
		return -1;
	if (read(fd, self->buffer, self->size) != (ssize_t)self->size) {
		close(fd);
		return -1;
	}
	return close(fd);
}

static int phase_rename(const struct small *self, const char *name, int i)
{
	char other[32];

	snprintf(other, sizeof(other), "d%d/r%d", i / FILES_A_DIRECTORY, i);
	return rename(name, other);
}

static int phase_unlink(const struct small *self, const char *name, int i)
{
	char other[32];

	snprintf(other, sizeof(other), "d%d/r%d", i / FILES_A_DIRECTORY, i);
	return unlink(other) ? unlink(name) : 0;
}

static const struct phase {
	const char *name;
	phase_fn *run;
} phases[] = {
        {"create", phase_create}, {"stat", phase_stat},
        {"read", phase_read},     {"overwrite", phase_overwrite},
        {"rename", phase_rename}, {"unlink", phase_unlink},
};

static void directories_make(const struct small *self)
{
	char name[32];

	for (int i = 0; i < self->files; i += FILES_A_DIRECTORY) {
		snprintf(name, sizeof(name), "d%d", i / FILES_A_DIRECTORY);
		if (mkdir(name, 0755) && errno != EEXIST) {
			perror(name);
			exit(1);
		}
	}
}

static void phase_run(struct small *self, const struct phase *phase)
{
	struct sample sample = {0};
	uint64_t random = 1;
	char name[32];

	for (int i = 0; i < self->files; i++) {
		int64_t start;

		snprintf(name, sizeof(name), "d%d/f%d", i / FILES_A_DIRECTORY,
		         i);
		random_fill(self->data, self->size, &random);
		start = clock_ns();
		if (phase->run(self, name, i)) {
			fprintf(stderr, "small: %s %s: %s\n", phase->name, name,
			        strerror(errno));
			exit(1);
		}
		sample_add(&sample, clock_ns() - start);
	}
	sample_print(&sample, phase->name);
}

static const struct phase *phase_find(const char *name)
{
	for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++)
		if (!strcmp(phases[i].name, name))
			return &phases[i];
	fprintf(stderr, "small: no phase '%s'\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	struct small self = {0};

	if (argc < 5) {
		fprintf(stderr, "usage: small DIR FILES SIZE PHASE...\n");
		return 2;
	}
	self.files = atoi(argv[2]);
	self.size = strtoull(argv[3], NULL, 10);
	self.data = xcalloc(1, self.size);
	self.buffer = xcalloc(1, self.size);
	if (chdir(argv[1])) {
		perror(argv[1]);
		return 1;
	}
	directories_make(&self);
	for (int i = 4; i < argc; i++)
		phase_run(&self, phase_find(argv[i]));
	free(self.data);
	free(self.buffer);
	return 0;
}
