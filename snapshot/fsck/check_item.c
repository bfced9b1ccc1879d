/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Check the items of a version's tree that differ from its parent's.
 *
 * Each added item is checked by itself, together with the items it refers to.
 * For each inode, the items added and removed are counted: the inode's own
 * numbers must have changed by as much.  In a version without a parent all
 * items count as added.
 */
#include "check_item.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

typedef unsigned long long ull;

/* The inode whose items are being visited. */
struct passing {
	uint64_t ino;
	bool any;
	bool has_old, has_new; /* the inode item itself differs */
	struct inode old, new;
	int64_t names, entries, subdirs, xattrs,
	        blocks; /* change against the parent */
	bool bad;       /* an item cannot be read: the counts are useless */
};

struct walk {
	struct check *check;
	struct check_version *v;
	const struct view_tree *tree;
	struct passing p;
	int64_t inodes, blocks; /* change against the parent */
};

static int report(struct walk *w, const char *kind, uint64_t ino,
                  const char *what)
{
	struct about about = {.version = w->v->id, .ino = ino};

	return check_report(w->check, kind, &about, "%s", what);
}

/* Report a finding about an entry of a directory. */
static int report_entry(struct walk *w, const char *kind, uint64_t dir,
                        const char *name, size_t name_len, const char *what)
{
	struct about about = {.version = w->v->id,
	                      .ino = dir,
	                      .name = name,
	                      .name_len = name_len};

	return check_report(w->check, kind, &about, "%s", what);
}

/* ---- Looking things up -------------------------------------------------- */

static int inode_get(struct walk *w, uint64_t root, uint64_t ino,
                     struct inode *ret_inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct item item;
	int r = view_get(w->check->view, root, &key, &item);

	return r ? r : inode_decode(item.value, item.len, ret_inode);
}

static uint64_t slot_of(struct walk *w, uint64_t parent, const char *name,
                        size_t name_len)
{
	return slot_first(w->check->store, parent, name, name_len);
}

/* Find the entry of a name.  -ENOENT. */
static int dirent_get(struct walk *w, uint64_t dir, const char *name,
                      size_t name_len, struct item *ret_item,
                      struct dirent_item *ret)
{
	uint64_t first = slot_of(w, 0, name, name_len);
	struct key key = {dir, ITEM_DIRENT, first};

	for (;;) {
		int r = view_seek(w->check->view, w->tree->root, &key,
		                  ret_item);

		if (r)
			return r;
		if (ret_item->key.ino != dir ||
		    ret_item->key.kind != ITEM_DIRENT ||
		    ret_item->key.off >= first + SLOT_PROBES)
			return -ENOENT;
		r = dirent_decode(ret_item->value, ret_item->len, ret);
		if (r)
			return r;
		if (ret->name_len == name_len &&
		    !memcmp(ret->name, name, name_len))
			return 0;
		key.off = ret_item->key.off + 1;
	}
}

static int backref_get(struct walk *w, uint64_t ino, uint64_t parent,
                       const char *name, size_t name_len, struct item *ret_item)
{
	uint64_t first = slot_of(w, parent, name, name_len);
	struct key key = {ino, ITEM_BACKREF, first};
	struct backref_item b;

	for (;;) {
		int r = view_seek(w->check->view, w->tree->root, &key,
		                  ret_item);

		if (r)
			return r;
		if (ret_item->key.ino != ino ||
		    ret_item->key.kind != ITEM_BACKREF ||
		    ret_item->key.off >= first + SLOT_PROBES)
			return -ENOENT;
		r = backref_decode(ret_item->value, ret_item->len, &b);
		if (r)
			return r;
		if (b.parent == parent && b.name_len == name_len &&
		    !memcmp(b.name, name, name_len))
			return 0;
		key.off = ret_item->key.off + 1;
	}
}

/* ---- Entries and back references ---------------------------------------- */

/* Return true if the item is in a slot that a lookup of its name reads. */
static bool place_right(const struct item *item, uint64_t first)
{
	return item->key.off >= first && item->key.off < first + SLOT_PROBES;
}

static int dirent_added(struct walk *w, const struct item *item,
                        const struct dirent_item *d)
{
	uint64_t dir = item->key.ino;
	struct inode inode;
	struct item other;
	int r;

	if (!place_right(item, slot_of(w, 0, d->name, d->name_len)))
		return report_entry(w, "dirent", dir, d->name, d->name_len,
		                    "is not in a slot of its name");
	r = inode_get(w, w->tree->root, d->ino, &inode);
	if (r == -EUCLEAN)
		return report_entry(w, "lost", dir, d->name, d->name_len,
		                    "its inode is damaged");
	if (r == -ENOENT)
		return report_entry(w, "dirent", dir, d->name, d->name_len,
		                    "its inode is missing");
	if (r)
		return r;
	if (IFTODT(inode.mode) != d->type)
		return report_entry(w, "dirent", dir, d->name, d->name_len,
		                    "its inode is of another type");
	r = backref_get(w, d->ino, dir, d->name, d->name_len, &other);
	if (r == -ENOENT)
		return report_entry(
		        w, "backref", dir, d->name, d->name_len,
		        "its inode has no back reference to this name");
	return r == -EUCLEAN ? 0 : r;
}

/*
 * Check a removed entry: the inode must have lost the back reference, too, or
 * another entry of the name must stand for it.
 */
static int dirent_removed(struct walk *w, uint64_t dir,
                          const struct dirent_item *d)
{
	struct dirent_item now;
	struct item item;
	int r = backref_get(w, d->ino, dir, d->name, d->name_len, &item);

	if (r)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	r = dirent_get(w, dir, d->name, d->name_len, &item, &now);
	if ((!r && now.ino != d->ino) || r == -ENOENT)
		return report_entry(w, "dirent", dir, d->name, d->name_len,
		                    "is missing; an inode has the name");
	return r == -EUCLEAN ? 0 : r;
}

static int backref_added(struct walk *w, const struct item *item,
                         const struct backref_item *b)
{
	struct dirent_item d;
	struct item other;
	int r;

	if (!place_right(item, slot_of(w, b->parent, b->name, b->name_len)))
		return report(w, "backref", item->key.ino,
		              "a back reference is not in a slot of its name");
	r = dirent_get(w, b->parent, b->name, b->name_len, &other, &d);
	if ((!r && d.ino != item->key.ino) || r == -ENOENT)
		return report_entry(w, "dirent", b->parent, b->name,
		                    b->name_len,
		                    r ? "is missing; an inode has the name"
		                      : "leads to another inode than the one "
		                        "that has the name");
	return r == -EUCLEAN ? 0 : r;
}

static int backref_removed(struct walk *w, uint64_t ino,
                           const struct backref_item *b)
{
	struct dirent_item d;
	struct item item;
	int r = dirent_get(w, b->parent, b->name, b->name_len, &item, &d);

	if (r || d.ino != ino)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	r = backref_get(w, ino, b->parent, b->name, b->name_len, &item);
	if (r == -ENOENT)
		return report_entry(
		        w, "backref", b->parent, b->name, b->name_len,
		        "its inode has no back reference to this name");
	return r == -EUCLEAN ? 0 : r;
}

/* ---- Items -------------------------------------------------------------- */

static int item_bad(struct walk *w, const struct item *item, const char *what)
{
	w->p.bad = true;
	return report(w, "item", item->key.ino, what);
}

static int inode_item(struct walk *w, const struct item *item, bool is_new)
{
	struct passing *p = &w->p;
	struct inode inode;

	if (item->key.off || inode_decode(item->value, item->len, &inode)) {
		p->bad = true;
		return is_new ? report(w, "item", item->key.ino,
		                       "the inode cannot be read")
		              : 0;
	}
	*(is_new ? &p->new : &p->old) = inode;
	*(is_new ? &p->has_new : &p->has_old) = true;
	w->inodes += is_new ? 1 : -1;
	w->blocks += is_new ? (int64_t)inode.blocks : -(int64_t)inode.blocks;
	if (is_new && item->key.ino >= w->check->counters[COUNTER_INO] &&
	    item->key.ino != INO_ROOT)
		return report(w, "inode", item->key.ino,
		              "its number was not allocated yet");
	return 0;
}

static int dirent_item(struct walk *w, const struct item *item, bool is_new)
{
	int64_t by = is_new ? 1 : -1;
	struct dirent_item d;

	if (dirent_decode(item->value, item->len, &d)) {
		w->p.bad = true;
		return is_new ? item_bad(w, item, "an entry cannot be read")
		              : 0;
	}
	w->p.entries += by;
	w->p.subdirs += d.type == IFTODT(S_IFDIR) ? by : 0;
	return is_new ? dirent_added(w, item, &d)
	              : dirent_removed(w, item->key.ino, &d);
}

static int backref_item(struct walk *w, const struct item *item, bool is_new)
{
	struct backref_item b;

	if (backref_decode(item->value, item->len, &b)) {
		w->p.bad = true;
		return is_new ? item_bad(w, item, "a name cannot be read") : 0;
	}
	w->p.names += is_new ? 1 : -1;
	return is_new ? backref_added(w, item, &b)
	              : backref_removed(w, item->key.ino, &b);
}

static int xattr_item(struct walk *w, const struct item *item, bool is_new)
{
	struct xattr_item x;

	if (xattr_decode(item->value, item->len, &x)) {
		w->p.bad = true;
		return is_new ? item_bad(w, item,
		                         "an extended attribute cannot be read")
		              : 0;
	}
	w->p.xattrs += is_new ? 1 : -1;
	if (is_new && !place_right(item, slot_of(w, 0, x.name, x.name_len)))
		return report(
		        w, "xattr", item->key.ino,
		        "an extended attribute is not in a slot of its name");
	return 0;
}

static int extent_item(struct walk *w, const struct item *item, bool is_new)
{
	struct extent e;
	int64_t blocks;

	if (extent_decode(item->value, item->len, &e)) {
		w->p.bad = true;
		return is_new ? item_bad(w, item, "an extent cannot be read")
		              : 0;
	}
	blocks = (e.len + 511) / 512;
	w->p.blocks += is_new ? blocks : -blocks;
	if (is_new && (e.len > store_chunk_size(w->check->store) ||
	               (e.kind == EXTENT_INLINE && item->key.off)))
		return report(w, "extent", item->key.ino,
		              "an extent is longer than its place");
	return 0;
}

/* Check an orphan: an inode without a name, or one being truncated. */
static int orphan_item(struct walk *w, const struct item *item, bool is_new)
{
	struct inode inode;
	int r;

	if (!is_new)
		return 0;
	r = inode_get(w, w->tree->root, item->key.off, &inode);
	if (r == -ENOENT)
		return report(w, "orphan", item->key.off,
		              "is marked for deletion, but missing");
	return r == -EUCLEAN ? 0 : r;
}

static int item_look(struct walk *w, const struct item *item, bool is_new)
{
	if (!item->key.ino != (item->key.kind == ITEM_ORPHAN))
		return is_new ? item_bad(w, item,
		                         "has an item that no inode "
		                         "has")
		              : 0;
	switch (item->key.kind) {
	case ITEM_ORPHAN:
		return orphan_item(w, item, is_new);
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
	return is_new ? item_bad(w, item, "has an item of unknown kind") : 0;
}

/* ---- Sums --------------------------------------------------------------- */

static bool orphan_has(struct walk *w, uint64_t ino)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
	struct item item;

	/* In doubt it counts as an orphan, and nothing is reported. */
	return view_get(w->check->view, w->tree->root, &key, &item) != -ENOENT;
}

/* An inode's own numbers, in the form in which its items are counted. */
struct sums {
	int64_t names, entries, subdirs, xattrs, blocks;
};

static struct sums inode_sums(const struct inode *inode, uint64_t ino)
{
	struct sums s = {.xattrs = inode->xattrs,
	                 .blocks = (int64_t)inode->blocks};

	if (S_ISDIR(inode->mode)) {
		s.names = inode->nlink && ino != INO_ROOT;
		s.entries = (int64_t)inode->size;
		s.subdirs = inode->nlink ? (int64_t)inode->nlink - 2 : 0;
	} else {
		s.names = inode->nlink;
	}
	return s;
}

static int sums_compare(struct walk *w, const struct sums *old,
                        const struct sums *new)
{
	const struct passing *p = &w->p;
	const struct {
		const char *kind, *what;
		int64_t said, found;
	} sums[] = {
	        {"nlink", "names", new->names - old->names, p->names},
	        {"size", "entries", new->entries - old->entries, p->entries},
	        {"nlink", "subdirectories", new->subdirs - old->subdirs,
	         p->subdirs},
	        {"xattr", "extended attributes", new->xattrs - old->xattrs,
	         p->xattrs},
	        {"blocks", "blocks", new->blocks - old->blocks, p->blocks},
	};
	struct about about = {.version = w->v->id, .ino = p->ino};
	bool whole = !w->tree->parent_root;
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(sums); i++)
		if (sums[i].said != sums[i].found)
			r = check_report(
			        w->check, sums[i].kind, &about,
			        "the inode counts %lld %s%s; there are "
			        "%lld",
			        (long long)sums[i].said, sums[i].what,
			        whole ? "" : " more than before",
			        (long long)sums[i].found);
	return r;
}

/* Check that a file has no data behind its end. */
static int tail_check(struct walk *w, const struct inode *inode)
{
	struct key key = {.ino = w->p.ino, .kind = ITEM_EXTENT};
	uint32_t chunk = store_chunk_size(w->check->store);
	struct extent e;
	struct item item;

	key.off = inode->size / chunk + !!(inode->size % chunk);
	while (!view_seek(w->check->view, w->tree->root, &key, &item) &&
	       item.key.ino == w->p.ino && item.key.kind == ITEM_EXTENT) {
		/* Preallocated space is allowed there, data is not. */
		if (!extent_decode(item.value, item.len, &e) &&
		    e.kind != EXTENT_ZERO && !orphan_has(w, w->p.ino))
			return report(w, "size", w->p.ino,
			              "has contents behind its end");
		if (e.kind != EXTENT_ZERO)
			break;
		key.off = item.key.off + 1;
	}
	return 0;
}

static int inode_check(struct walk *w, const struct inode *inode)
{
	bool dir = S_ISDIR(inode->mode);
	int r = 0;

	if (!IFTODT(inode->mode))
		return report(w, "inode", w->p.ino, "has no type");
	if (w->p.has_old && (w->p.old.mode ^ inode->mode) & S_IFMT)
		return report(w, "inode", w->p.ino,
		              "has become of another type");
	if (w->p.ino == INO_ROOT && (!dir || inode->nlink < 2))
		r = report(w, "inode", w->p.ino, "the root is no directory");
	if (!r && dir && inode->nlink == 1)
		r = report(w, "nlink", w->p.ino, "a directory has one link");
	if (!r && !inode->nlink && !orphan_has(w, w->p.ino))
		r = report(w, "orphan", w->p.ino,
		           "has no name, and is not marked for deletion");
	if (!r && !dir)
		r = tail_check(w, inode);
	return r;
}

/* Check the inode after all of its items were visited. */
static int passing_end(struct walk *w)
{
	struct passing *p = &w->p;
	struct sums none = {0}, old, new;
	struct item item;
	int r;

	if (!p->any || !p->ino || p->bad ||
	    view_uncertain(w->check->view, p->ino))
		return 0;
	if (!p->has_old && !p->has_new) {
		r = inode_get(w, w->tree->root, p->ino, &p->new);
		if (!r)
			p->old = p->new;
		p->has_old = p->has_new = !r;
		if (r && r != -ENOENT)
			return r == -EUCLEAN ? 0 : r;
	}
	if (!p->has_new) {
		struct key key = {.ino = p->ino};

		r = view_seek(w->check->view, w->tree->root, &key, &item);
		if (!r && item.key.ino == p->ino)
			return report(w, "inode", p->ino,
			              "there are items without their inode");
		return 0;
	}
	old = p->has_old ? inode_sums(&p->old, p->ino) : none;
	new = inode_sums(&p->new, p->ino);
	/* A directory without a name does not count its subdirectories. */
	if (!p->new.nlink || (p->has_old && !p->old.nlink))
		new.subdirs = old.subdirs + p->subdirs;
	r = sums_compare(w, &old, &new);
	return r ? r : inode_check(w, &p->new);
}

/* ---- A version ---------------------------------------------------------- */

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

static int version_sums(struct walk *w, uint64_t parent_inodes,
                        uint64_t parent_blocks)
{
	int64_t inodes = (int64_t)(w->v->inodes - parent_inodes);
	int64_t blocks = (int64_t)(w->v->blocks - parent_blocks);
	struct about about = {.version = w->v->id};

	if (w->tree->alone || w->tree->reaping ||
	    view_incomplete(w->check->view) ||
	    (inodes == w->inodes && blocks == w->blocks))
		return 0;
	return check_report(w->check, "count", &about,
	                    "version %llu counts %lld inodes and %lld blocks "
	                    "more than its parent; there are %lld and %lld",
	                    (ull)w->v->id, (long long)inodes, (long long)blocks,
	                    (long long)w->inodes, (long long)w->blocks);
}

int check_items(struct check *check, struct check_version *v,
                const struct view_tree *tree, uint64_t parent_inodes,
                uint64_t parent_blocks)
{
	struct walk w = {.check = check, .v = v, .tree = tree};
	int r;

	r = view_tree(check->view, tree, tree->alone ? NULL : on_item, &w);
	if (!r && !tree->alone && !tree->reaping)
		r = passing_end(&w);
	return r ? r : version_sums(&w, parent_inodes, parent_blocks);
}
