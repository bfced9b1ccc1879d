/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The walk over the items in which a version's tree differs from its parent's.
 * The check walks in a view, the repair in the tree that it has built, each
 * with its own callbacks.
 *
 * Items are decoded, and those added and removed are counted for each inode:
 * the inode's own numbers must have changed by as much.  In a version without a
 * parent all items count as added.
 */
#ifndef COPPICE_VERSION_WALK_H
#define COPPICE_VERSION_WALK_H

#include "item.h"

/* The content of an item, by its kind.  Names lie in the item's value. */
union item_content {
	struct inode inode;
	struct backref_item backref;
	struct xattr_item xattr;
	struct dirent_item dirent;
	struct extent extent;
};

/* Decode an item of any kind.  -EUCLEAN: it cannot be read. */
int item_decode(const struct item *item, union item_content *ret_content);

/* Return true if the item is in one of the slots from `first` on. */
static inline bool item_in_slots(const struct item *item, uint64_t first)
{
	return item->key.off >= first && item->key.off < first + SLOT_PROBES;
}

/* Numbers of items that belong to an inode. */
struct inode_sums {
	int64_t names, entries, subdirs, xattrs, blocks;
};

/* The difference that an inode makes between the parent's tree and this one. */
struct inode_change {
	uint64_t ino;
	bool any;              /* one of its items differs */
	bool has_old, has_new; /* the inode item itself differs */
	struct inode old, new;
	struct inode_sums counted; /* items added, less those removed */
	bool bad; /* an item cannot be read: the counts are useless */
};

/* Return the change of the inode's own numbers, which `counted` must equal. */
struct inode_sums inode_sums_change(const struct inode_change *change);

/* Callbacks.  A nonzero result ends the walk, which returns it. */
struct version_walk_ops {
	/* Visit an item that was added (is_new) or removed. */
	int (*item)(void *arg, const struct item *item,
	            const union item_content *content, bool is_new);
	/* Do the same for an item that cannot be read. */
	int (*unreadable)(void *arg, const struct item *item, bool is_new);
	/* Visit an inode, after all of its items that differ. */
	int (*inode)(void *arg, struct inode_change *change);
};

struct version_walk {
	const struct version_walk_ops *ops;
	void *arg;
	struct inode_change change; /* of the inode that is being visited */
	int64_t inodes, blocks;     /* change against the parent */
};

/* Visit a difference: the callback of view_tree() and tree_diff(). */
int version_walk_item(void *walk, const struct item *old,
                      const struct item *new);
/* End the walk: finish the last inode. */
int version_walk_end(struct version_walk *walk);

/*
 * Return true if the file has data beyond its end.  Preallocated space is
 * allowed there.
 */
bool tail_has_data(item_seek_fn *seek, void *arg, uint64_t ino,
                   const struct inode *inode, uint32_t chunk_size);

#endif
