/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carrying out the plan of a join in a side head, in rounds over its inodes:
 * remove names, make inodes and contents, add names, set attributes.  Between
 * the rounds the side head is not consistent; nobody sees it before the end.
 */
#include "fs.h"

#include <errno.h>

#include "dirent_item.h"
#include "extent.h"
#include "join_text.h"
#include "join_tree.h"
#include "orphan.h"

enum { CUT_EXTENTS = 64 };

struct build {
	struct restore *r;
	struct fs_joined *joined;
};

typedef int build_fn(struct build *b, const struct join_inode *inode);

static struct tree *tree_of(struct build *b, enum join_side side)
{
	return side == JOIN_OURS ? hold_tree(&b->joined->now.before)
	                         : hold_tree(&b->joined->theirs);
}

/* ---- Names -------------------------------------------------------------- */

static int name_remove(struct build *b, const struct join_inode *inode,
                       const struct join_name *name)
{
	struct key key = {.ino = name->parent, .kind = ITEM_DIRENT};
	struct vnode dir, child;
	int err = restore_load(b->r, name->parent, &dir);

	if (!err)
		err = dir_find(&dir, name->name, &key.off, &child);
	if (!err && child.ino != inode->ino)
		err = -EUCLEAN;
	if (!err)
		err = tree_del(b->r->to, &key);
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	dir.inode.size--;
	if (S_ISDIR(child.inode.mode))
		dir.inode.nlink--;
	else
		child.inode.nlink--;
	err = vnode_store(&dir);
	if (!err)
		err = backref_del(&child, name->parent, name->name);
	return err ? err : vnode_store(&child);
}

static int name_add(struct build *b, const struct join_inode *inode,
                    const struct join_name *name)
{
	struct vnode dir, child;
	uint64_t slot;
	int err = restore_load(b->r, name->parent, &dir);

	if (!err)
		err = restore_load(b->r, inode->ino, &child);
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	err = slot_free(b->r->to, name->parent, ITEM_DIRENT, 0, name->name,
	                strlen(name->name), &slot);
	if (err)
		return err == -EEXIST ? -EUCLEAN : err;
	err = backref_put(&child, name->parent, name->name);
	if (!err)
		err = dirent_put(&dir, slot, name->name, &child);
	if (err)
		return err;
	dir.inode.size++;
	if (S_ISDIR(child.inode.mode))
		dir.inode.nlink++;
	else
		child.inode.nlink++;
	err = vnode_store(&dir);
	return err ? err : vnode_store(&child);
}

/* The first round: remove the names that the result does not have. */
static int names_remove(struct build *b, const struct join_inode *inode)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	int err = 0;

	for (size_t i = 0; !err && i < ours->name_count; i++) {
		if (!inode->result.present ||
		    !face_has_name(&inode->result, &ours->names[i]))
			err = name_remove(b, inode, &ours->names[i]);
		if (!err)
			err = restore_pause(b->r);
	}
	return err;
}

/* The third round: add the names that the fork does not have. */
static int names_add(struct build *b, const struct join_inode *inode)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	const struct join_face *result = &inode->result;
	int err = 0;

	for (size_t i = 0; !err && result->present && i < result->name_count;
	     i++) {
		if (!ours->present || !face_has_name(ours, &result->names[i]))
			err = name_add(b, inode, &result->names[i]);
		if (!err)
			err = restore_pause(b->r);
	}
	return err;
}

/* ---- Contents ----------------------------------------------------------- */

/*
 * Make an inode without names.  The side head may have it as an orphan that is
 * open in the fork.
 */
static int inode_make(struct build *b, const struct join_inode *inode)
{
	const struct key orphan = {.kind = ITEM_ORPHAN, .off = inode->ino};
	struct vnode v;
	int err = restore_load(b->r, inode->ino, &v);

	if (!err) {
		err = tree_del(b->r->to, &orphan);
		if (err && err != -ENOENT)
			return err;
	} else if (err == -ENOENT) {
		v.inode = inode->result.inode;
		v.inode.size = v.inode.blocks = 0;
		v.inode.xattrs = 0;
		state_count(&b->r->state, 1, 0);
	} else {
		return err;
	}
	v.inode.nlink = S_ISDIR(v.inode.mode) ? 2 : 0;
	return vnode_store(&v);
}

/* Return the side that has the resulting value of an xattr. */
static enum join_side xattr_side(const struct join_inode *inode,
                                 const char *name)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];

	for (size_t i = 0; i < inode->result.xattr_count; i++) {
		if (!strcmp(inode->result.xattrs[i].name, name))
			return inode->result.xattrs[i].side;
	}
	/* The result lacks the attribute: return the side without it. */
	for (size_t i = 0; i < ours->xattr_count; i++) {
		if (!strcmp(ours->xattrs[i].name, name))
			return JOIN_THEIRS;
	}
	return JOIN_OURS;
}

/* Remove the content of an inode that gets another content. */
static int content_cut(struct build *b, uint64_t ino)
{
	struct vnode v;
	int err;

	do {
		err = restore_load(b->r, ino, &v);
		if (!err)
			err = ext_cut(&v, 0, CUT_EXTENTS);
		b->r->work += CUT_EXTENTS;
	} while (err == -EAGAIN && !(err = restore_pause(b->r)) &&
	         (err = -EAGAIN));
	return err;
}

/* Add the chunk `index` to a file that has only the chunks before it. */
static int piece_add(struct vnode *v, uint64_t index, const char *data,
                     uint32_t len)
{
	const struct ext hole = {0}, here = {EXTENT_INLINE, len, 0};
	struct chunk *chunk;
	int err;

	if (!index && len <= EXTENT_INLINE_MAX)
		return ext_replace(v, index, &hole, &here,
		                   (const uint8_t *)data);
	chunk = chunk_alloc(v->fs->store, len);
	if (!chunk)
		return -ENOMEM;
	chunk_set_len(chunk, len);
	memcpy(chunk_data(chunk), data, len);
	err = ext_add_chunk(v, index, &hole, chunk);
	chunk_unref(chunk);
	return err;
}

/* Make the text the content of a file that has none. */
static int text_write(struct build *b, uint64_t ino,
                      const struct join_text *text)
{
	uint64_t size = store_chunk_size(b->r->fs->store);
	int err = 0;

	for (uint64_t at = 0; !err && at < text->len; at += size) {
		uint64_t len = MIN(size, text->len - at);
		struct vnode v;

		err = restore_load(b->r, ino, &v);
		if (!err)
			err = piece_add(&v, at / size, text->data + at,
			                (uint32_t)len);
		if (err)
			return err;
		v.inode.size = at + len;
		err = vnode_store(&v);
		if (!err)
			err = restore_pause(b->r);
	}
	return err;
}

/* Merge the lines of a file once more, and write the result. */
static int text_bring(struct build *b, const struct join_inode *inode)
{
	struct store *store = b->r->fs->store;
	struct join_text text = {0};
	struct vnode v;
	int r;

	store_unlock(store);
	r = join_text_merge(b->joined, inode, &text);
	if (!r)
		r = -EUCLEAN; /* merging these bytes succeeded for the plan */
	if (r == 1)
		r = store_throttle_write(store, text.len);
	store_lock(store);
	if (!r)
		r = restore_piece(b->r);
	if (!r)
		r = content_cut(b, inode->ino);
	if (!r)
		r = restore_load(b->r, inode->ino, &v);
	if (!r) {
		v.inode.size = 0;
		r = vnode_store(&v);
	}
	if (!r)
		r = text_write(b, inode->ino, &text);
	join_text_release(&text);
	return r;
}

/*
 * Set an xattr to the value of the chosen side, or remove it.  `has` is a side
 * that has the xattr.
 */
static int xattr_sync(struct build *b, const struct join_inode *inode,
                      const char *name, enum join_side has)
{
	enum join_side side = xattr_side(inode, name);
	struct item item;
	struct vnode v;
	struct key key;
	int err = slot_find(tree_of(b, has), inode->faces[has].ino, ITEM_XATTR,
	                    0, name, strlen(name), &item);

	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	key = item.key;
	key.ino = inode->faces[side].ino;
	err = restore_load(b->r, inode->ino, &v);
	if (err)
		return err;
	b->r->from = tree_of(b, side);
	err = restore_item(b->r, &v, &key);
	b->r->from = tree_of(b, JOIN_THEIRS);
	return err ? err : vnode_store(&v);
}

/*
 * Set the xattrs that the plan takes from another side than `now`, whose xattrs
 * the inode has.
 */
static int xattrs_sync(struct build *b, const struct join_inode *inode,
                       enum join_side now)
{
	int err = 0;

	for (int f = JOIN_OURS; f <= JOIN_THEIRS; f++) {
		const struct join_face *face = &inode->faces[f];

		for (size_t i = 0; !err && i < face->xattr_count; i++) {
			const char *name = face->xattrs[i].name;

			if (xattr_side(inode, name) != now)
				err = xattr_sync(b, inode, name,
				                 (enum join_side)f);
			if (!err)
				err = restore_pause(b->r);
		}
	}
	return err;
}

/* The second round: make the inode, its content and its xattrs. */
static int content_bring(struct build *b, const struct join_inode *inode)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	enum join_side now = inode->content;
	int err = 0;

	if (!inode->result.present)
		return 0;
	if (!ours->present)
		err = inode_make(b, inode);
	if (!err && inode->merged)
		err = text_bring(b, inode);
	if (!err && now == JOIN_THEIRS && ours->present &&
	    inode->faces[JOIN_THEIRS].ino != inode->ino &&
	    !S_ISDIR(ours->inode.mode))
		err = content_cut(b, inode->ino);
	if (!err && now == JOIN_THEIRS)
		err = restore_sync(b->r, inode->faces[JOIN_THEIRS].ino,
		                   inode->ino);
	if (!err && ours->present && inode->faces[JOIN_THEIRS].present)
		err = xattrs_sync(b, inode, now);
	return err;
}

/* ---- Attributes --------------------------------------------------------- */

static bool attrs_equal(const struct inode *a, const struct inode *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       a->nlink == b->nlink && a->size == b->size &&
	       a->xattrs == b->xattrs && a->mtime.sec == b->mtime.sec &&
	       a->mtime.nsec == b->mtime.nsec;
}

/* The last round: set the attributes, or make the inode an orphan. */
static int attrs_set(struct build *b, const struct join_inode *inode)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	const struct inode *result = &inode->result.inode;
	struct vnode v;
	int err = restore_load(b->r, inode->ino, &v);

	if (!inode->result.present && !ours->present)
		return 0;
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	if (!inode->result.present) {
		v.inode.nlink = 0;
		v.inode.ctime = time_now();
		err = vnode_store(&v);
		return err ? err : orphan_add(&v);
	}
	v.inode.mode = result->mode;
	v.inode.uid = result->uid;
	v.inode.gid = result->gid;
	v.inode.rdev = result->rdev;
	v.inode.atime = result->atime;
	v.inode.mtime = result->mtime;
	if (!ours->present)
		v.inode.btime = result->btime;
	if (!ours->present || inode->content == JOIN_THEIRS || inode->merged ||
	    !attrs_equal(&v.inode, &ours->inode))
		v.inode.ctime = time_now();
	else
		v.inode.ctime = ours->inode.ctime;
	err = vnode_store(&v);
	return err ? err : restore_pause(b->r);
}

bool join_is_ours(const struct join_inode *inode)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	const struct join_face *result = &inode->result;

	if (inode->stands_for || (!ours->present && !result->present))
		return true;
	if (!ours->present || !result->present || inode->content != JOIN_OURS ||
	    inode->merged || S_ISDIR(result->inode.mode) ||
	    ours->name_count != result->name_count ||
	    ours->xattr_count != result->xattr_count ||
	    ours->inode.mtime.sec != result->inode.mtime.sec ||
	    ours->inode.mtime.nsec != result->inode.mtime.nsec ||
	    ours->inode.mode != result->inode.mode ||
	    ours->inode.uid != result->inode.uid ||
	    ours->inode.gid != result->inode.gid)
		return false;
	for (size_t i = 0; i < ours->name_count; i++) {
		if (!face_has_name(result, &ours->names[i]))
			return false;
	}
	for (size_t i = 0; i < result->xattr_count; i++) {
		if (result->xattrs[i].side != JOIN_OURS)
			return false;
	}
	return true;
}

/* Draw numbers for the files that are kept beside others. */
static int copies_number(struct restore *r, struct fs_joined *joined)
{
	struct join_inode *inode;
	int err = 0;

	for (size_t n = 0; !err && (inode = plan_inode(joined->plan, n)); n++) {
		if (inode->copy && !inode->ino)
			err = ino_new(r->fs->store, INO_END, &inode->ino);
	}
	return err;
}

int join_tree_build(struct restore *r, struct fs_joined *joined)
{
	static build_fn *const rounds[] = {names_remove, content_bring,
	                                   names_add, attrs_set};
	struct build b = {.r = r, .joined = joined};
	struct join_inode *inode;
	int err = copies_number(r, joined);

	if (err)
		return err;
	for (size_t round = 0; round < ARRAY_SIZE(rounds); round++) {
		for (size_t n = 0; (inode = plan_inode(joined->plan, n)); n++) {
			err = join_is_ours(inode) ? 0
			                          : rounds[round](&b, inode);
			if (!err)
				err = restore_pause(r);
			if (err)
				return err;
		}
	}
	return 0;
}
