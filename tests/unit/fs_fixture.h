/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file system on a store of its own, without a mount, for the tests of fs/;
 * and a check that everything in all its states fits together.
 */
#ifndef COPPICE_FS_FIXTURE_H
#define COPPICE_FS_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "fs.h"
#include "scratch.h"
#include "util.h"

/*
 * Assert a condition in a thread of the test's: cmocka's assertions only work
 * in the thread that runs the test.
 */
#define must(condition)                                                        \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,     \
			        #condition);                                   \
			abort();                                               \
		}                                                              \
	} while (0)

struct fixture {
	struct scratch scratch;
	struct store *store;
	struct forest *forest;
	struct fs *fs;
	struct fs_options options;
	uint32_t commit_ms;
	node_t main; /* root directory of the first state */
};

/* chunk_bits 0: the default. */
void fixture_init(struct fixture *w, uint32_t chunk_bits);
void fixture_release(struct fixture *w);
/* Close and open again. */
void fixture_reopen(struct fixture *w);
/* Go on with the store as it is on disk now, all in memory lost. */
void fixture_crash(struct fixture *w);
void fixture_open(struct fixture *w);
void fixture_close(struct fixture *w);

/* Check every state that is not being deleted: see fs_fixture.c. */
void fixture_check(struct fixture *w);

extern const struct fs_cred fixture_cred; /* 1000, 1000, umask 022 */

node_t make(struct fixture *w, node_t parent, const char *name, mode_t mode);
int try_make(struct fixture *w, node_t parent, const char *name, mode_t mode);
/* 0: there is none */
node_t look(struct fixture *w, node_t parent, const char *name);
int look_error(struct fixture *w, node_t parent, const char *name);
struct stat attr(struct fixture *w, node_t node);
void put(struct fixture *w, node_t node, off_t off, const void *data,
         size_t len);
void put_text(struct fixture *w, node_t node, off_t off, const char *text);
/* Bytes read. */
size_t get(struct fixture *w, node_t node, off_t off, void *data, size_t len);
void expect_text(struct fixture *w, node_t node, const char *text);
int resize(struct fixture *w, node_t node, off_t size);
int chmod_to(struct fixture *w, node_t node, mode_t mode);

/* Number of extents of an inode, those with index `first` and above. */
unsigned count_extents(struct fixture *w, node_t node, uint64_t first);
/* Number of ORPHAN items in a state. */
unsigned count_orphans(struct fixture *w, uint64_t state);

#endif
