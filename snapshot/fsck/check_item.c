/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Check the items of a version's tree that differ from its parent's: each added
 * item by itself, together with the items it refers to, and each inode against
 * the numbers that the walk has counted.
 */
#include "check_item.h"
#include "util.h"
#include "version_walk.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

typedef unsigned long long ull;

struct item_check {
	struct check *check;
	struct check_version *v;
	const struct view_tree *tree;
	struct version_walk walk;
};

static int report(struct item_check *c, const char *kind, uint64_t ino,
                  const char *what)
{
	struct about about = {.version = c->v->id, .ino = ino};

	return check_report(c->check, kind, &about, "%s", what);
}

/* Report a finding about an entry of a directory. */
static int report_entry(struct item_check *c, const char *kind, uint64_t dir,
                        const char *name, size_t name_len, const char *what)
{
	struct about about = {.version = c->v->id,
	                      .ino = dir,
	                      .name = name,
	                      .name_len = name_len};

	return check_report(c->check, kind, &about, "%s", what);
}

/* ---- Looking things up -------------------------------------------------- */

static int inode_get(struct item_check *c, uint64_t root, uint64_t ino,
                     struct inode *ret_inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct item item;
	int r = view_get(c->check->view, root, &key, &item);

	return r ? r : inode_decode(item.value, item.len, ret_inode);
}

static uint64_t slot_of(struct item_check *c, uint64_t parent, const char *name,
                        size_t name_len)
{
	return slot_first(c->check->store, parent, name, name_len);
}

/* Find the entry of a name.  -ENOENT. */
static int dirent_get(struct item_check *c, uint64_t dir, const char *name,
                      size_t name_len, struct item *ret_item,
                      struct dirent_item *ret)
{
	uint64_t first = slot_of(c, 0, name, name_len);
	struct key key = {dir, ITEM_DIRENT, first};

	for (;;) {
		int r = view_seek(c->check->view, c->tree->root, &key,
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

static int backref_get(struct item_check *c, uint64_t ino, uint64_t parent,
                       const char *name, size_t name_len, struct item *ret_item)
{
	uint64_t first = slot_of(c, parent, name, name_len);
	struct key key = {ino, ITEM_BACKREF, first};
	struct backref_item b;

	for (;;) {
		int r = view_seek(c->check->view, c->tree->root, &key,
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

static int dirent_added(struct item_check *c, const struct item *item,
                        const struct dirent_item *d)
{
	uint64_t dir = item->key.ino;
	struct inode inode;
	struct item other;
	int r;

	if (!item_in_slots(item, slot_of(c, 0, d->name, d->name_len)))
		return report_entry(c, "dirent", dir, d->name, d->name_len,
		                    "is not in a slot of its name");
	r = inode_get(c, c->tree->root, d->ino, &inode);
	if (r == -EUCLEAN)
		return report_entry(c, "lost", dir, d->name, d->name_len,
		                    "its inode is damaged");
	if (r == -ENOENT)
		return report_entry(c, "dirent", dir, d->name, d->name_len,
		                    "its inode is missing");
	if (r)
		return r;
	if (IFTODT(inode.mode) != d->type)
		return report_entry(c, "dirent", dir, d->name, d->name_len,
		                    "its inode is of another type");
	r = backref_get(c, d->ino, dir, d->name, d->name_len, &other);
	if (r == -ENOENT)
		return report_entry(
		        c, "backref", dir, d->name, d->name_len,
		        "its inode has no back reference to this name");
	return r == -EUCLEAN ? 0 : r;
}

/*
 * Check a removed entry: the inode must have lost the back reference, too, or
 * another entry of the name must stand for it.
 */
static int dirent_removed(struct item_check *c, uint64_t dir,
                          const struct dirent_item *d)
{
	struct dirent_item now;
	struct item item;
	int r = backref_get(c, d->ino, dir, d->name, d->name_len, &item);

	if (r)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	r = dirent_get(c, dir, d->name, d->name_len, &item, &now);
	if ((!r && now.ino != d->ino) || r == -ENOENT)
		return report_entry(c, "dirent", dir, d->name, d->name_len,
		                    "is missing; an inode has the name");
	return r == -EUCLEAN ? 0 : r;
}

static int backref_added(struct item_check *c, const struct item *item,
                         const struct backref_item *b)
{
	struct dirent_item d;
	struct item other;
	int r;

	if (!item_in_slots(item, slot_of(c, b->parent, b->name, b->name_len)))
		return report(c, "backref", item->key.ino,
		              "a back reference is not in a slot of its name");
	r = dirent_get(c, b->parent, b->name, b->name_len, &other, &d);
	if ((!r && d.ino != item->key.ino) || r == -ENOENT)
		return report_entry(c, "dirent", b->parent, b->name,
		                    b->name_len,
		                    r ? "is missing; an inode has the name"
		                      : "leads to another inode than the one "
		                        "that has the name");
	return r == -EUCLEAN ? 0 : r;
}

static int backref_removed(struct item_check *c, uint64_t ino,
                           const struct backref_item *b)
{
	struct dirent_item d;
	struct item item;
	int r = dirent_get(c, b->parent, b->name, b->name_len, &item, &d);

	if (r || d.ino != ino)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	r = backref_get(c, ino, b->parent, b->name, b->name_len, &item);
	if (r == -ENOENT)
		return report_entry(
		        c, "backref", b->parent, b->name, b->name_len,
		        "its inode has no back reference to this name");
	return r == -EUCLEAN ? 0 : r;
}

/* ---- Items -------------------------------------------------------------- */

static int inode_added(struct item_check *c, uint64_t ino)
{
	if (ino >= c->check->counters[COUNTER_INO] && ino != INO_ROOT)
		return report(c, "inode", ino,
		              "its number was not allocated yet");
	return 0;
}

static int xattr_added(struct item_check *c, const struct item *item,
                       const struct xattr_item *x)
{
	if (!item_in_slots(item, slot_of(c, 0, x->name, x->name_len)))
		return report(
		        c, "xattr", item->key.ino,
		        "an extended attribute is not in a slot of its name");
	return 0;
}

static int extent_added(struct item_check *c, const struct item *item,
                        const struct extent *e)
{
	if (e->len > store_chunk_size(c->check->store) ||
	    (e->kind == EXTENT_INLINE && item->key.off))
		return report(c, "extent", item->key.ino,
		              "an extent is longer than its place");
	return 0;
}

/* Check an orphan: an inode without a name, or one being truncated. */
static int orphan_added(struct item_check *c, const struct item *item)
{
	struct inode inode;
	int r = inode_get(c, c->tree->root, item->key.off, &inode);

	if (r == -ENOENT)
		return report(c, "orphan", item->key.off,
		              "is marked for deletion, but missing");
	return r == -EUCLEAN ? 0 : r;
}

static int item_added(struct item_check *c, const struct item *item,
                      const union item_content *content)
{
	switch (item->key.kind) {
	case ITEM_ORPHAN:
		return orphan_added(c, item);
	case ITEM_INODE:
		return inode_added(c, item->key.ino);
	case ITEM_BACKREF:
		return backref_added(c, item, &content->backref);
	case ITEM_XATTR:
		return xattr_added(c, item, &content->xattr);
	case ITEM_DIRENT:
		return dirent_added(c, item, &content->dirent);
	case ITEM_EXTENT:
		return extent_added(c, item, &content->extent);
	}
	return 0;
}

static int on_item(void *arg, const struct item *item,
                   const union item_content *content, bool is_new)
{
	uint64_t ino = item->key.ino;

	if (is_new)
		return item_added(arg, item, content);
	if (item->key.kind == ITEM_BACKREF)
		return backref_removed(arg, ino, &content->backref);
	if (item->key.kind == ITEM_DIRENT)
		return dirent_removed(arg, ino, &content->dirent);
	return 0;
}

static const char *unreadable_text(const struct item *item, bool *ret_known)
{
	*ret_known = false;
	if (!item->key.ino != (item->key.kind == ITEM_ORPHAN))
		return "has an item that no inode has";
	*ret_known = true;
	switch (item->key.kind) {
	case ITEM_INODE:
		return "the inode cannot be read";
	case ITEM_BACKREF:
		return "a name cannot be read";
	case ITEM_XATTR:
		return "an extended attribute cannot be read";
	case ITEM_DIRENT:
		return "an entry cannot be read";
	case ITEM_EXTENT:
		return "an extent cannot be read";
	}
	*ret_known = false;
	return "has an item of unknown kind";
}

static int on_unreadable(void *arg, const struct item *item, bool is_new)
{
	struct item_check *c = arg;
	bool known;
	const char *text = unreadable_text(item, &known);

	if (known || is_new)
		c->walk.change.bad = true;
	return is_new ? report(c, "item", item->key.ino, text) : 0;
}

/* ---- Sums --------------------------------------------------------------- */

static bool orphan_has(struct item_check *c, uint64_t ino)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
	struct item item;

	/* In doubt the inode counts as an orphan: nothing is reported. */
	return view_get(c->check->view, c->tree->root, &key, &item) != -ENOENT;
}

static int sums_compare(struct item_check *c, const struct inode_change *change)
{
	const struct inode_sums *found = &change->counted;
	struct inode_sums own = inode_sums_change(change);
	const struct {
		const char *kind, *what;
		int64_t said, found;
	} sums[] = {
	        {"nlink", "names", own.names, found->names},
	        {"size", "entries", own.entries, found->entries},
	        {"nlink", "subdirectories", own.subdirs, found->subdirs},
	        {"xattr", "extended attributes", own.xattrs, found->xattrs},
	        {"blocks", "blocks", own.blocks, found->blocks},
	};
	struct about about = {.version = c->v->id, .ino = change->ino};
	bool whole = !c->tree->parent_root;
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(sums); i++)
		if (sums[i].said != sums[i].found)
			r = check_report(
			        c->check, sums[i].kind, &about,
			        "the inode counts %lld %s%s; there are "
			        "%lld",
			        (long long)sums[i].said, sums[i].what,
			        whole ? "" : " more than before",
			        (long long)sums[i].found);
	return r;
}

static int item_seek(void *arg, const struct key *key, struct item *ret_item)
{
	const struct item_check *c = arg;

	return view_seek(c->check->view, c->tree->root, key, ret_item);
}

/* Check that a file has no data beyond its end. */
static int tail_check(struct item_check *c, uint64_t ino,
                      const struct inode *inode)
{
	if (tail_has_data(item_seek, c, ino, inode,
	                  store_chunk_size(c->check->store)) &&
	    !orphan_has(c, ino))
		return report(c, "size", ino, "has contents behind its end");
	return 0;
}

static int inode_check(struct item_check *c, const struct inode_change *change)
{
	const struct inode *inode = &change->new;
	bool dir = S_ISDIR(inode->mode);
	int r = 0;

	if (!IFTODT(inode->mode))
		return report(c, "inode", change->ino, "has no type");
	if (change->has_old && (change->old.mode ^ inode->mode) & S_IFMT)
		return report(c, "inode", change->ino,
		              "has become of another type");
	if (change->ino == INO_ROOT && (!dir || inode->nlink < 2))
		r = report(c, "inode", change->ino, "the root is no directory");
	if (!r && dir && inode->nlink == 1)
		r = report(c, "nlink", change->ino, "a directory has one link");
	if (!r && !inode->nlink && !orphan_has(c, change->ino))
		r = report(c, "orphan", change->ino,
		           "has no name, and is not marked for deletion");
	if (!r && !dir)
		r = tail_check(c, change->ino, inode);
	return r;
}

static int on_inode(void *arg, struct inode_change *change)
{
	struct item_check *c = arg;
	struct key key = {.ino = change->ino};
	struct item item;
	int r;

	if (change->bad || view_uncertain(c->check->view, change->ino))
		return 0;
	if (!change->has_old && !change->has_new) {
		r = inode_get(c, c->tree->root, change->ino, &change->new);
		if (!r)
			change->old = change->new;
		change->has_old = change->has_new = !r;
		if (r && r != -ENOENT)
			return r == -EUCLEAN ? 0 : r;
	}
	if (!change->has_new) {
		r = item_seek(c, &key, &item);
		if (!r && item.key.ino == change->ino)
			return report(c, "inode", change->ino,
			              "there are items without their inode");
		return 0;
	}
	r = sums_compare(c, change);
	return r ? r : inode_check(c, change);
}

/* ---- A version ---------------------------------------------------------- */

static int version_sums(struct item_check *c, uint64_t parent_inodes,
                        uint64_t parent_blocks)
{
	int64_t inodes = (int64_t)(c->v->inodes - parent_inodes);
	int64_t blocks = (int64_t)(c->v->blocks - parent_blocks);
	struct about about = {.version = c->v->id};

	if (c->tree->alone || c->tree->reaping ||
	    view_incomplete(c->check->view) ||
	    (inodes == c->walk.inodes && blocks == c->walk.blocks))
		return 0;
	return check_report(c->check, "count", &about,
	                    "version %llu counts %lld inodes and %lld blocks "
	                    "more than its parent; there are %lld and %lld",
	                    (ull)c->v->id, (long long)inodes, (long long)blocks,
	                    (long long)c->walk.inodes,
	                    (long long)c->walk.blocks);
}

int check_items(struct check *check, struct check_version *v,
                const struct view_tree *tree, uint64_t parent_inodes,
                uint64_t parent_blocks)
{
	static const struct version_walk_ops ops = {
	        .item = on_item,
	        .unreadable = on_unreadable,
	        .inode = on_inode,
	};
	struct item_check c = {.check = check, .v = v, .tree = tree};
	int r;

	c.walk = (struct version_walk){.ops = &ops, .arg = &c};
	r = view_tree(check->view, tree, tree->alone ? NULL : version_walk_item,
	              &c.walk);
	if (!r && !tree->alone && !tree->reaping)
		r = version_walk_end(&c.walk);
	return r ? r : version_sums(&c, parent_inodes, parent_blocks);
}
