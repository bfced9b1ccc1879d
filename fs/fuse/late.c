/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers that may be sent later than the request is done: when the kernels of
 * other mounts have dropped what changed, and, with -o sync, when the change is
 * durable.
 */
#include <errno.h>
#include <stdlib.h>

#include "handlers.h"

static void reply_open(const struct late *late)
{
	struct session *session = request_session(late->req);

	if (fuse_reply_open(late->req, &late->fi) != 0)
		node_close(session, session_node(session, late->ino));
}

static void reply_create(const struct late *late)
{
	struct session *session = request_session(late->req);

	if (fuse_reply_create(late->req, &late->param, &late->fi) == 0)
		return;
	node_close(session, late->node);
	node_forget(session, late->node, 1);
}

static void reply_entry(const struct late *late)
{
	if (fuse_reply_entry(late->req, &late->param) != 0)
		node_forget(request_session(late->req), late->node, 1);
}

void reply_late(const struct late *late)
{
	struct stat st;

	if (late->err < 0) {
		reply_result(late->req, late->what, late->ino, late->err);
		return;
	}
	switch (late->kind) {
	case LATE_RESULT:
		fuse_reply_err(late->req, 0);
		break;
	case LATE_WRITE:
		fuse_reply_write(late->req, late->written);
		break;
	case LATE_ATTR:
		st = attr_param(request_session(late->req), &late->st);
		fuse_reply_attr(late->req, &st, late->timeout);
		break;
	case LATE_OPEN:
		reply_open(late);
		break;
	case LATE_ENTRY:
		reply_entry(late);
		break;
	case LATE_CREATE:
		reply_create(late);
		break;
	}
}

struct late *late_create(const struct late *late)
{
	struct session *session = request_session(late->req);
	struct late *copy = malloc(sizeof(*copy));

	if (copy) {
		*copy = *late;
		session_ref(session);
		watchdog_defer(&session->watchdog, &copy->deferral);
	}
	return copy;
}

void late_destroy(struct session *session, struct late *late)
{
	if (!late)
		return;
	watchdog_settle(&session->watchdog, &late->deferral);
	session_unref(session);
	free(late);
}

struct changes request_changes(fuse_req_t req)
{
	struct session *session = request_session(req);

	return (struct changes){.mounts = session->mounts, .session = session};
}

static void late_run(void *arg)
{
	reply_late(arg);
}

/* Undo what the kernel would hold by an answer that it does not get. */
static void late_fail(struct late *late, int err)
{
	struct session *session = request_session(late->req);

	if (late->kind == LATE_OPEN)
		node_close(session, session_node(session, late->ino));
	if (late->kind == LATE_CREATE)
		node_close(session, late->node);
	if (late->kind == LATE_CREATE || late->kind == LATE_ENTRY)
		node_forget(session, late->node, 1);
	late->err = err;
}

static void durable(void *arg, int err)
{
	struct late *late = arg;
	struct session *session = request_session(late->req);

	/* Whoever commits has said what is damaged, and says it once. */
	if (err < 0)
		late_fail(late, err == -EUCLEAN ? -EIO : err);
	reply_late(late); /* which frees the request */
	late_destroy(session, late);
}

static void durable_run(void *arg)
{
	struct late *late = *(struct late **)arg;

	/* Node 0 is of no state, which might be gone by now. */
	fs_fsync(request_session(late->req)->fs, 0, durable, late);
}

/* As reply_changed(), with the change made durable first. */
static void reply_durable(const struct changes *changes,
                          const struct late *late)
{
	struct late *copy = late_create(late);

	if (!copy) {
		struct late failed = *late;

		late_fail(&failed, -ENOMEM);
		reply_late(&failed);
	} else if (!coherence_announce(changes, durable_run, &copy,
	                               sizeof(copy))) {
		durable_run(&copy);
	}
}

void reply_changed(const struct changes *changes, const struct late *late)
{
	bool durable = late->durable || (!late->lazy && changes->session->sync);

	if (late->err == 0 && durable)
		reply_durable(changes, late);
	else if (!coherence_announce(changes, late_run, late, sizeof(*late)))
		reply_late(late);
}
