/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inodes: the kind of a node number, reading the inode from its state's tree
 * and writing it back, and converting attributes.
 */
#include "inode.h"

#include <errno.h>

enum node_kind node_kind(node_t node)
{
	uint64_t ino = NODE_INO(node);

	if (node & NODE_VIRTUAL)
		return NODE_KIND_PREVIOUS;
	if (NODE_STATE(node))
		return ino == INO_SNAPDIR ? NODE_KIND_SNAPDIR : NODE_KIND_INODE;
	if (node == NODE_ROOT)
		return NODE_KIND_ROOT;
	if (ino & INO_LINK)
		return NODE_KIND_LINK;
	return ino >= INO_FIRST ? NODE_KIND_SYMLINK : NODE_KIND_INODE;
}

uint64_t node_number(node_t node)
{
	return node_kind(node) == NODE_KIND_LINK
	               ? NODE_INO(node) & (INO_LINK - 1)
	               : NODE_STATE(node);
}

void entry_stamp(struct fs *fs, struct fs_entry *entry)
{
	uint64_t number = node_number(entry->node);
	struct state *state;

	entry->generation = 0;
	if (number && !state_get(fs->forest, number, &state))
		entry->generation = state_generation(state);
}

struct timestamp timestamp_of(int64_t ns)
{
	int64_t sec = ns / 1000000000, nsec = ns % 1000000000;

	if (nsec < 0) {
		nsec += 1000000000;
		sec--;
	}
	return (struct timestamp){sec, (uint32_t)nsec};
}

struct timestamp time_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct timestamp){ts.tv_sec, (uint32_t)ts.tv_nsec};
}

static struct timespec time_spec(struct timestamp t)
{
	return (struct timespec){.tv_sec = t.sec, .tv_nsec = t.nsec};
}

static struct timestamp time_stamp(struct timespec t)
{
	return (struct timestamp){t.tv_sec, (uint32_t)t.tv_nsec};
}

struct stat inode_stat(const struct fs *fs, node_t node,
                       const struct inode *inode)
{
	return (struct stat){
	        .st_ino = node,
	        .st_mode = inode->mode,
	        .st_nlink = inode->nlink,
	        .st_uid = inode->uid,
	        .st_gid = inode->gid,
	        .st_rdev = inode->rdev,
	        .st_size = (off_t)inode->size,
	        .st_blksize = (blksize_t)fs->chunk_size,
	        .st_blocks = (blkcnt_t)inode->blocks,
	        .st_atim = time_spec(inode->atime),
	        .st_mtim = time_spec(inode->mtime),
	        .st_ctim = time_spec(inode->ctime),
	};
}

void inode_set(struct inode *inode, unsigned set, const struct stat *to)
{
	inode->ctime = time_now();
	if (set & FS_SET_UID)
		inode->uid = to->st_uid;
	if (set & FS_SET_GID)
		inode->gid = to->st_gid;
	if (set & FS_SET_MODE)
		inode->mode = (inode->mode & S_IFMT) | (to->st_mode & 07777);
	if (set & FS_SET_SIZE)
		inode->mtime = inode->ctime;
	if (set & FS_SET_ATIME_NOW)
		inode->atime = inode->ctime;
	else if (set & FS_SET_ATIME)
		inode->atime = time_stamp(to->st_atim);
	if (set & FS_SET_MTIME_NOW)
		inode->mtime = inode->ctime;
	else if (set & FS_SET_MTIME)
		inode->mtime = time_stamp(to->st_mtim);
}

int inode_load(struct tree *tree, uint64_t ino, struct inode *ret)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct item item;
	int err = tree_get(tree, &key, &item);

	return err ? err : inode_decode(item.value, item.len, ret);
}

int inode_store(struct tree *tree, uint64_t ino, const struct inode *inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	uint8_t value[INODE_LEN_MAX];

	return tree_put(tree, &key, value, inode_encode(inode, value));
}

int vnode_load(struct fs *fs, node_t node, struct vnode *ret)
{
	struct vnode v = {.fs = fs, .ino = NODE_INO(node)};
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return -EPERM;
	err = state_get(fs->forest, NODE_STATE(node), &v.state);
	if (err)
		return err;
	v.tree = state_tree(v.state);
	err = inode_load(v.tree, v.ino, &v.inode);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	*ret = v;
	return 0;
}

int vnode_load_rw(struct fs *fs, node_t node, struct vnode *ret)
{
	struct vnode v;
	int err = vnode_load(fs, node, &v);

	if (err)
		return err;
	if (v.state->flags & STATE_READONLY)
		return -EROFS;
	*ret = v;
	return 0;
}

int vnode_begin(struct vnode *v)
{
	return state_edit(v->state, &v->tree);
}

int vnode_store(struct vnode *v)
{
	return inode_store(v->tree, v->ino, &v->inode);
}

node_t vnode_node(const struct vnode *v)
{
	return NODE(v->state->number, v->ino);
}

struct stat vnode_stat(const struct vnode *v)
{
	return inode_stat(v->fs, vnode_node(v), &v->inode);
}

struct fs_entry vnode_entry(const struct vnode *v)
{
	return (struct fs_entry){
	        .node = vnode_node(v),
	        .st = vnode_stat(v),
	        .generation = state_generation(v->state),
	};
}

void vnode_touch(struct vnode *v)
{
	v->inode.mtime = v->inode.ctime = time_now();
}
