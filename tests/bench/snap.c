/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measure how long a snapshot or fork takes.
 *
 *   snap mkdir|btrfs|btrfs-ro SOURCE DIR PREFIX FIRST COUNT [CHANGES [SECONDS]]
 *
 * Makes DIR/PREFIXn, by mkdir(2) or by btrfs's ioctl, after CHANGES files of
 * SOURCE have been changed each time (1 by default), which is not measured.
 * After SECONDS no more of them are made.
 * Prints a line of JSON, in microseconds.
 */
#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

enum kind { BY_MKDIR, BY_BTRFS, BY_BTRFS_RO };

static int snapshot_make(enum kind kind, int source, int dir, const char *name)
{
	struct btrfs_ioctl_vol_args_v2 args = {.fd = source};

	if (kind == BY_MKDIR)
		return mkdirat(dir, name, 0755);
	if (kind == BY_BTRFS_RO)
		args.flags = BTRFS_SUBVOL_RDONLY;
	snprintf(args.name, sizeof(args.name), "%s", name);
	return ioctl(dir, BTRFS_IOC_SNAP_CREATE_V2, &args);
}

static int changes_make(int source, int changes, uint64_t *random)
{
	for (int i = 0; i < changes; i++) {
		char name[32], data[64];
		int fd;

		snprintf(name, sizeof(name), "changed-%d", i);
		fd = openat(source, name, O_WRONLY | O_CREAT, 0644);
		if (fd < 0)
			return -1;
		random_fill(data, sizeof(data), random);
		if (pwrite(fd, data, sizeof(data), 0) != sizeof(data)) {
			close(fd);
			return -1;
		}
		close(fd);
	}
	return 0;
}

static int directory_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	enum kind kind = BY_MKDIR;
	struct sample sample = {0};
	int source, dir, first, count, changes;
	int64_t end = INT64_MAX;
	uint64_t random = 1;
	char name[256];

	if (argc < 7) {
		fprintf(stderr, "usage: snap mkdir|btrfs|btrfs-ro SOURCE DIR "
		                "PREFIX FIRST COUNT "
		                "[CHANGES [SECONDS]]\n");
		return 2;
	}
	if (!strcmp(argv[1], "btrfs"))
		kind = BY_BTRFS;
	else if (!strcmp(argv[1], "btrfs-ro"))
		kind = BY_BTRFS_RO;
	source = directory_open(argv[2]);
	dir = directory_open(argv[3]);
	first = atoi(argv[5]);
	count = atoi(argv[6]);
	changes = argc > 7 ? atoi(argv[7]) : 1;
	if (argc > 8)
		end = clock_ns() + (int64_t)(atof(argv[8]) * 1e9);
	for (int i = first; i < first + count && clock_ns() < end; i++) {
		int64_t start;

		snprintf(name, sizeof(name), "%s%d", argv[4], i);
		if (changes_make(source, changes, &random)) {
			fprintf(stderr, "snap: change: %s\n", strerror(errno));
			return 1;
		}
		start = clock_ns();
		if (snapshot_make(kind, source, dir, name)) {
			fprintf(stderr, "snap: %s: %s\n", name,
			        strerror(errno));
			return 1;
		}
		sample_add(&sample, clock_ns() - start);
	}
	sample_print(&sample, "snapshot");
	return 0;
}
