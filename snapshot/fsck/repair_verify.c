/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repair: find the inconsistent inodes of a new tree.
 *
 * The parent's new tree is consistent.  So only the differences from it are
 * checked, as the check does, and counts must have changed by as much.
 */
#include "repair_verify.h"
#include "repair_tree.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

enum { NODES_A_PIECE = 1024 };

struct passing {
	uint64_t ino;
	bool any, has_old, has_new;
	struct inode old, new;
	int64_t names, entries, subdirs, xattrs, blocks;
};

struct walk {
	struct repair *repair;
	struct tree *tree;
	struct passing p;
	int64_t inodes, blocks;
};

static int suspect(struct walk *w, uint64_t ino)
{
	return inos_add(&w->repair->suspects, ino);
}

static int inode_get(struct walk *w, uint64_t ino, struct inode *ret_inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct item item;
	int r = tree_get(w->tree, &key, &item);

	return r ? r : inode_decode(item.value, item.len, ret_inode);
}

static bool place_right(struct walk *w, const struct item *item,
                        uint64_t parent, const char *name, size_t len)
{
	uint64_t first = slot_first(w->repair->store, parent, name, len);

	return item->key.off >= first && item->key.off < first + SLOT_PROBES;
}

/* ---- Items -------------------------------------------------------------- */

static int inode_item(struct walk *w, const struct item *item, bool is_new)
{
	struct passing *p = &w->p;
	struct inode inode;
	int r = inode_decode(item->value, item->len, &inode);

	if (r < 0)
		return r;
	*(is_new ? &p->new : &p->old) = inode;
	*(is_new ? &p->has_new : &p->has_old) = true;
	w->inodes += is_new ? 1 : -1;
	w->blocks += is_new ? (int64_t)inode.blocks : -(int64_t)inode.blocks;
	return 0;
}

static int dirent_item(struct walk *w, const struct item *item, bool is_new)
{
	uint64_t dir = item->key.ino;
	struct dirent_item d, now;
	struct inode inode;
	struct item other;
	bool right;
	int r = dirent_decode(item->value, item->len, &d), back;

	if (r < 0)
		return r;
	w->p.entries += is_new ? 1 : -1;
	w->p.subdirs += d.type == IFTODT(S_IFDIR) ? (is_new ? 1 : -1) : 0;
	back = slot_find(w->tree, d.ino, ITEM_BACKREF, dir, d.name, d.name_len,
	                 &other);
	if (is_new) {
		right = place_right(w, item, 0, d.name, d.name_len) &&
		        !inode_get(w, d.ino, &inode) &&
		        IFTODT(inode.mode) == d.type && !back;
		if (right)
			return 0;
		r = suspect(w, dir);
		return r ? r : suspect(w, d.ino);
	}
	if (back)
		return 0;
	/* The inode still has the name: the directory must have it, too. */
	if (!slot_find(w->tree, dir, ITEM_DIRENT, 0, d.name, d.name_len,
	               &other) &&
	    !dirent_decode(other.value, other.len, &now) && now.ino == d.ino)
		return 0;
	return suspect(w, d.ino);
}

static int backref_item(struct walk *w, const struct item *item, bool is_new)
{
	uint64_t ino = item->key.ino;
	struct backref_item b;
	struct dirent_item d;
	struct item other;
	bool leads;
	int r = backref_decode(item->value, item->len, &b);

	if (r < 0)
		return r;
	w->p.names += is_new ? 1 : -1;
	leads = !slot_find(w->tree, b.parent, ITEM_DIRENT, 0, b.name,
	                   b.name_len, &other) &&
	        !dirent_decode(other.value, other.len, &d) && d.ino == ino;
	if (is_new) {
		if (leads && place_right(w, item, b.parent, b.name, b.name_len))
			return 0;
		return suspect(w, ino);
	}
	if (!leads || !slot_find(w->tree, ino, ITEM_BACKREF, b.parent, b.name,
	                         b.name_len, &other))
		return 0;
	r = suspect(w, ino);
	return r ? r : suspect(w, b.parent);
}

static int xattr_item(struct walk *w, const struct item *item, bool is_new)
{
	struct xattr_item x;
	int r = xattr_decode(item->value, item->len, &x);

	if (r < 0)
		return r;
	w->p.xattrs += is_new ? 1 : -1;
	if (is_new && !place_right(w, item, 0, x.name, x.name_len))
		return suspect(w, item->key.ino);
	return 0;
}

static int extent_item(struct walk *w, const struct item *item, bool is_new)
{
	int64_t blocks;
	struct extent e;
	int r = extent_decode(item->value, item->len, &e);

	if (r < 0)
		return r;
	blocks = (e.len + 511) / 512;
	w->p.blocks += is_new ? blocks : -blocks;
	return 0;
}

static int item_look(struct walk *w, const struct item *item, bool is_new)
{
	struct inode inode;

	switch (item->key.kind) {
	case ITEM_ORPHAN:
		if (inode_get(w, item->key.off, &inode))
			return is_new ? suspect(w, item->key.off) : 0;
		return is_new || inode.nlink ? 0 : suspect(w, item->key.off);
	case ITEM_INODE:
		return inode_item(w, item, is_new);
	case ITEM_BACKREF:
		return backref_item(w, item, is_new);
	case ITEM_XATTR:
		return xattr_item(w, item, is_new);
	case ITEM_DIRENT:
		return dirent_item(w, item, is_new);
	case ITEM_EXTENT:
		return extent_item(w, item, is_new);
	}
	return -EUCLEAN; /* items of other kinds are not copied */
}

/* ---- Inodes ------------------------------------------------------------- */

static bool orphan_has(struct walk *w, uint64_t ino)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
	struct item item;

	return !tree_get(w->tree, &key, &item);
}

/* Return true if a file has data behind its end and is no orphan. */
static bool tail_has(struct walk *w, const struct inode *inode)
{
	uint32_t chunk = store_chunk_size(w->repair->store);
	struct key key = {.ino = w->p.ino, .kind = ITEM_EXTENT};
	struct extent e;
	struct item item;

	key.off = inode->size / chunk + !!(inode->size % chunk);
	while (!tree_seek(w->tree, &key, &item) && item.key.ino == w->p.ino &&
	       item.key.kind == ITEM_EXTENT) {
		if (!extent_decode(item.value, item.len, &e) &&
		    e.kind != EXTENT_ZERO)
			return !orphan_has(w, w->p.ino);
		key.off = item.key.off + 1;
	}
	return false;
}

/* Return true if the inode's own numbers are those that were counted. */
static bool sums_right(const struct passing *p)
{
	struct inode none = {0};
	const struct inode *old = p->has_old ? &p->old : &none;
	const struct inode *new = &p->new;
	int64_t names, entries = 0, subdirs = 0;

	if (S_ISDIR(new->mode)) {
		bool named = p->ino != INO_ROOT;

		names = (new->nlink &&named) - (old->nlink && named);
		entries = (int64_t) new->size - (int64_t)old->size;
		subdirs = (int64_t) new->nlink -
		          (p->has_old ? (int64_t)old->nlink : 2);
		/* Without a name it does not count its subdirectories. */
		if (!new->nlink || (p->has_old && !old->nlink))
			subdirs = p->subdirs;
	} else {
		names = (int64_t) new->nlink - (int64_t)old->nlink;
	}
	return names == p->names && entries == p->entries &&
	       subdirs == p->subdirs &&
	       (int64_t) new->xattrs - (int64_t)old->xattrs == p->xattrs &&
	       (int64_t) new->blocks - (int64_t)old->blocks == p->blocks;
}

static int inode_check(struct walk *w, const struct inode *inode)
{
	const struct passing *p = &w->p;
	bool dir = S_ISDIR(inode->mode);
	int r;

	if (p->has_old && (p->old.mode ^ inode->mode) & S_IFMT) {
		r = inos_add(&w->repair->retype, p->ino);
		if (!r)
			r = inos_add(&w->repair->retype, p->old.mode & S_IFMT);
		return r ? r : suspect(w, p->ino);
	}
	if (!IFTODT(inode->mode) || !sums_right(p) ||
	    (p->ino == INO_ROOT && (!dir || inode->nlink < 2)) ||
	    (dir && inode->nlink == 1) ||
	    (!inode->nlink && !orphan_has(w, p->ino)) ||
	    (S_ISLNK(inode->mode) && inode->size && !inode->blocks) ||
	    (!dir && tail_has(w, inode)))
		return suspect(w, p->ino);
	return 0;
}

static int passing_end(struct walk *w)
{
	struct passing *p = &w->p;
	struct key key = {.ino = p->ino};
	struct item item;
	int r;

	if (!p->any || !p->ino)
		return 0;
	if (!p->has_old && !p->has_new) {
		r = inode_get(w, p->ino, &p->new);
		if (r < 0)
			return r == -ENOENT ? suspect(w, p->ino) : r;
		p->old = p->new;
		p->has_old = p->has_new = true;
	}
	if (p->has_new)
		return inode_check(w, &p->new);
	r = tree_seek(w->tree, &key, &item);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return item.key.ino == p->ino ? suspect(w, p->ino) : 0;
}

static int on_item(void *arg, const struct item *old, const struct item *new)
{
	struct walk *w = arg;
	uint64_t ino = new ? new->key.ino : old->key.ino;
	int r = 0;

	if (!w->p.any || w->p.ino != ino) {
		r = passing_end(w);
		w->p = (struct passing){.ino = ino, .any = true};
	}
	if (!r && old)
		r = item_look(w, old, false);
	if (!r && new)
		r = item_look(w, new, true);
	return r;
}

/* ---- A version ---------------------------------------------------------- */

/* Make the root directory a suspect if it is missing. */
static int root_look(struct walk *w)
{
	struct inode inode;

	return inode_get(w, INO_ROOT, &inode) ? suspect(w, INO_ROOT) : 0;
}

int repair_verify(struct repair *repair)
{
	struct repair_version *v = repair->v, *parent = NULL;
	struct tree none = {.store = repair->store};
	struct walk w = {.repair = repair, .tree = &v->tree};
	struct key from = {0};
	int r;

	repair->suspects.len = repair->retype.len = 0;
	if (v->parent != NO_VERSION)
		parent = &repair->versions[v->parent];
	for (;;) {
		r = tree_diff(parent ? &parent->tree : &none, &v->tree, &from,
		              NODES_A_PIECE, on_item, &w);
		if (r != -EAGAIN)
			break;
		store_unlock(repair->store);
		store_lock(repair->store);
	}
	if (!r)
		r = passing_end(&w);
	if (!r)
		r = root_look(&w);
	v->inodes = (parent ? parent->inodes : 0) + (uint64_t)w.inodes;
	v->blocks = (parent ? parent->blocks : 0) + (uint64_t)w.blocks;
	inos_sort(&repair->suspects);
	return r;
}
