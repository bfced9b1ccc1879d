/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The statx request (since Linux 6.6), which includes the birth time.  libfuse
 * does not pass it on, so this file sends the reply.
 */
#include "statx.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "inode.h"

enum { OPCODE_STATX = 52 };

/* The kernel's struct fuse_sx_time, of protocol 7.39 and later. */
struct sx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct statx_out {
	uint64_t attr_valid; /* seconds that the kernel may cache the reply */
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t pad;
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};
_Static_assert(sizeof(struct statx_out) == 32 + 256, "kernel's layout");

static int load(struct fs *fs, node_t node, struct stat *ret_st,
                struct timestamp *ret_btime, bool *ret_has_btime)
{
	struct vnode v;
	int err;

	if (node_kind(node) != NODE_KIND_INODE) {
		*ret_has_btime = false;
		return fs_getattr(fs, node, ret_st);
	}
	store_lock(fs->store);
	err = vnode_load(fs, node, &v);
	if (err == 0) {
		*ret_st = vnode_stat(&v);
		*ret_btime = v.inode.btime;
		*ret_has_btime = true;
	}
	store_unlock(fs->store);
	return err;
}

static struct sx_time sx_time(const struct timespec *ts)
{
	return (struct sx_time){.sec = ts->tv_sec,
	                        .nsec = (uint32_t)ts->tv_nsec};
}

static void fill(const struct stat *st, struct statx_out *out)
{
	out->mask = STATX_BASIC_STATS;
	out->blksize = (uint32_t)st->st_blksize;
	out->nlink = (uint32_t)st->st_nlink;
	out->uid = st->st_uid;
	out->gid = st->st_gid;
	out->mode = (uint16_t)st->st_mode;
	out->size = (uint64_t)st->st_size;
	out->blocks = (uint64_t)st->st_blocks;
	out->atime = sx_time(&st->st_atim);
	out->ctime = sx_time(&st->st_ctim);
	out->mtime = sx_time(&st->st_mtim);
	out->rdev_major = major(st->st_rdev);
	out->rdev_minor = minor(st->st_rdev);
}

bool statx_answer(struct session *session, const void *request, size_t len)
{
	const struct fuse_in_header *in = request;
	struct fuse_out_header header = {0};
	struct statx_out out = {0};
	struct iovec iov[2] = {{&header, sizeof(header)}, {&out, 0}};
	struct timestamp btime = {0};
	struct stat st;
	node_t node;
	bool has_btime;
	int err;

	if (len < sizeof(*in) || in->opcode != OPCODE_STATX)
		return false;
	node = session_node(session, in->nodeid);
	lookups_mark(session->lookups, node, CACHED_ATTRS);
	err = load(session->fs, node, &st, &btime, &has_btime);
	if (err == 0) {
		fill(&st, &out);
		out.ino = session_ino(session, st.st_ino);
		out.attr_valid = KEEP_FOR_LONG;
		if (has_btime) {
			out.mask |= STATX_BTIME;
			out.btime.sec = btime.sec;
			out.btime.nsec = btime.nsec;
		}
		iov[1].iov_len = sizeof(out);
	} else if (err == -EUCLEAN) {
		log_error(
		        "cannot get attributes of inode %ju of state %ju: "
		        "damaged store",
		        (uintmax_t)NODE_INO(session_node(session, in->nodeid)),
		        (uintmax_t)NODE_STATE(
		                session_node(session, in->nodeid)));
		err = -EIO;
	}
	header.unique = in->unique;
	header.error = err;
	header.len = (uint32_t)(sizeof(header) + iov[1].iov_len);
	/* ENOENT: the caller was interrupted. */
	if (writev(session->fd, iov, 2) < 0 && errno != ENOENT)
		log_debug("cannot answer: %s", strerror(errno));
	return true;
}
