/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: find the inconsistent inodes of a new tree.
 *
 * The parent's new tree is consistent.  So only the differences from it are
 * verified, as in a check of the store: counts must have changed by as much.
 */
#include "repair_verify.h"
#include "repair_tree.h"
#include "util.h"
#include "version_walk.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

enum { NODES_A_PIECE = 1024 };

struct verify {
	struct repair *repair;
	struct tree *tree;
	struct version_walk walk;
};

static int suspect(struct verify *w, uint64_t ino)
{
	return inos_add(&w->repair->suspects, ino);
}

static int inode_get(struct verify *w, uint64_t ino, struct inode *ret_inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct item item;
	int r = tree_get(w->tree, &key, &item);

	return r ? r : inode_decode(item.value, item.len, ret_inode);
}

static bool in_slots(struct verify *w, const struct item *item, uint64_t parent,
                     const char *name, size_t len)
{
	return item_in_slots(item,
	                     slot_first(w->repair->store, parent, name, len));
}

/* ---- Items -------------------------------------------------------------- */

static int dirent_added(struct verify *w, const struct item *item,
                        const struct dirent_item *d)
{
	uint64_t dir = item->key.ino;
	struct inode inode;
	struct item other;
	int r;

	if (in_slots(w, item, 0, d->name, d->name_len) &&
	    !inode_get(w, d->ino, &inode) && IFTODT(inode.mode) == d->type &&
	    !slot_find(w->tree, d->ino, ITEM_BACKREF, dir, d->name, d->name_len,
	               &other))
		return 0;
	r = suspect(w, dir);
	return r ? r : suspect(w, d->ino);
}

static int dirent_removed(struct verify *w, uint64_t dir,
                          const struct dirent_item *d)
{
	struct dirent_item now;
	struct item other;

	if (slot_find(w->tree, d->ino, ITEM_BACKREF, dir, d->name, d->name_len,
	              &other))
		return 0;
	/* The inode still has the name: the directory must have it, too. */
	if (!slot_find(w->tree, dir, ITEM_DIRENT, 0, d->name, d->name_len,
	               &other) &&
	    !dirent_decode(other.value, other.len, &now) && now.ino == d->ino)
		return 0;
	return suspect(w, d->ino);
}

static int backref_look(struct verify *w, const struct item *item,
                        const struct backref_item *b, bool is_new)
{
	uint64_t ino = item->key.ino;
	struct dirent_item d;
	struct item other;
	bool leads;
	int r;

	leads = !slot_find(w->tree, b->parent, ITEM_DIRENT, 0, b->name,
	                   b->name_len, &other) &&
	        !dirent_decode(other.value, other.len, &d) && d.ino == ino;
	if (is_new) {
		if (leads && in_slots(w, item, b->parent, b->name, b->name_len))
			return 0;
		return suspect(w, ino);
	}
	if (!leads || !slot_find(w->tree, ino, ITEM_BACKREF, b->parent, b->name,
	                         b->name_len, &other))
		return 0;
	r = suspect(w, ino);
	return r ? r : suspect(w, b->parent);
}

static int orphan_look(struct verify *w, uint64_t ino, bool is_new)
{
	struct inode inode;

	if (inode_get(w, ino, &inode))
		return is_new ? suspect(w, ino) : 0;
	return is_new || inode.nlink ? 0 : suspect(w, ino);
}

static int on_item(void *arg, const struct item *item,
                   const union item_content *content, bool is_new)
{
	const struct xattr_item *x = &content->xattr;
	struct verify *w = arg;

	switch (item->key.kind) {
	case ITEM_ORPHAN:
		return orphan_look(w, item->key.off, is_new);
	case ITEM_BACKREF:
		return backref_look(w, item, &content->backref, is_new);
	case ITEM_XATTR:
		if (is_new && !in_slots(w, item, 0, x->name, x->name_len))
			return suspect(w, item->key.ino);
		return 0;
	case ITEM_DIRENT:
		return is_new ? dirent_added(w, item, &content->dirent)
		              : dirent_removed(w, item->key.ino,
		                               &content->dirent);
	}
	return 0;
}

/* Items that cannot be read were not copied. */
static int on_unreadable(void *arg, const struct item *item, bool is_new)
{
	return -EUCLEAN;
}

/* ---- Inodes ------------------------------------------------------------- */

static bool orphan_has(struct verify *w, uint64_t ino)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
	struct item item;

	return !tree_get(w->tree, &key, &item);
}

static int item_seek(void *arg, const struct key *key, struct item *ret_item)
{
	return tree_seek(arg, key, ret_item);
}

/* Return true if a file has data beyond its end and is no orphan. */
static bool has_tail(struct verify *w, const struct inode_change *change)
{
	return tail_has_data(item_seek, w->tree, change->ino, &change->new,
	                     store_chunk_size(w->repair->store)) &&
	       !orphan_has(w, change->ino);
}

/* Return true if the inode's own numbers are those that were counted. */
static bool sums_right(const struct inode_change *change)
{
	const struct inode_sums *counted = &change->counted;
	struct inode_sums own = inode_sums_change(change);

	return own.names == counted->names && own.entries == counted->entries &&
	       own.subdirs == counted->subdirs &&
	       own.xattrs == counted->xattrs && own.blocks == counted->blocks;
}

static int inode_check(struct verify *w, const struct inode_change *change)
{
	const struct inode *inode = &change->new;
	bool dir = S_ISDIR(inode->mode);
	int r;

	if (change->has_old && (change->old.mode ^ inode->mode) & S_IFMT) {
		r = inos_add(&w->repair->retype, change->ino);
		if (!r)
			r = inos_add(&w->repair->retype,
			             change->old.mode & S_IFMT);
		return r ? r : suspect(w, change->ino);
	}
	if (!IFTODT(inode->mode) || !sums_right(change) ||
	    (change->ino == INO_ROOT && (!dir || inode->nlink < 2)) ||
	    (dir && inode->nlink == 1) ||
	    (!inode->nlink && !orphan_has(w, change->ino)) ||
	    (S_ISLNK(inode->mode) && inode->size && !inode->blocks) ||
	    (!dir && has_tail(w, change)))
		return suspect(w, change->ino);
	return 0;
}

static int on_inode(void *arg, struct inode_change *change)
{
	struct verify *w = arg;
	struct key key = {.ino = change->ino};
	struct item item;
	int r;

	if (!change->has_old && !change->has_new) {
		r = inode_get(w, change->ino, &change->new);
		if (r < 0)
			return r == -ENOENT ? suspect(w, change->ino) : r;
		change->old = change->new;
		change->has_old = change->has_new = true;
	}
	if (change->has_new)
		return inode_check(w, change);
	r = tree_seek(w->tree, &key, &item);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return item.key.ino == change->ino ? suspect(w, change->ino) : 0;
}

/* ---- A version ---------------------------------------------------------- */

/* Make the root directory a suspect if it is missing. */
static int root_look(struct verify *w)
{
	struct inode inode;

	return inode_get(w, INO_ROOT, &inode) ? suspect(w, INO_ROOT) : 0;
}

int repair_verify(struct repair *repair)
{
	static const struct version_walk_ops ops = {
	        .item = on_item,
	        .unreadable = on_unreadable,
	        .inode = on_inode,
	};
	struct repair_version *v = repair->v, *parent = NULL;
	struct tree none = {.store = repair->store};
	struct verify w = {.repair = repair, .tree = &v->tree};
	struct key from = {0};
	int r;

	w.walk = (struct version_walk){.ops = &ops, .arg = &w};
	repair->suspects.len = repair->retype.len = 0;
	if (v->parent != NO_VERSION)
		parent = &repair->versions[v->parent];
	for (;;) {
		r = tree_diff(parent ? &parent->tree : &none, &v->tree, &from,
		              NODES_A_PIECE, version_walk_item, &w.walk);
		if (r != -EAGAIN)
			break;
		store_unlock(repair->store);
		store_lock(repair->store);
	}
	if (!r)
		r = version_walk_end(&w.walk);
	if (!r)
		r = root_look(&w);
	v->inodes = (parent ? parent->inodes : 0) + (uint64_t)w.walk.inodes;
	v->blocks = (parent ? parent->blocks : 0) + (uint64_t)w.walk.blocks;
	inos_sort(&repair->suspects);
	return r;
}
