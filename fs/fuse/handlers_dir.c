/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about directories and the names in them. */
#include "handlers_dir.h"

#include <errno.h>
#include <fcntl.h>

#include "util.h"

/*
 * Return true if the directory's entries are states, which can also change over
 * the control socket.
 */
static bool lists_states(node_t node)
{
	return node == NODE_ROOT || NODE_INO(node) == INO_SNAPDIR;
}

void handle_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	int err;

	/* Without OPENDIR the kernel caches the entries of all directories. */
	if (session->no_open && session->snapdir == SNAPDIR_DISABLED) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	err = node_open(session, node, O_RDONLY);
	if (err < 0) {
		reply_result(req, "open", ino, err);
		return;
	}
	/* The kernel may cache the entries until they are invalidated. */
	fi->cache_readdir = !(node & NODE_VIRTUAL);
	fi->keep_cache = fi->cache_readdir;
	if (fuse_reply_open(req, fi) != 0)
		node_close(session, node);
}

void handle_releasedir(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi)
{
	struct session *session = request_session(req);

	node_close(session, session_node(session, ino));
	fuse_reply_err(req, 0);
}

/* A reply to READDIR or READDIRPLUS that is being filled. */
struct listing_reply {
	fuse_req_t req;
	struct session *session;
	node_t dir;
	bool plus;
	char *data;
	size_t size;
	size_t used;
	/* Nodes looked up by the reply, to be forgotten if it is not sent. */
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
	/* The store's lock is held: a later change finds the lookup counted. */
	struct fuse_entry_param param =
	        entry_param(reply->session, entry, true);
	size_t need =
	        fuse_add_direntry_plus(reply->req, reply->data + reply->used,
	                               room, name, &param, cookie);

	if (need > room)
		return 1;
	/* The kernel does not count lookups of . and .. */
	if (!is_dots(name)) {
		reply->err = lookups_add(reply->session->lookups, entry->node);
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

/* The minimum size of an entry in each kind of reply, in bytes. */
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
	/* Mark before reading: a change after this invalidates the pages. */
	lookups_mark(session->lookups, reply.dir, CACHED_PAGES);
	if (data && nodes)
		err = fs_readdir(session->fs, reply.dir, off, plus,
		                 session->snapdir,
		                 plus ? add_entry_plus : add_entry, &reply);
	/* Entries read before an error are sent; the next request fails. */
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
	struct reply reply = {.req = req, .kind = REPLY_ENTRY, .ino = ino};
	struct changes changes = request_changes(req);
	uint64_t epoch = coherence_epoch(session);
	struct fs_cred cred = request_cred(req);
	struct fs_entry entry;

	reply.what = "make a name in";
	reply.err = fs_make(session->fs, parent, name, mode, rdev, target,
	                    &cred, &entry);
	if (reply.err < 0)
		reply_send(&reply);
	else
		reply_made(&changes, &reply, parent, name, &entry, epoch);
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
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_ENTRY, .ino = ino};
	struct changes changes = request_changes(req);
	uint64_t epoch = coherence_epoch(session);
	struct fs_entry entry;

	reply.what = "link";
	reply.err = fs_link(session->fs, node, parent, name, &entry);
	if (reply.err < 0) {
		reply_send(&reply);
		return;
	}
	changes_attrs(&changes, node);
	reply_made(&changes, &reply, parent, name, &entry, epoch);
}

/* ---- Removing and renaming ---------------------------------------------- */

/* Add the change of a name; `child` is the node that the name had before. */
static void name_changed(struct changes *changes, node_t parent,
                         const char *name, node_t child)
{
	/* A kernel with the directory may have the state, too. */
	changes_name(changes, parent, name,
	             lists_states(parent) ? parent : child);
	changes_attrs(changes, child);
}

void handle_unlink(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);
	node_t child;

	reply.what = "unlink a name in";
	reply.err = fs_remove(session->fs, parent, name, false, &child);
	if (reply.err == 0)
		name_changed(&changes, parent, name, child);
	reply_changed(&changes, &reply);
}

/* Delete a fork that is not empty (rmdir=always). */
static int delete_fork(struct session *session, const char *name)
{
	struct forest *forest = fs_forest(session->fs);
	struct state *fork;
	int err;

	store_lock(forest_store(forest));
	err = state_find(forest, 0, name, &fork);
	if (err == 0)
		err = fs_state_delete(session->fs, fork, false);
	store_unlock(forest_store(forest));
	return err;
}

void handle_rmdir(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, ino), child = 0;
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);
	int err = fs_remove(session->fs, parent, name, true, &child);

	if (err == -ENOTEMPTY && parent == NODE_ROOT && session->rmdir_always)
		err = delete_fork(session, name);
	if (err == 0)
		name_changed(&changes, parent, name, child);
	changes.gone = err == 0 && lists_states(parent);
	reply.what = "remove a directory in";
	reply.err = err;
	reply_changed(&changes, &reply);
}

/* Return true if a kernel has a .snap below a root.  mounts.policy held. */
static bool virtual_any(const struct mounts *mounts)
{
	for (const struct session *s = mounts->first; s; s = s->next)
		if (lookups_virtual(s->lookups))
			return true;
	return false;
}

void handle_rename(fuse_req_t req, fuse_ino_t ino, const char *name,
                   fuse_ino_t new_ino, const char *new_name, unsigned flags)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, ino);
	node_t into = session_node(session, new_ino);
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);
	struct fs_cred cred = request_cred(req);
	struct fs_moved moved;

	reply.what = "rename a name in";
	reply.err = fs_move(session->fs, parent, name, into, new_name, flags,
	                    &cred, &moved);
	if (reply.err < 0) {
		reply_send(&reply);
		return;
	}
	name_changed(&changes, parent, name, moved.moved);
	name_changed(&changes, into, new_name, moved.replaced);
	/* The rename may have replaced a state. */
	changes.gone = lists_states(parent);
	/*
	 * If a directory was moved, the symlinks in the .snap of and below it
	 * have new targets.
	 */
	changes.links = changes.gone ||
	                (parent != into && virtual_any(session->mounts));
	reply_changed(&changes, &reply);
}
