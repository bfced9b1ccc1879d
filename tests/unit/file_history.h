/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file "f" of the fork main, the content that it must have, and snapshots of
 * it that come and go.  Included by one source of a program.
 */
#ifndef COPPICE_FILE_HISTORY_H
#define COPPICE_FILE_HISTORY_H

#include <stdio.h>

#include "fs_fixture.h"
#include "fs_struct.h"

enum { HISTORY_BYTES = 192 << 10, HISTORY_SNAPSHOTS = 6 };

static struct fixture w;
static uint64_t seed;
static uint8_t content[HISTORY_BYTES], got[HISTORY_BYTES + 1];
static size_t size; /* of the content */

static struct {
	node_t file; /* 0: there is no such snapshot */
	uint8_t content[HISTORY_BYTES];
	size_t size;
} old[HISTORY_SNAPSHOTS];

static size_t random_below(size_t n)
{
	return (size_t)(scratch_random(&seed) % n);
}

static void expect(node_t file, const uint8_t *data, size_t len)
{
	assert_int_equal(attr(&w, file).st_size, len);
	assert_int_equal(get(&w, file, 0, got, sizeof(got)), len);
	assert_memory_equal(got, data, len);
}

/* Make a snapshot of the number, in place of the one that has it. */
static void snapshot_replace(int i)
{
	node_t parent = NODE(NODE_STATE(w.main), INO_SNAPDIR);
	char name[16];

	snprintf(name, sizeof(name), "s%d", i);
	if (old[i].file)
		assert_int_equal(fs_rmdir(w.fs, parent, name), 0);
	old[i].file = look(&w, make(&w, parent, name, S_IFDIR | 0755), "f");
	old[i].size = size;
	memcpy(old[i].content, content, size);
}

static void expect_all(void)
{
	expect(look(&w, w.main, "f"), content, size);
	for (int i = 0; i < HISTORY_SNAPSHOTS; i++)
		if (old[i].file)
			expect(old[i].file, old[i].content, old[i].size);
	fixture_check(&w);
}

#endif
