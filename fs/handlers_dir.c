/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests about directories and the names in them. */
#include "handlers.h"

#include <errno.h>
#include <fcntl.h>

#include "util.h"

/* Directories whose entries are states: changed over the socket, too. */
static bool lists_states(node_t node)
{
	return node == NODE_ROOT || NODE_INO(node) == INO_SNAPDIR;
}

void handle_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	int err = node_open(session, node, O_RDONLY);

	if (err < 0) {
		reply_result(req, "open", ino, err);
		return;
	}
	/* The kernel keeps the entries until they or an announcement change. */
	if (!lists_states(node) && !session_shares(session, NODE_STATE(node))) {
		known_mark_cached(session->known, node);
		fi->cache_readdir = 1;
		fi->keep_cache = 1;
	}
	if (fuse_reply_open(req, fi) != 0)
		node_close(session, node);
}

/* An answer to readdir or readdirplus in the making. */
struct listing_reply {
	fuse_req_t req;
	struct session *session;
	node_t dir;
	bool plus;
	char *data;
	size_t size;
	size_t used;
	/* Looked up with it: for taking back if the answer is not sent. */
	node_t *nodes;
	size_t count;
	int err;
};

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int add_entry(void *arg, const char *name, const struct fs_entry *entry,
                     off_t cookie)
{
	struct listing_reply *reply = arg;
	struct stat st = attr_param(reply->session, &entry->st);
	size_t need =
	        fuse_add_direntry(reply->req, reply->data + reply->used,
	                          reply->size - reply->used, name, &st, cookie);

	if (need > reply->size - reply->used)
		return 1;
	reply->used += need;
	return 0;
}

static int add_entry_plus(void *arg, const char *name,
                          const struct fs_entry *entry, off_t cookie)
{
	struct listing_reply *reply = arg;
	size_t room = reply->size - reply->used;
	struct fuse_entry_param param =
	        entry_param(reply->session, reply->dir, entry);
	size_t need =
	        fuse_add_direntry_plus(reply->req, reply->data + reply->used,
	                               room, name, &param, cookie);

	if (need > room)
		return 1;
	/* The kernel does not look these two up. */
	if (!is_dots(name)) {
		reply->err = known_add(reply->session->known, entry->node);
		if (reply->err < 0)
			return 1;
		reply->nodes[reply->count++] = entry->node;
	}
	reply->used += need;
	return 0;
}

static void take_back(struct listing_reply *reply)
{
	for (size_t i = 0; i < reply->count; i++)
		node_forget(reply->session, reply->nodes[i], 1);
}

/* The least that an entry takes in an answer of each kind. */
enum { ENTRY_MIN = 24, ENTRY_PLUS_MIN = 152, LISTING_MAX = 1 << 20 };

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                 bool plus)
{
	struct session *session = request_session(req);
	struct listing_reply reply = {
	        .req = req,
	        .session = session,
	        .dir = session_node(session, ino),
	        .plus = plus,
	        .size = MIN(size, (size_t)LISTING_MAX),
	};
	_cleanup_free_ char *data = malloc(reply.size);
	_cleanup_free_ node_t *nodes = calloc(
	        plus ? reply.size / ENTRY_PLUS_MIN + 1 : 1, sizeof(node_t));
	int err = -ENOMEM;

	reply.data = data;
	reply.nodes = nodes;
	if (data && nodes)
		err = fs_readdir(session->fs, reply.dir, off, plus,
		                 session->snapdir,
		                 plus ? add_entry_plus : add_entry, &reply);
	/* What was found before an error is told first. */
	if (err >= 0)
		err = reply.err;
	if (err < 0 && reply.used == 0) {
		reply_result(req, "list", ino, err);
		return;
	}
	if (fuse_reply_buf(req, data, reply.used) != 0)
		take_back(&reply);
}

void handle_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
	list(req, ino, size, off, false);
}

void handle_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi)
{
	list(req, ino, size, off, true);
}

/* ---- Making ------------------------------------------------------------- */

static void make(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode,
                 dev_t rdev, const char *target)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, ino);
	struct fs_cred cred = request_cred(req);
	struct fs_entry entry;
	int err = fs_make(session->fs, parent, name, mode, rdev, target, &cred,
	                  &entry);

	if (err < 0)
		reply_result(req, "make a name in", ino, err);
	else
		reply_entry(req, "make", parent, &entry);
}

void handle_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                  mode_t mode, dev_t rdev)
{
	make(req, parent, name, mode, rdev, NULL);
}

void handle_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                  mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & ~(mode_t)S_IFMT), 0, NULL);
}

void handle_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                    const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, 0, target);
}

void handle_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent_ino,
                 const char *name)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, parent_ino);
	struct fs_entry entry;
	int err = fs_link(session->fs, session_node(session, ino), parent, name,
	                  &entry);

	if (err < 0)
		reply_result(req, "link", ino, err);
	else
		reply_entry(req, "link", parent, &entry);
}

/* ---- Removing and renaming ---------------------------------------------- */

void handle_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *session = request_session(req);

	reply_result(
	        req, "unlink a name in", parent,
	        fs_unlink(session->fs, session_node(session, parent), name));
}

/* The answer to a change of states waits for what it makes others forget. */
static void reply_announced(fuse_req_t req, fuse_ino_t ino,
                            void (*announce)(struct session *session,
                                             const struct announcement *a))
{
	struct late late = {.req = req, .kind = LATE_RESULT, .ino = ino};
	struct announcement announcement = {.run = late_run};

	announcement.arg = late_create(&late);
	if (announcement.arg)
		announce(request_session(req), &announcement);
	else
		reply_late(&late);
}

/* rmdir=always: what only this fork holds goes with it. */
static int delete_fork(struct session *session, const char *name)
{
	struct forest *forest = fs_forest(session->fs);
	struct state *fork;
	int err;

	store_lock(forest_store(forest));
	err = state_find(forest, 0, name, &fork);
	if (err == 0)
		err = state_delete(forest, fork, false);
	store_unlock(forest_store(forest));
	return err;
}

void handle_rmdir(fuse_req_t req, fuse_ino_t parent_ino, const char *name)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, parent_ino);
	int err = fs_rmdir(session->fs, parent, name);

	if (err == -ENOTEMPTY && parent == NODE_ROOT && session->rmdir_always)
		err = delete_fork(session, name);
	if (err == 0 && lists_states(parent))
		reply_announced(req, parent_ino, announce_gone);
	else
		reply_result(req, "remove a directory in", parent_ino, err);
}

void handle_rename(fuse_req_t req, fuse_ino_t parent_ino, const char *name,
                   fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, parent_ino);
	node_t into = session_node(session, new_parent);
	struct fs_cred cred = request_cred(req);
	int err = fs_rename(session->fs, parent, name, into, new_name, flags,
	                    &cred);

	if (err == 0 && lists_states(parent))
		reply_announced(req, parent_ino, announce_links);
	else
		reply_result(req, "rename a name in", parent_ino, err);
}
