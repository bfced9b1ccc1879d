/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the programs that measure the engine, without a kernel in between.
 */
#ifndef COPPICE_FS_BENCH_H
#define COPPICE_FS_BENCH_H

#include <sys/stat.h>

#include "bench.h"
#include "fs.h"

static const struct fs_cred bench_cred = {1000, 1000, 022};

/* End the program if a call has failed. */
static inline void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
	        strerror(-err));
	exit(1);
}

/* Make a file or a directory. */
static inline node_t make(struct fs *fs, node_t parent, const char *name,
                          mode_t mode)
{
	struct fs_entry entry;

	check(fs_make(fs, parent, name, mode, 0, NULL, &bench_cred, &entry),
	      name);
	return entry.node;
}

/* Make files of random bytes, a thousand in a directory. */
static inline node_t *files_make(struct fs *fs, node_t root, int files)
{
	enum { FILES_A_DIRECTORY = 1000 };
	node_t *nodes = xcalloc((size_t)files, sizeof(*nodes)), dir = root;
	uint8_t record[SLOT_RECORD];
	uint64_t random = 1;
	char name[32];

	for (int i = 0; i < files; i++) {
		if (i % FILES_A_DIRECTORY == 0) {
			snprintf(name, sizeof(name), "d%d",
			         i / FILES_A_DIRECTORY);
			dir = make(fs, root, name, S_IFDIR | 0755);
		}
		snprintf(name, sizeof(name), "f%d", i);
		nodes[i] = make(fs, dir, name, S_IFREG | 0644);
		random_fill(record, sizeof(record), &random);
		check(fs_write(fs, nodes[i], 0, record, sizeof(record), 0),
		      "write");
	}
	return nodes;
}

/* Return the processor time of this thread in milliseconds. */
static inline double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

#endif
