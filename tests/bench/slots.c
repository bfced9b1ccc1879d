/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slot workload on a mounted file system.
 *
 *   slots mkdir|btrfs|none TREE SNAPS FILES UPDATES FILLER ROUNDS AT...
 *
 * The records are files in TREE; a slot ends with the snapshot SNAPS/sN, by
 * mkdir(2), by btrfs's ioctl or not at all.  Then all of it is made durable,
 * by an fsync and by syncfs(2), which is timed apart.  See bench.h.
 */
#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

enum { FILES_A_DIRECTORY = 1000 };

struct slots {
	struct slot_plan plan;
	const char *kind;
	int tree, snaps;
	int mark; /* the file that is synced */
};

static void check(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "slots: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void record_write(const struct slots *self, int i, int flags,
                         uint64_t *random)
{
	char name[32], record[SLOT_RECORD];
	int fd;

	random_fill(record, sizeof(record), random);
	snprintf(name, sizeof(name), "d%d/f%d", i / FILES_A_DIRECTORY, i);
	fd = openat(self->tree, name, O_WRONLY | flags, 0644);
	check(fd >= 0, name);
	check(pwrite(fd, record, sizeof(record), 0) == sizeof(record), name);
	close(fd);
}

static void files_make(const struct slots *self)
{
	uint64_t random = 1;
	char name[32];

	for (int i = 0; i < self->plan.files; i++) {
		if (i % FILES_A_DIRECTORY == 0) {
			snprintf(name, sizeof(name), "d%d",
			         i / FILES_A_DIRECTORY);
			check(!mkdirat(self->tree, name, 0755), name);
		}
		record_write(self, i, O_CREAT, &random);
	}
}

/* syncfs(2) does not reach every FUSE daemon, and fsync does not write all
 * that other file systems hold. */
static void all_sync(const struct slots *self)
{
	check(pwrite(self->mark, "x", 1, 0) == 1, "write");
	check(!fsync(self->mark), "fsync");
	check(!syncfs(self->tree), "syncfs");
}

static void snapshot_make(const struct slots *self, int slot)
{
	struct btrfs_ioctl_vol_args_v2 args = {.fd = self->tree};

	snprintf(args.name, sizeof(args.name), "s%d", slot);
	if (!strcmp(self->kind, "mkdir"))
		check(!mkdirat(self->snaps, args.name, 0755), "snapshot");
	else if (!strcmp(self->kind, "btrfs"))
		check(!ioctl(self->snaps, BTRFS_IOC_SNAP_CREATE_V2, &args),
		      "snapshot");
}

static void slot_run(const struct slots *self, int slot)
{
	int at = slot_plan_at(&self->plan, slot);
	int updates = at ? self->plan.updates : self->plan.filler;
	uint64_t random = (uint64_t)slot + 2;
	double write, snapshot;
	int64_t clock;

	if (at)
		all_sync(self);
	clock = clock_ns();
	for (int i = 0; i < updates; i++) {
		uint64_t n = random_next(&random) % (uint64_t)self->plan.files;

		record_write(self, (int)n, 0, &random);
	}
	write = clock_lap(&clock);
	snapshot_make(self, slot);
	snapshot = clock_lap(&clock);
	if (!at)
		return;
	all_sync(self);
	slot_print(slot, at, write, snapshot, clock_lap(&clock));
}

int main(int argc, char **argv)
{
	struct slots self = {0};

	if (argc < 4 || !slot_plan_parse(&self.plan, argc - 4, argv + 4)) {
		fprintf(stderr, "usage: slots mkdir|btrfs|none TREE SNAPS "
		                "FILES UPDATES FILLER ROUNDS AT...\n");
		return 2;
	}
	self.kind = argv[1];
	self.tree = open(argv[2], O_RDONLY | O_DIRECTORY);
	check(self.tree >= 0, argv[2]);
	self.snaps = open(argv[3], O_RDONLY | O_DIRECTORY);
	check(self.snaps >= 0, argv[3]);
	self.mark = openat(self.tree, "mark", O_WRONLY | O_CREAT, 0644);
	check(self.mark >= 0, "mark");
	files_make(&self);
	for (int slot = 1; slot <= slot_plan_last(&self.plan); slot++)
		slot_run(&self, slot);
	return 0;
}
