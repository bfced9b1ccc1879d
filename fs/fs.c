/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file system as a whole: creating and freeing it, fsync and statfs.
 */
#include "fs.h"

#include <errno.h>
#include <sys/mman.h>

#include "cut.h"
#include "fs_struct.h"
#include "listing.h"
#include "open_table.h"
#include "orphan_cleanup.h"

/* Queue the states of TABLE_ORPHAN: a crash left orphans in them. */
static int leftovers_find(struct fs *fs)
{
	struct record record = {0};
	int err;

	/* A read-only store keeps its orphans. */
	if (store_throttle(fs->store, false) == -EROFS)
		return 0;
	store_lock(fs->store);
	for (;;) {
		err = table_next(fs->store, TABLE_ORPHAN, record.key,
		                 record.key_len, &record);
		if (err)
			break;
		if (record.key_len == 8)
			err = orphan_cleanup_push(fs, be64_get(record.key));
		if (err)
			break;
	}
	store_unlock(fs->store);
	return err == -ENOENT ? 0 : err;
}

static bool keeps_number(void *arg, uint64_t number)
{
	struct fs *fs = arg;

	return open_any(fs, number) ||
	       (fs->in_use && fs->in_use(fs->in_use_arg, number));
}

void fs_rest(struct fs *fs)
{
	chunk_rest_bulk(fs->store);
}

int fs_create(struct forest *forest, const struct fs_options *options,
              struct fs **ret_fs)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	void *zeros;
	int err;

	if (!fs)
		return -ENOMEM;
	fs->forest = forest;
	fs->store = forest_store(forest);
	fs->options = *options;
	fs->chunk_size = store_chunk_size(fs->store);
	fs->chunk_bits = (unsigned)__builtin_ctz(fs->chunk_size);
	/* Private and never written: all pages are the kernel's zero page. */
	zeros = mmap(NULL, fs->chunk_size, PROT_READ,
	             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fs->cuts = calloc(CUTS, sizeof(*fs->cuts));
	if (zeros == MAP_FAILED || !fs->cuts) {
		if (zeros != MAP_FAILED)
			munmap(zeros, fs->chunk_size);
		free(fs->cuts);
		free(fs);
		return -ENOMEM;
	}
	fs->zeros = zeros;
	store_lock(fs->store);
	forest_set_keeper(forest, keeps_number, fs);
	store_unlock(fs->store);
	err = orphan_cleanup_start(fs);
	if (!err)
		err = leftovers_find(fs);
	if (err) {
		fs_destroy(fs);
		return err;
	}
	*ret_fs = fs;
	return 0;
}

void fs_destroy(struct fs *fs)
{
	if (!fs)
		return;
	orphan_cleanup_stop(fs);
	store_lock(fs->store);
	forest_set_keeper(fs->forest, NULL, NULL);
	store_unlock(fs->store);
	opens_release(fs);
	listings_release(fs);
	cuts_release(fs);
	munmap(fs->zeros, fs->chunk_size);
	free(fs);
}

struct forest *fs_forest(struct fs *fs)
{
	return fs->forest;
}

void fs_fsync(struct fs *fs, node_t node, void (*done)(void *arg, int err),
              void *arg)
{
	struct state *state;
	int err = 0;

	store_lock(fs->store);
	if (NODE_STATE(node))
		err = state_get(fs->forest, NODE_STATE(node), &state);
	if (!err && !store_is_readonly(fs->store)) {
		store_unlock(fs->store);
		store_fsync(fs->store, done, arg);
		return;
	}
	store_unlock(fs->store);
	done(arg, err);
}

int fs_statfs(struct fs *fs, uint64_t state, struct statvfs *ret_vfs)
{
	enum { BLOCK = 4096 };
	const fsfilcnt_t inos = (fsfilcnt_t)1 << NODE_INO_BITS;
	struct statvfs vfs = {
	        .f_bsize = BLOCK,
	        .f_frsize = BLOCK,
	        .f_namemax = NAME_LEN_MAX,
	        .f_fsid = (unsigned long)(be64_get(store_uuid(fs->store)) ^
	                                  state),
	};
	struct store_stats stats;
	struct state *s;
	uint64_t used, quota = UINT64_MAX, counted = 0;
	int err;

	store_stats(fs->store, &stats);
	used = stats.file_bytes + stats.pending_bytes;
	used -= MIN(used, stats.free_bytes);
	if (state) {
		store_lock(fs->store);
		err = state_get(fs->forest, state, &s);
		if (!err) {
			used = state_blocks(s) << BLOCK_SHIFT;
			err = quota_get(s, &quota);
			counted = quota_used(s);
			vfs.f_files = inos;
			vfs.f_ffree = inos - state_inodes(s);
			vfs.f_favail = vfs.f_ffree;
		}
		store_unlock(fs->store);
		if (err)
			return err;
	}
	if (quota != UINT64_MAX) {
		used = counted;
		stats.avail_bytes =
		        MIN(stats.avail_bytes, quota - MIN(quota, counted));
	}
	vfs.f_bfree = vfs.f_bavail = stats.avail_bytes / BLOCK;
	vfs.f_blocks = (used + BLOCK - 1) / BLOCK + vfs.f_bfree;
	*ret_vfs = vfs;
	return 0;
}
