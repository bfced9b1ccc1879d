/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open nodes: how often each is open, so that an inode that loses its last
 * name is kept until the last release.
 */
#include "open.h"

#include <errno.h>
#include <fcntl.h>

#include "file.h"
#include "inode.h"
#include "orphan.h"

/* ---- The table ---------------------------------------------------------- */

static size_t open_bucket(const struct fs *fs, node_t node)
{
	return (node * UINT64_C(0x9e3779b97f4a7c15)) >> 32 &
	       (fs->open_buckets - 1);
}

struct open_node *open_find(struct fs *fs, node_t node)
{
	struct open_node *o;

	if (!fs->open_buckets)
		return NULL;
	for (o = fs->opens[open_bucket(fs, node)]; o; o = o->next)
		if (o->node == node)
			return o;
	return NULL;
}

bool open_any(struct fs *fs, uint64_t state)
{
	for (size_t i = 0; i < fs->open_buckets; i++)
		for (struct open_node *o = fs->opens[i]; o; o = o->next)
			if (NODE_STATE(o->node) == state)
				return true;
	return false;
}

static int open_grow(struct fs *fs)
{
	size_t old_count = fs->open_buckets;
	struct open_node **old = fs->opens;
	size_t count = old_count ? 2 * old_count : 64;
	struct open_node **buckets = calloc(count, sizeof(struct open_node *));

	if (!buckets)
		return -ENOMEM;
	fs->opens = buckets;
	fs->open_buckets = count;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct open_node *o = old[i];
			size_t b = open_bucket(fs, o->node);

			old[i] = o->next;
			o->next = buckets[b];
			buckets[b] = o;
		}
	}
	free(old);
	return 0;
}

int open_add(struct fs *fs, node_t node, bool orphan)
{
	struct open_node *o = open_find(fs, node);
	size_t b;

	if (o) {
		o->count++;
		return 0;
	}
	if (fs->open_count >= fs->open_buckets && open_grow(fs))
		return -ENOMEM;
	o = malloc(sizeof(*o));
	if (!o)
		return -ENOMEM;
	b = open_bucket(fs, node);
	*o = (struct open_node){fs->opens[b], node, 1, orphan};
	fs->opens[b] = o;
	fs->open_count++;
	return 0;
}

/* Remove an open.  Return true if it was the last and the inode has no name. */
static bool open_drop(struct fs *fs, node_t node)
{
	struct open_node **at, *o;
	bool orphan;

	if (!fs->open_buckets)
		return false;
	for (at = &fs->opens[open_bucket(fs, node)]; *at; at = &(*at)->next)
		if ((*at)->node == node)
			break;
	o = *at;
	if (!o || --o->count)
		return false;
	*at = o->next;
	orphan = o->orphan;
	free(o);
	fs->open_count--;
	return orphan;
}

void opens_release(struct fs *fs)
{
	for (size_t i = 0; i < fs->open_buckets; i++) {
		while (fs->opens[i]) {
			struct open_node *o = fs->opens[i];

			fs->opens[i] = o->next;
			free(o);
		}
	}
	free(fs->opens);
}

int open_keep(struct fs *fs, node_t node)
{
	int err;

	if (!fs->keep)
		return 0;
	/* Add the entry first: no memory is needed after keep() has counted. */
	err = open_add(fs, node, false);
	if (err)
		return err;
	open_find(fs, node)->count += fs->keep(fs->keep_arg, node);
	open_drop(fs, node);
	return 0;
}

void fs_set_in_use(struct fs *fs, bool (*in_use)(void *arg, uint64_t state),
                   void *arg)
{
	store_lock(fs->store);
	fs->in_use = in_use;
	fs->in_use_arg = arg;
	store_unlock(fs->store);
}

void fs_set_keeper(struct fs *fs, unsigned (*keep)(void *arg, node_t node),
                   void *arg)
{
	store_lock(fs->store);
	fs->keep = keep;
	fs->keep_arg = arg;
	store_unlock(fs->store);
}

void fs_release(struct fs *fs, node_t node)
{
	bool orphan;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return;
	store_lock(fs->store);
	orphan = open_drop(fs, node);
	store_unlock(fs->store);
	if (!orphan)
		return;
	err = orphan_finish(fs, node);
	if (err && err != -EINTR)
		log_warning("cannot delete inode %llu of state %llu yet: %s",
		            (unsigned long long)NODE_INO(node),
		            (unsigned long long)NODE_STATE(node),
		            strerror(-err));
}

/* ---- Open --------------------------------------------------------------- */

static int open_locked(struct fs *fs, node_t node, int flags, bool *ret_finish)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	struct vnode v;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return writes ? -EISDIR : 0;
	err = writes ? vnode_load_rw(fs, node, &v) : vnode_load(fs, node, &v);
	if (err)
		return err;
	if (writes && S_ISDIR(v.inode.mode))
		return -EISDIR;
	if ((flags & O_TRUNC) && S_ISREG(v.inode.mode)) {
		err = vnode_begin(&v);
		if (!err)
			err = vnode_kill_priv(&v, false);
		vnode_touch(&v);
		if (!err)
			err = file_resize(&v, 0);
		*ret_finish = err == -EAGAIN;
		if (err && err != -EAGAIN)
			return err;
	}
	return open_add(fs, node, !v.inode.nlink);
}

int fs_open(struct fs *fs, node_t node, int flags)
{
	bool finish = false;
	int err = 0;

	if (flags & O_TRUNC)
		err = store_throttle(fs->store, false);
	if (err)
		return err;
	store_lock(fs->store);
	err = open_locked(fs, node, flags, &finish);
	store_unlock(fs->store);
	/*
	 * The file is empty.  If its tail cannot be freed now, orphan cleanup
	 * does it later: the ORPHAN item is kept.
	 */
	if (finish)
		orphan_finish(fs, node);
	return err;
}
