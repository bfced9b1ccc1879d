/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "caller.h"

#include <inttypes.h>
#include <stdio.h>

#include "util.h"

/* The user and group for access to files, as the daemon numbers them. */
struct caller {
	uid_t uid;
	gid_t gid;
};

bool caller_is_given(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid != (uid_t)-1;
}

/*
 * Read the user and group of a process.  -1: unknown, e.g. in a pid namespace
 * that the daemon cannot see.
 */
static struct caller read_caller(pid_t pid)
{
	struct caller caller = {(uid_t)-1, (gid_t)-1};
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = pid > 0 ? fopen(path, "re") : NULL;
	while (f && fgets(line, sizeof(line), f)) {
		uint32_t id;

		/* real, effective, saved, for files */
		if (sscanf(line, "Uid: %*u %*u %*u %" SCNu32, &id) == 1)
			caller.uid = id;
		if (sscanf(line, "Gid: %*u %*u %*u %" SCNu32, &id) == 1) {
			caller.gid = id;
			break;
		}
	}
	return caller;
}

static struct caller find_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return caller_is_given(req) ? (struct caller){ctx->uid, ctx->gid}
	                            : read_caller(ctx->pid);
}

bool caller_is_root(fuse_req_t req)
{
	return find_caller(req).uid == 0;
}

bool caller_is_member(fuse_req_t req, gid_t gid)
{
	_cleanup_free_ gid_t *groups = NULL;
	int count;

	if (find_caller(req).gid == gid)
		return true;
	count = fuse_req_getgroups(req, 0, NULL);
	if (count <= 0)
		return false;
	groups = calloc((size_t)count, sizeof(*groups));
	if (!groups)
		return false;
	count = MIN(count, fuse_req_getgroups(req, count, groups));
	for (int i = 0; i < count; i++) {
		if (groups[i] == gid)
			return true;
	}
	return false;
}
