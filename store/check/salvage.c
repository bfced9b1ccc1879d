/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What repairing needs of a store: an empty one that is like a given one, the
 * items in which two damaged trees differ, and putting a finished file in the
 * place of a damaged one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "view.h"

enum { ASIDE_MAX = 1000 }; /* damaged files that are kept, at most */

/* ---- Comparing damaged trees -------------------------------------------- */

enum { LEVEL_ITEM = -1 };

/* A tree, read as far as it can be: what is damaged is passed over. */
struct side {
	struct view *view;
	bool done;
	int level;       /* of the subtree ahead, or LEVEL_ITEM */
	uint64_t number; /* of the subtree */
	packed low;      /* nothing ahead has a lower key */
	void (*lost)(void *arg, const struct key *low);
	void *arg;
	bool any; /* items were met; the last at: */
	packed last;
	int depth;
	struct {
		const uint8_t *data;
		uint32_t slot;
		uint8_t buffer[NODE_SIZE_MAX];
	} path[TREE_DEPTH_MAX];
};

static void side_next(struct side *side);

static void side_stand(struct side *side)
{
	const uint8_t *data = side->path[side->depth - 1].data;
	uint32_t slot = side->path[side->depth - 1].slot;
	packed key = node_key(data, slot);

	if (node_level(data)) {
		side->level = (int)node_level(data) - 1;
		side->number = node_child(data, slot);
		/* The first key of a node is no bound of its own. */
		if (key > side->low)
			side->low = key;
		return;
	}
	side->level = LEVEL_ITEM;
	side->low = key;
	/* Out of order: it is not where anybody would find it. */
	if (side->any && key <= side->last) {
		side->low = side->last;
		side_next(side);
		return;
	}
	side->any = true;
	side->last = key;
}

/* Past the item or the subtree. */
static void side_next(struct side *side)
{
	while (side->depth) {
		const uint8_t *data = side->path[side->depth - 1].data;

		if (++side->path[side->depth - 1].slot < node_count(data)) {
			side_stand(side);
			return;
		}
		side->depth--;
	}
	side->done = true;
}

static void side_enter(struct side *side)
{
	const uint8_t *data = NULL;

	if (side->depth < TREE_DEPTH_MAX)
		data = view_node(side->view, side->number,
		                 side->path[side->depth].buffer);
	if (!data || !node_count(data) ||
	    (side->depth && (int)node_level(data) != side->level)) {
		struct key low = key_unpack(side->low);

		if (side->lost)
			side->lost(side->arg, &low);
		side_next(side);
		return;
	}
	side->path[side->depth].data = data;
	side->path[side->depth++].slot = 0;
	side_stand(side);
}

static void side_init(struct side *side, struct view *view, uint64_t root)
{
	const uint8_t *data;

	*side = (struct side){.view = view, .done = !root, .number = root};
	data = root ? view_node(view, root, side->path[0].buffer) : NULL;
	if (data)
		side->level = (int)node_level(data);
}

/* As in tree_diff(): of those in front of the lower key the higher subtree. */
static struct side *side_to_move(struct side *a, struct side *b)
{
	if (a->done || b->done)
		return a->done ? b : a;
	if (a->low != b->low)
		return a->low < b->low ? a : b;
	return a->level >= b->level ? a : b;
}

static int sides_tell(struct side *a, struct side *b,
                      int (*fn)(void *arg, const struct item *old,
                                const struct item *new),
                      void *arg)
{
	struct item old, new;
	int r = 0;

	if (a)
		node_get(a->path[a->depth - 1].data, a->path[a->depth - 1].slot,
		         &old);
	if (b)
		node_get(b->path[b->depth - 1].data, b->path[b->depth - 1].slot,
		         &new);
	if (!a || !b || old.len != new.len ||
	    memcmp(old.value, new.value, old.len))
		r = fn(arg, a ? &old : NULL, b ? &new : NULL);
	if (a)
		side_next(a);
	if (b)
		side_next(b);
	return r;
}

int view_compare(struct view *view, uint64_t old_root, uint64_t new_root,
                 int (*fn)(void *arg, const struct item *old,
                           const struct item *new),
                 void (*lost)(void *arg, const struct key *low), void *arg)
{
	struct side a, b, *side;
	int r = 0;

	if (old_root == new_root)
		return 0;
	side_init(&a, view, old_root);
	side_init(&b, view, new_root);
	b.lost = lost;
	b.arg = arg;
	while (!r && !(a.done && b.done)) {
		bool both = !a.done && !b.done;

		if (both && a.level != LEVEL_ITEM && a.level == b.level &&
		    a.number == b.number) {
			side_next(&a);
			side_next(&b);
			continue;
		}
		side = side_to_move(&a, &b);
		if (side->level != LEVEL_ITEM)
			side_enter(side);
		else if (both && a.low == b.low)
			r = sides_tell(&a, &b, fn, arg);
		else
			r = sides_tell(side == &a ? side : NULL,
			               side == &b ? side : NULL, fn, arg);
	}
	return r;
}

uint64_t view_content(struct view *view, uint64_t number)
{
	struct stored_block b;

	return stored_block_get(view->store, view->txn, number, &b) ? 0
	                                                            : b.target;
}

/* ---- Files -------------------------------------------------------------- */

static int directory_sync(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int file_sync(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int store_remove_files(const char *path)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *name = NULL;

		if (asprintf(&name, "%s/%s", path, names[i]) < 0) {
			name = NULL;
			return -ENOMEM;
		}
		if (unlink(name) < 0 && errno != ENOENT && errno != ENOTDIR)
			return -errno;
	}
	return 0;
}

int store_remove(const char *path)
{
	int r = store_remove_files(path);

	if (r < 0)
		return r;
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* Another name for the damaged file, that nothing has yet. */
static int data_keep(const char *data, char **ret_kept)
{
	for (int i = 0; i < ASIDE_MAX; i++) {
		_cleanup_free_ char *name = NULL;
		int r = i ? asprintf(&name, "%s.damaged.%d", data, i + 1)
		          : asprintf(&name, "%s.damaged", data);

		if (r < 0) {
			name = NULL;
			return -ENOMEM;
		}
		if (!link(data, name)) {
			*ret_kept = steal(&name);
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int store_replace(struct store *store, const char *path, char **ret_kept)
{
	_cleanup_free_ char *data = NULL, *made = NULL, *kept = NULL;
	struct stat st;
	int r;

	if (asprintf(&data, "%s/data.mdb", store->path) < 0)
		data = NULL;
	if (asprintf(&made, "%s/data.mdb", path) < 0)
		made = NULL;
	if (!data || !made)
		return -ENOMEM;
	if (stat(data, &st) < 0)
		return -errno;
	/* Root may repair what is another's. */
	if (!geteuid() && chown(made, st.st_uid, st.st_gid) < 0)
		return -errno;
	if (chmod(made, st.st_mode & 07777) < 0)
		return -errno;
	r = file_sync(made);
	if (!r)
		r = data_keep(data, &kept);
	if (!r)
		r = directory_sync(store->path);
	if (!r && rename(made, data) < 0)
		r = -errno;
	if (!r)
		r = directory_sync(store->path);
	if (r < 0)
		return r;
	/* It had the inode number of the damaged file. */
	lock_file_clear(store);
	*ret_kept = steal(&kept);
	return 0;
}
