/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_apply.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tree_changes.h"
#include "util.h"

/* Bytes; large, because a mapped batch takes only its sender's memory. */
static const off_t batch_most = (off_t)1 << 34;

struct applying {
	struct control *c;
	const char *snapshot; /* NULL: none */
};

/* Update the mounts.  Lock NOT held. */
static void on_changed(void *arg, uint64_t fork, struct tree *before,
                       struct tree *after)
{
	struct applying *a = arg;

	if (mounts_tree_changed(a->c->mounts, fork, before, after))
		log_warning("mounts may show files as they were before a "
		            "batch of changes");
	if (a->snapshot)
		control_announce(a->c, fork, a->snapshot, true);
}

/*
 * Map the file.  It must be sealed, so that nobody can change it, or make it
 * shorter, which would raise a signal.
 */
static int batch_map(int fd, void **ret_data, size_t *ret_len)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	int have = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *data;

	if (have < 0 || (have & seals) != seals)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!st.st_size || st.st_size > batch_most)
		return st.st_size ? -EFBIG : -EPROTO;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	*ret_data = data;
	*ret_len = (size_t)st.st_size;
	return 0;
}

static int apply_fail(struct control *c, const struct fs_batch_failure *failure,
                      int err)
{
	const char *reason = err == -EPROTO ? "it cannot be read"
	                     : err == -EINVAL && !failure->path
	                             ? "no sealed file came with the request"
	                     : err == -EEXIST && !failure->path
	                             ? "a fork has a snapshot of this name"
	                             : control_reason(err);

	if (failure->path)
		return fail(c, err, "cannot change '%.*s': %s",
		            (int)failure->path_len, failure->path, reason);
	return fail(c, err, "cannot apply a batch: %s", reason);
}

int control_apply(struct control *c)
{
	struct applying a = {.c = c};
	struct fs_batch batch = {
	        .cred = &c->cred,
	        .changed = c->mounts ? on_changed : NULL,
	        .arg = &a,
	};
	struct fs_batch_failure failure = {0};
	char snapshot[STATE_NAME_MAX];
	uint64_t txg;
	void *data = NULL;
	int err = control_bytes(c->request, "snapshot", snapshot,
	                        sizeof(snapshot));

	if (!err)
		a.snapshot = batch.snapshot = snapshot;
	if (!err || err == -ENOENT)
		err = batch_map(c->fd, &data, &batch.len);
	batch.data = data;
	if (!err)
		err = fs_batch_apply(c->fs, &batch, &txg, &failure);
	if (!err)
		err = store_wait(c->store, txg);
	if (err)
		apply_fail(c, &failure, err);
	if (data)
		munmap(data, batch.len);
	return err;
}
