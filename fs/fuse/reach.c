/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The nodes that a session reaches.  A file handle contains a node number that
 * its owner chooses (open_by_handle_at(2), NFS): every number in a request is
 * checked here before the request is handled.
 */
#include "reach.h"

#include <errno.h>
#include <linux/fuse.h>

#include "util.h"

/* Since protocol 7.45; headers may be older. */
enum { OPCODE_COPY_FILE_RANGE_64 = 53 };

bool session_reaches(const struct session *session, node_t node)
{
	struct forest *forest = fs_forest(session->fs);
	bool snapshots = session->snapdir != SNAPDIR_DISABLED;
	uint64_t number = NODE_STATE(node);
	struct state *state;
	bool reaches;

	if (!snapshots && NODE_INO(node) == INO_SNAPDIR)
		return false;
	if ((node & NODE_VIRTUAL) && !snapdir_everywhere(session->snapdir))
		return false;
	if (number == session->state)
		return true;
	if (!session->state && snapshots)
		return true;
	if (!number || (session->state && !snapshots))
		return false;
	/* The forks of the whole store, or the snapshots of the one fork. */
	store_lock(forest_store(forest));
	reaches = state_get(forest, number, &state) == 0 &&
	          state->fork == session->state;
	store_unlock(forest_store(forest));
	return reaches;
}

/*
 * Return true if the number is the one that the session uses for a node that it
 * reaches.
 */
static bool number_reached(const struct session *session, uint64_t ino)
{
	node_t node = session_node(session, ino);

	return session_ino(session, node) == ino &&
	       session_reaches(session, node);
}

/* Return the offset of a second node number in the request; 0: none. */
static size_t second_number(uint32_t opcode)
{
	const size_t header = sizeof(struct fuse_in_header);

	switch (opcode) {
	case FUSE_LINK:
		return header + offsetof(struct fuse_link_in, oldnodeid);
	case FUSE_RENAME:
		return header + offsetof(struct fuse_rename_in, newdir);
	case FUSE_RENAME2:
		return header + offsetof(struct fuse_rename2_in, newdir);
	case FUSE_COPY_FILE_RANGE:
	case OPCODE_COPY_FILE_RANGE_64:
		return header +
		       offsetof(struct fuse_copy_file_range_in, nodeid_out);
	default:
		return 0;
	}
}

/* Return true for requests that end an earlier one or have no node. */
static bool is_exempt(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_INIT:
	case FUSE_DESTROY:
	case FUSE_INTERRUPT:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_NOTIFY_REPLY:
		return true;
	default:
		return false;
	}
}

bool reach_refuse(const struct session *session, const void *request,
                  size_t len)
{
	const struct fuse_in_header *in = request;
	struct fuse_out_header out = {.len = sizeof(out), .error = -ESTALE};
	struct iovec iov = {&out, sizeof(out)};
	uint64_t second;
	size_t at;

	if (len < sizeof(*in) || is_exempt(in->opcode))
		return false;
	at = second_number(in->opcode);
	if (at && len >= at + sizeof(second))
		memcpy(&second, (const uint8_t *)request + at, sizeof(second));
	else
		second = in->nodeid;
	if (number_reached(session, in->nodeid) &&
	    number_reached(session, second))
		return false;
	out.unique = in->unique;
	/* A caller that was interrupted no longer waits for the answer. */
	if (writev(session->fd, &iov, 1) < 0 && errno != ENOENT)
		log_debug("cannot answer: %s", strerror(errno));
	return true;
}
