/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "version_walk.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

int item_decode(const struct item *item, union item_content *ret_content)
{
	union item_content *c = ret_content;

	if (!item->key.ino != (item->key.kind == ITEM_ORPHAN))
		return -EUCLEAN;
	switch (item->key.kind) {
	case ITEM_ORPHAN:
		return 0;
	case ITEM_INODE:
		return item->key.off ? -EUCLEAN
		                     : inode_decode(item->value, item->len,
		                                    &c->inode);
	case ITEM_BACKREF:
		return backref_decode(item->value, item->len, &c->backref);
	case ITEM_XATTR:
		return xattr_decode(item->value, item->len, &c->xattr);
	case ITEM_DIRENT:
		return dirent_decode(item->value, item->len, &c->dirent);
	case ITEM_EXTENT:
		return extent_decode(item->value, item->len, &c->extent);
	}
	return -EUCLEAN;
}

/* Return the inode's own numbers in the form of counted items. */
static struct inode_sums inode_sums(const struct inode *inode, uint64_t ino)
{
	struct inode_sums s = {.xattrs = inode->xattrs,
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

struct inode_sums inode_sums_change(const struct inode_change *change)
{
	struct inode_sums s = inode_sums(&change->new, change->ino);
	struct inode_sums old = {0};

	if (change->has_old)
		old = inode_sums(&change->old, change->ino);
	s.names -= old.names;
	s.entries -= old.entries;
	s.subdirs -= old.subdirs;
	s.xattrs -= old.xattrs;
	s.blocks -= old.blocks;
	/* A directory without a name does not count its subdirectories. */
	if (!change->new.nlink || (change->has_old && !change->old.nlink))
		s.subdirs = change->counted.subdirs;
	return s;
}

static void inode_count(struct version_walk *w, const struct inode *inode,
                        bool is_new)
{
	struct inode_change *c = &w->change;

	*(is_new ? &c->new : &c->old) = *inode;
	*(is_new ? &c->has_new : &c->has_old) = true;
	w->inodes += is_new ? 1 : -1;
	w->blocks += is_new ? (int64_t)inode->blocks : -(int64_t)inode->blocks;
}

static void item_count(struct version_walk *w, const struct item *item,
                       const union item_content *content, bool is_new)
{
	struct inode_sums *counted = &w->change.counted;
	int64_t by = is_new ? 1 : -1;

	switch (item->key.kind) {
	case ITEM_INODE:
		inode_count(w, &content->inode, is_new);
		break;
	case ITEM_BACKREF:
		counted->names += by;
		break;
	case ITEM_XATTR:
		counted->xattrs += by;
		break;
	case ITEM_DIRENT:
		counted->entries += by;
		if (content->dirent.type == IFTODT(S_IFDIR))
			counted->subdirs += by;
		break;
	case ITEM_EXTENT:
		counted->blocks += by * ((content->extent.len + 511) / 512);
		break;
	}
}

static int item_visit(struct version_walk *w, const struct item *item,
                      bool is_new)
{
	union item_content content;

	if (item_decode(item, &content))
		return w->ops->unreadable(w->arg, item, is_new);
	item_count(w, item, &content, is_new);
	return w->ops->item(w->arg, item, &content, is_new);
}

int version_walk_end(struct version_walk *walk)
{
	if (!walk->change.any || !walk->change.ino)
		return 0;
	return walk->ops->inode(walk->arg, &walk->change);
}

int version_walk_item(void *walk, const struct item *old,
                      const struct item *new)
{
	struct version_walk *w = walk;
	uint64_t ino = new ? new->key.ino : old->key.ino;
	int r = 0;

	if (!w->change.any || w->change.ino != ino) {
		r = version_walk_end(w);
		w->change = (struct inode_change){.ino = ino, .any = true};
	}
	if (!r && old)
		r = item_visit(w, old, false);
	if (!r && new)
		r = item_visit(w, new, true);
	return r;
}

bool tail_has_data(item_seek_fn *seek, void *arg, uint64_t ino,
                   const struct inode *inode, uint32_t chunk_size)
{
	struct key key = {.ino = ino, .kind = ITEM_EXTENT};
	struct extent e;
	struct item item;

	key.off = inode->size / chunk_size + !!(inode->size % chunk_size);
	while (!seek(arg, &key, &item) && item.key.ino == ino &&
	       item.key.kind == ITEM_EXTENT) {
		if (!extent_decode(item.value, item.len, &e) &&
		    e.kind != EXTENT_ZERO)
			return true;
		key.off = item.key.off + 1;
	}
	return false;
}
