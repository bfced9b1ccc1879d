/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about extended attributes. */
#include "handlers_xattr.h"

#include <errno.h>
#include <limits.h>
#include <sys/xattr.h>

#include "caller.h"
#include "util.h"

/*
 * If the mount has no xattrs, refuse the request, which the kernel then never
 * sends again, and return true.
 */
static bool refuse(fuse_req_t req)
{
	if (!request_session(req)->no_xattr)
		return false;
	fuse_reply_err(req, ENOSYS);
	return true;
}

void handle_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                     const char *value, size_t size, int flags)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);
	bool kill_sgid;
	struct stat st;
	int err;

	if (refuse(req))
		return;
	name = protocol_setxattr_name(name, &kill_sgid);
	value = name + strlen(name) + 1;
	err = fs_setxattr(session->fs, node, name, value, size, flags);
	if (err == 0 && kill_sgid) {
		/* The caller is not in the file's group. */
		err = fs_getattr(session->fs, node, &st);
		if (err == 0 && (st.st_mode & S_ISGID)) {
			st.st_mode &= ~(mode_t)S_ISGID;
			err = fs_setattr(session->fs, node, FS_SET_MODE, &st,
			                 &st);
		}
	}
	snapdir_forget(session, node);
	/*
	 * An ACL may have changed the mode, which the kernel only expects if it
	 * applies ACLs.
	 */
	if (err == 0 && session->root_only)
		protocol_inval_inode(session->fd, ino, -1, 0);
	reply.what = "set an attribute of";
	reply.err = err;
	changes_attrs(&changes, node);
	reply_changed(&changes, &reply);
}

static void reply_xattr(fuse_req_t req, fuse_ino_t ino, const void *value,
                        size_t size, ssize_t len)
{
	if (len < 0)
		reply_result(req, "get an attribute of", ino, (int)len);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)len);
	else
		fuse_reply_buf(req, value, (size_t)len);
}

/*
 * Return true if the mount must not show the xattr: a mount of one state
 * reveals neither the store's path nor the name of another state.
 */
static bool hides_xattr(const struct session *session, const char *name)
{
	return session->state && (!strcmp(name, "user.coppice.store") ||
	                          !strcmp(name, "user.coppice.origin"));
}

void handle_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                     size_t size)
{
	struct session *session = request_session(req);
	_cleanup_free_ char *value = NULL;
	ssize_t len;

	if (refuse(req))
		return;
	if (hides_xattr(session, name)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	/* The kernel caches ACLs with the attributes. */
	lookups_mark(session->lookups, session_node(session, ino),
	             CACHED_ATTRS);
	size = MIN(size, (size_t)XATTR_SIZE_MAX);
	value = malloc(size + 1);
	len = value ? fs_getxattr(session->fs, session_node(session, ino), name,
	                          value, size)
	            : -ENOMEM;
	reply_xattr(req, ino, value, size, len);
}

/*
 * Return true if the list for the caller includes the names that only root may
 * see.
 */
static bool sees_trusted(fuse_req_t req, node_t node)
{
	struct fs *fs = request_session(req)->fs;
	char none[1];

	if (!caller_is_given(req) &&
	    fs_listxattr(fs, node, true, none, 0) ==
	            fs_listxattr(fs, node, false, none, 0))
		return false;
	return caller_is_root(req);
}

void handle_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	_cleanup_free_ char *list = NULL;
	ssize_t len;

	if (refuse(req))
		return;
	size = MIN(size, (size_t)XATTR_LIST_MAX);
	list = malloc(size + 1);
	len = list ? fs_listxattr(session->fs, node, sees_trusted(req, node),
	                          list, size)
	           : -ENOMEM;
	reply_xattr(req, ino, list, size, len);
}

void handle_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);

	if (refuse(req))
		return;
	reply.what = "remove an attribute of";
	reply.err = fs_removexattr(session->fs, node, name);
	snapdir_forget(session, node);
	changes_attrs(&changes, node);
	reply_changed(&changes, &reply);
}
