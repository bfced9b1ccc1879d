/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replies to requests, which may be sent later by another thread. */
#ifndef COPPICE_REPLY_H
#define COPPICE_REPLY_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "coherence.h"

static inline struct session *request_session(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* A reply, which another thread may send later. */
struct reply {
	fuse_req_t req;
	struct deferral deferral; /* of a copy made by reply_copy() */
	enum {
		REPLY_RESULT,
		REPLY_WRITE,
		REPLY_ATTR,
		REPLY_OPEN,
		REPLY_ENTRY,
		REPLY_CREATE
	} kind;
	const char *what; /* see reply_result() */
	fuse_ino_t ino;
	int err;
	bool lazy;    /* need not be durable on a mount with -o sync */
	bool durable; /* must be durable on any mount */
	size_t written;
	struct stat st;
	double timeout; /* of REPLY_ATTR */
	struct fuse_file_info fi;
	struct fuse_entry_param param;
	node_t node; /* of REPLY_ENTRY and REPLY_CREATE: the node looked up */
};

/* Return empty changes of the request's session. */
struct changes request_changes(fuse_req_t req);

/*
 * Reply when the other sessions' kernels have dropped what they cached of the
 * changes; at once if there is nothing to drop, or the request failed.  On a
 * mount with -o sync, or if reply->durable, the change is made durable first.
 */
void reply_changed(const struct changes *changes, const struct reply *reply);

/* Reply from the calling thread. */
void reply_send(const struct reply *reply);

/*
 * Copy the reply for another thread, with a reference to the session.  Called
 * by the worker that handles the request.  NULL: no memory.
 */
struct reply *reply_copy(const struct reply *reply);
void reply_destroy(struct session *session, struct reply *reply);

#endif
