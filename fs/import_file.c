/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The contents of imported files. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "clone_inode.h"
#include "extent.h"
#include "import_links.h"
#include "import_tree.h"

static uint64_t chunks_of(const struct importing *im, uint64_t size)
{
	return (size + im->fs->chunk_size - 1) >> im->fs->chunk_bits;
}

static struct vnode file_vnode(struct importing *im, uint64_t ino)
{
	return (struct vnode){.fs = im->fs,
	                      .state = &im->state,
	                      .tree = im->tree,
	                      .ino = ino};
}

/* ---- Chunks ------------------------------------------------------------- */

int import_compare(struct importing *im, const struct import_data *data)
{
	int r = chunk_matches(im->fs->store, im->compared, data->data,
	                      (uint32_t)data->len);

	im->compared_same = r > 0;
	return r < 0 ? r : 0;
}

/*
 * Return 1 if the extent has the same bytes, 0 if not.  -EAGAIN: call
 * import_compare() first.
 */
static int data_same(struct importing *im, struct vnode *v,
                     const struct import_data *data, const struct ext *old)
{
	uint8_t bytes[EXTENT_INLINE_MAX];
	int err;

	if (!old->kind || old->len != data->len || old->kind == EXTENT_ZERO)
		return !old->kind && !data->len;
	if (old->kind == EXTENT_INLINE) {
		err = data->index || data->chunk
		              ? 0
		              : ext_inline(v->tree, v->ino, bytes);
		return err ? err
		           : !data->chunk &&
		                       !memcmp(bytes, data->data, data->len);
	}
	if (im->compared != old->chunk) {
		im->compared = old->chunk;
		return -EAGAIN;
	}
	im->compared = 0;
	return im->compared_same;
}

/* Set an extent to the data, unless equal.  The caller stores the inode. */
static int data_put(struct importing *im, struct vnode *v,
                    const struct import_data *data, bool *changed)
{
	struct ext old, to = {0};
	uint64_t before, after;
	int err = ext_list(v->tree, v->ino, data->index, 1, &old);
	int same = err ? err : data_same(im, v, data, &old);

	if (same)
		return MIN(same, 0);
	if (data->len)
		to = (struct ext){data->chunk ? EXTENT_CHUNK : EXTENT_INLINE,
		                  (uint32_t)data->len, 0};
	before = ext_blocks(&old);
	after = ext_blocks(&to);
	if (after > before)
		err = quota_check(&im->state, 0, after - before);
	if (err)
		return err;
	*changed = true;
	im->work++;
	if (!data->chunk)
		return ext_replace(v, data->index, &old, &to, data->data);
	im->counts->new_bytes += data->len;
	return ext_add_chunk(v, data->index, &old, data->chunk);
}

/*
 * Remove the extents with indexes from `first` to before `end`, and store the
 * inode.  May release the lock.
 */
static int holes_make(struct importing *im, struct vnode *v, uint64_t first,
                      uint64_t end, bool *changed)
{
	struct key key = {.ino = v->ino, .kind = ITEM_EXTENT, .off = first};
	const struct ext hole = {0};
	struct item item;
	struct ext old;
	int stored, err = 0;

	while (!err && !(err = tree_seek(v->tree, &key, &item))) {
		if (item.key.ino != v->ino || item.key.kind != ITEM_EXTENT ||
		    item.key.off >= end)
			break;
		key = item.key;
		err = ext_list(v->tree, v->ino, key.off, 1, &old);
		if (!err)
			err = ext_replace(v, key.off, &old, &hole, NULL);
		*changed = true;
		stored = vnode_store(v);
		err = err ? err : stored;
		if (!err)
			err = import_pause(im);
		v->tree = im->tree;
	}
	return err == -ENOENT ? 0 : err;
}

/* ---- Files -------------------------------------------------------------- */

/* Set the attributes when the content is complete, and count the change. */
static int file_complete(struct importing *im, struct vnode *v,
                         const struct import_attr *attr, bool fresh,
                         bool changed)
{
	int err;

	changed |= import_attributes(&v->inode, attr,
	                             im->what->ignore_ctime && !changed);
	if (changed && !fresh)
		im->counts->changed++;
	err = vnode_store(v);
	if (!err && import_is_linked(attr))
		err = import_links_add(im, attr, v->ino);
	return err;
}

static int file_begin(struct importing *im, uint64_t dir, const char *name,
                      const struct import_attr *attr, struct vnode *v,
                      bool fresh, bool changed)
{
	struct import_file *file = &im->file;

	*file = (struct import_file){.ino = v->ino,
	                             .fresh = fresh,
	                             .changed = changed,
	                             .open = true,
	                             .dir = dir,
	                             .attr = *attr};
	strcpy(file->name, name);
	if (!v->ino)
		return 0;
	/* No data may lie beyond the end, whenever the lock is released. */
	v->inode.size = MAX(v->inode.size, attr->inode.size);
	return vnode_store(v);
}

/* Return true if the data can be the target of a symlink. */
static bool target_is_good(const struct import_data *data)
{
	return data->len && data->len < PATH_MAX &&
	       !memchr(data->data, 0, data->len);
}

/* Put all of a file, which is in one chunk at most. */
static int file_whole(struct importing *im, struct vnode *v, unsigned flags,
                      const struct import_attr *attr, bool *changed,
                      const struct import_data *data)
{
	bool regular = S_ISREG(attr->inode.mode);
	int err;

	if (flags & IMPORT_META || (!regular && !S_ISLNK(attr->inode.mode)))
		return 0;
	if (!regular && !target_is_good(data))
		return -EPROTO;
	if (attr->inode.size != data->len && !im->what->dry_run)
		return -EPROTO;
	err = data_put(im, v, data, changed);
	if (!err && v->inode.size > im->fs->chunk_size)
		err = holes_make(im, v, 1, UINT64_MAX, changed);
	if (err)
		return err;
	*changed |= v->inode.size != attr->inode.size;
	v->inode.size = attr->inode.size;
	return 0;
}

int import_file_put(struct importing *im, uint64_t dir, const char *name,
                    unsigned flags, struct import_attr *attr,
                    struct import_bytes xattrs, struct import_data *data)
{
	bool more = flags & IMPORT_MORE, changed = false, fresh = false;
	struct vnode v;
	int err;

	if (more && !S_ISREG(attr->inode.mode))
		return -EPROTO;
	err = import_file_find(im, dir, name, attr, &v, &fresh);
	if (!err && (more || !v.ino)) {
		if (v.ino)
			err = import_xattrs(im, &v, xattrs, &changed);
		return err || !more ? err
		                    : file_begin(im, dir, name, attr, &v, fresh,
		                                 changed);
	}
	if (!err)
		err = file_whole(im, &v, flags, attr, &changed, data);
	if (!err)
		err = import_xattrs(im, &v, xattrs, &changed);
	return err ? err : file_complete(im, &v, attr, fresh, changed);
}

int import_data_put(struct importing *im, struct import_data *data)
{
	struct import_file *file = &im->file;
	struct vnode v = file_vnode(im, file->ino);
	uint64_t size = file->attr.inode.size, end;
	int stored, err;

	if (!file->open || data->index < file->next ||
	    data->index >= chunks_of(im, size) || !data->chunk)
		return -EPROTO;
	end = (data->index << im->fs->chunk_bits) + data->len;
	if (end > size)
		return -EPROTO;
	if (!file->ino)
		return 0;
	err = inode_load(im->tree, v.ino, &v.inode);
	if (!err && !file->fresh && data->index > file->next)
		err = holes_make(im, &v, file->next, data->index,
		                 &file->changed);
	if (!err)
		err = data_put(im, &v, data, &file->changed);
	if (err == -EAGAIN)
		return err;
	stored = vnode_store(&v);
	file->next = data->index + 1;
	file->end = end;
	return err ? err : stored;
}

/* Restore the content that a file had before the import. */
static int file_restore(struct importing *im, struct vnode *v)
{
	struct tree *before = hold_tree(&im->now->before);
	struct key key = {.ino = v->ino, .kind = ITEM_EXTENT};
	struct inode inode;
	bool changed;
	int err = holes_make(im, v, 0, UINT64_MAX, &changed);

	if (!err)
		err = inode_load(before, v->ino, &inode);
	/* The sender has named a file twice. */
	if (err)
		return err == -ENOENT ? -EPROTO : err;
	while (!err) {
		struct extent extent;
		struct item item;
		uint64_t more;

		err = tree_seek(before, &key, &item);
		if (err == -ENOENT || (!err && (item.key.ino != v->ino ||
		                                item.key.kind != ITEM_EXTENT)))
			break;
		if (!err)
			err = extent_decode(item.value, item.len, &extent);
		if (err)
			return err;
		key.off = item.key.off + 1;
		more = ext_blocks(&(struct ext){extent.kind, extent.len, 0});
		err = clone_item(v, &item);
		if (!err) {
			v->inode.blocks += more;
			state_count(v->state, 0, more);
			err = vnode_store(v);
		}
		if (!err)
			err = import_pause(im);
		v->tree = im->tree;
	}
	if (err && err != -ENOENT)
		return err;
	v->inode.size = inode.size;
	return vnode_store(v);
}

/* Undo the changes of a file whose content could not be read. */
static int file_undo(struct importing *im, struct vnode *v)
{
	struct import_file *file = &im->file;
	struct import_dir *dir = import_dir_at(im, file->dir);

	if (!file->fresh)
		return file_restore(im, v);
	if (!dir)
		return -EPROTO;
	im->counts->added--;
	im->counts->deleted--;
	return import_remove(im, dir, file->name);
}

int import_file_end(struct importing *im, bool failed, uint64_t size)
{
	struct import_file *file = &im->file;
	struct vnode v = file_vnode(im, file->ino);
	int err;

	if (!file->open || size > file->attr.inode.size ||
	    (!failed && size < file->end))
		return -EPROTO;
	file->open = false;
	if (!file->ino)
		return 0;
	err = inode_load(im->tree, v.ino, &v.inode);
	if (!err && failed)
		return file_undo(im, &v);
	if (!err && !file->fresh)
		err = holes_make(im, &v, MAX(file->next, chunks_of(im, size)),
		                 UINT64_MAX, &file->changed);
	if (!err && !file->fresh && file->next < chunks_of(im, size))
		err = holes_make(im, &v, file->next, chunks_of(im, size),
		                 &file->changed);
	if (err)
		return err;
	file->changed |= v.inode.size != size;
	v.inode.size = size;
	return file_complete(im, &v, &file->attr, file->fresh, file->changed);
}
