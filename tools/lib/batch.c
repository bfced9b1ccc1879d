/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches of changes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "handle.h"
#include "util.h"

int coppice_batch_new(struct coppice *store, struct coppice_batch **ret_batch)
{
	struct coppice_batch *batch;
	int err = store_check_writable(store);

	if (err)
		return err;
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return fail_text(-ENOMEM, "out of memory");
	batch->store = store;
	*ret_batch = batch;
	return 0;
}

void coppice_batch_discard(struct coppice_batch *batch)
{
	if (!batch)
		return;
	batch_bytes_release(&batch->bytes);
	free(batch);
}

static int batch_fail(int err)
{
	return fail_text(err, "cannot add to a batch: %s", error_reason(err));
}

int coppice_batch_attributes(struct coppice_batch *batch, uid_t uid, gid_t gid,
                             mode_t file_mode, mode_t directory_mode)
{
	const struct batch_op op = {
	        .kind = BATCH_MODE,
	        .uid = uid,
	        .gid = gid,
	        .file_mode = (uint16_t)file_mode,
	        .dir_mode = (uint16_t)directory_mode,
	};
	int err = store_check(batch->store);

	if (err)
		return err;
	if ((file_mode | directory_mode) & ~07777u)
		err = -EINVAL;
	if (!err)
		err = batch_bytes_add(&batch->bytes, &op);
	return err ? batch_fail(err) : 0;
}

/* Add an operation on a path of a fork. */
static int op_add(struct coppice_batch *batch, struct coppice_state *fork,
                  const char *verb, const char *path, struct batch_op *op)
{
	const struct batch_op state = {
	        .kind = BATCH_STATE,
	        .number = fork->number,
	        .generation = fork->generation,
	};
	int err = store_check(batch->store);

	if (err)
		return err;
	err = batch_path(path, &op->path, &op->path_len);
	if (!err && fork->store != batch->store)
		err = -EXDEV;
	if (!err && fork->readonly)
		err = -EROFS;
	if (!err && batch->number != fork->number)
		err = batch_bytes_add(&batch->bytes, &state);
	if (!err) {
		batch->number = fork->number;
		err = batch_bytes_add(&batch->bytes, op);
	}
	return err ? fail_path(err, verb, fork, path, strlen(path)) : 0;
}

int coppice_batch_put(struct coppice_batch *batch, struct coppice_state *fork,
                      const char *path, const void *value, size_t size,
                      unsigned flags)
{
	struct batch_op op = {
	        .kind = BATCH_PUT,
	        .flags = (uint8_t)flags,
	        .value = value,
	        .len = size,
	};
	int err = flags_check(flags, COPPICE_PARENTS);

	return err ? err : op_add(batch, fork, "put", path, &op);
}

int coppice_batch_delete(struct coppice_batch *batch,
                         struct coppice_state *fork, const char *path,
                         unsigned flags)
{
	struct batch_op op = {.kind = BATCH_DELETE, .flags = (uint8_t)flags};
	int err = flags_check(flags, COPPICE_RECURSIVE | COPPICE_LENIENT);

	return err ? err : op_add(batch, fork, "delete", path, &op);
}

int coppice_batch_rename(struct coppice_batch *batch,
                         struct coppice_state *fork, const char *path,
                         const char *to, unsigned flags)
{
	struct batch_op op = {.kind = BATCH_RENAME, .flags = (uint8_t)flags};
	int err = flags_check(flags, COPPICE_PARENTS);

	if (!err)
		err = store_check(batch->store);
	if (err)
		return err;
	err = batch_path(to, &op.to, &op.to_len);
	return err ? fail_path(err, "rename to", fork, to, strlen(to))
	           : op_add(batch, fork, "rename", path, &op);
}

int coppice_batch_mkdir(struct coppice_batch *batch, struct coppice_state *fork,
                        const char *path, unsigned flags)
{
	struct batch_op op = {.kind = BATCH_MKDIR, .flags = (uint8_t)flags};
	int err = flags_check(flags, COPPICE_PARENTS | COPPICE_LENIENT);

	return err ? err : op_add(batch, fork, "make", path, &op);
}

_Static_assert((int)BATCH_PARENTS == (int)COPPICE_PARENTS &&
                       (int)BATCH_RECURSIVE == (int)COPPICE_RECURSIVE &&
                       (int)BATCH_LENIENT == (int)COPPICE_LENIENT,
               "flags are the same in both");

/* ---- Committing --------------------------------------------------------- */

static int commit_fail(const struct coppice_batch *batch,
                       const struct fs_batch_failure *failure, int err)
{
	const struct coppice_state fork = {.store = batch->store,
	                                   .number = failure->fork};

	if (failure->path)
		return fail_path(err, "change", &fork, failure->path,
		                 failure->path_len);
	return fail_text(err, "cannot commit a batch: %s",
	                 err == -EEXIST ? "a fork has a snapshot of this name"
	                                : error_reason(err));
}

/* Put the batch into a sealed file in memory, for the daemon. */
static int batch_file(const struct coppice_batch *batch, int *ret_fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	_cleanup_close_ int fd =
	        memfd_create("coppice-batch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < batch->bytes.len) {
		ssize_t n = write(fd, batch->bytes.data + done,
		                  batch->bytes.len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, seals) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Let the daemon apply the batch durably, so that this process can see it. */
static int commit_ask(struct coppice_batch *batch, const char *snapshot)
{
	_cleanup_close_ int fd = -1;
	int err = batch_file(batch, &fd);

	if (err)
		return fail_text(err, "cannot pass a batch on: %s",
		                 error_reason(err));
	return request_run(batch->store,
	                   request_new("apply", "snapshot", snapshot, NULL), fd,
	                   NULL);
}

int coppice_batch_commit(struct coppice_batch *batch, unsigned flags,
                         const char *snapshot)
{
	const struct fs_cred cred = {geteuid(), getegid(), 0};
	const struct fs_batch what = {
	        .data = batch->bytes.data,
	        .len = batch->bytes.len,
	        .cred = &cred,
	        .snapshot = snapshot,
	};
	struct fs_batch_failure failure;
	struct coppice *store = batch->store;
	uint64_t txg = 0;
	int err = store_check_writable(store);

	if (!err)
		err = flags_check(flags, COPPICE_DURABLE);
	if (err || !batch->bytes.len)
		return err;
	if (store->remote) {
		err = commit_ask(batch, snapshot);
	} else {
		err = fs_batch_apply(store->fs, &what, &txg, &failure);
		if (err)
			commit_fail(batch, &failure, err);
	}
	if (err)
		return err;
	batch->bytes.len = 0;
	batch->number = 0;
	event_post(store);
	if (flags & COPPICE_DURABLE && !store->remote)
		err = store_log(store->store, txg);
	return err ? fail_text(err, "cannot write to the store '%s': %s",
	                       store->path, error_reason(err))
	           : 0;
}
