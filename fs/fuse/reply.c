/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Replies, which may be sent some time after the request is done: when the
 * kernels of other mounts have dropped the changes from their caches and, with
 * -o sync, when the change is durable.
 */
#include "reply.h"

#include <errno.h>
#include <stdlib.h>

#include "handlers.h"

static void reply_open(const struct reply *reply)
{
	struct session *session = request_session(reply->req);

	if (fuse_reply_open(reply->req, &reply->fi) != 0)
		file_close(session, session_node(session, reply->ino));
}

static void reply_created(const struct reply *reply)
{
	struct session *session = request_session(reply->req);

	if (fuse_reply_create(reply->req, &reply->param, &reply->fi) == 0)
		return;
	file_close(session, reply->node);
	node_forget(session, reply->node, 1);
}

static void reply_entry(const struct reply *reply)
{
	if (fuse_reply_entry(reply->req, &reply->param) != 0)
		node_forget(request_session(reply->req), reply->node, 1);
}

void reply_send(const struct reply *reply)
{
	struct stat st;

	if (reply->err < 0) {
		reply_result(reply->req, reply->what, reply->ino, reply->err);
		return;
	}
	switch (reply->kind) {
	case REPLY_RESULT:
		fuse_reply_err(reply->req, 0);
		break;
	case REPLY_WRITE:
		fuse_reply_write(reply->req, reply->written);
		break;
	case REPLY_ATTR:
		st = attr_param(request_session(reply->req), &reply->st);
		fuse_reply_attr(reply->req, &st, reply->timeout);
		break;
	case REPLY_OPEN:
		reply_open(reply);
		break;
	case REPLY_ENTRY:
		reply_entry(reply);
		break;
	case REPLY_CREATE:
		reply_created(reply);
		break;
	}
}

struct reply *reply_copy(const struct reply *reply)
{
	struct session *session = request_session(reply->req);
	struct reply *copy = malloc(sizeof(*copy));

	if (copy) {
		*copy = *reply;
		session_ref(session);
		watchdog_defer(&session->watchdog, &copy->deferral);
	}
	return copy;
}

void reply_destroy(struct session *session, struct reply *reply)
{
	if (!reply)
		return;
	watchdog_settle(&session->watchdog, &reply->deferral);
	session_unref(session);
	free(reply);
}

struct changes request_changes(fuse_req_t req)
{
	struct session *session = request_session(req);

	return (struct changes){.mounts = session->mounts, .session = session};
}

static void reply_run(void *arg)
{
	reply_send(arg);
}

/* Undo the opens and lookups that the reply would have given to the kernel. */
static void reply_fail(struct reply *reply, int err)
{
	struct session *session = request_session(reply->req);

	if (reply->kind == REPLY_OPEN)
		file_close(session, session_node(session, reply->ino));
	if (reply->kind == REPLY_CREATE)
		file_close(session, reply->node);
	if (reply->kind == REPLY_CREATE || reply->kind == REPLY_ENTRY)
		node_forget(session, reply->node, 1);
	reply->err = err;
}

static void durable(void *arg, int err)
{
	struct reply *reply = arg;
	struct session *session = request_session(reply->req);

	/* The committer has logged the damage. */
	if (err < 0)
		reply_fail(reply, err == -EUCLEAN ? -EIO : err);
	reply_send(reply); /* frees the request */
	reply_destroy(session, reply);
}

static void durable_run(void *arg)
{
	struct reply *reply = *(struct reply **)arg;

	/* Node 0 belongs to no state; the file's may be deleted by now. */
	fs_fsync(request_session(reply->req)->fs, 0, durable, reply);
}

/* Make the change durable, then reply as reply_changed() does. */
static void reply_durable(const struct changes *changes,
                          const struct reply *reply)
{
	struct reply *copy = reply_copy(reply);

	if (!copy) {
		struct reply failed = *reply;

		reply_fail(&failed, -ENOMEM);
		reply_send(&failed);
	} else if (!coherence_announce(changes, durable_run, &copy,
	                               sizeof(copy))) {
		durable_run(&copy);
	}
}

void reply_changed(const struct changes *changes, const struct reply *reply)
{
	bool durable =
	        reply->durable || (!reply->lazy && changes->session->sync);

	if (reply->err == 0 && durable)
		reply_durable(changes, reply);
	else if (!coherence_announce(changes, reply_run, reply, sizeof(*reply)))
		reply_send(reply);
}
