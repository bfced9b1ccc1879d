/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removing and changing names: unlink, rmdir and rename.
 */
#include "fs.h"

#include <errno.h>
#include <stdio.h>

#include "dir.h"
#include "dirent_item.h"
#include "extent.h"
#include "inode.h"
#include "orphan.h"
#include "state_dir.h"

/*
 * Remove a name's link from the inode.  *ret_finish: call orphan_finish()
 * without the lock.
 */
static int name_lost(struct vnode *child, bool *ret_finish)
{
	int err;

	child->inode.ctime = time_now();
	if (S_ISDIR(child->inode.mode))
		child->inode.nlink = 0;
	else if (child->inode.nlink)
		child->inode.nlink--;
	if (child->inode.nlink)
		return vnode_store(child);
	err = vnode_unlinked(child);
	*ret_finish = err == -EAGAIN;
	return *ret_finish ? 0 : err;
}

/* ---- unlink and rmdir --------------------------------------------------- */

static int remove_check(const struct vnode *child, bool dir)
{
	bool is_dir = S_ISDIR(child->inode.mode);

	if (dir && !is_dir)
		return -ENOTDIR;
	if (!dir && is_dir)
		return -EISDIR;
	return is_dir && child->inode.size ? -ENOTEMPTY : 0;
}

static int remove_locked(struct fs *fs, node_t parent, const char *name,
                         bool is_dir, bool *ret_finish, node_t *ret_node)
{
	struct key key = {.kind = ITEM_DIRENT};
	struct vnode dir, child;
	int err = dir_load_rw(fs, parent, &dir);

	if (!err)
		err = dir_check_name(&dir, name);
	if (err)
		return err == -EEXIST ? -EPERM : err;
	err = dir_find(&dir, name, &key.off, &child);
	if (!err)
		err = remove_check(&child, is_dir);
	if (!err)
		err = vnode_begin(&dir);
	if (err)
		return err;
	key.ino = dir.ino;
	child.tree = dir.tree;
	*ret_node = vnode_node(&child);
	err = tree_del(dir.tree, &key);
	if (err)
		return err;
	dir.inode.size--;
	dir.inode.nlink -= is_dir;
	vnode_touch(&dir);
	err = vnode_store(&dir);
	if (!err)
		err = backref_del(&child, dir.ino, name);
	return err ? err : name_lost(&child, ret_finish);
}

int fs_remove(struct fs *fs, node_t parent, const char *name, bool dir,
              node_t *ret_node)
{
	bool finish = false;
	node_t node = 0;
	int err = store_throttle(fs->store, false);

	if (err)
		return err;
	store_lock(fs->store);
	if (node_kind(parent) == NODE_KIND_INODE)
		err = remove_locked(fs, parent, name, dir, &finish, &node);
	else if (dir)
		err = state_dir_rmdir(fs, parent, name);
	else
		err = state_dir_unlink(fs, parent, name);
	store_unlock(fs->store);
	/*
	 * The name is removed.  If the inode cannot be freed now, the ORPHAN
	 * item stays, and orphan cleanup frees it later.
	 */
	if (finish)
		orphan_finish(fs, node);
	if (!err)
		*ret_node = node;
	return err;
}

int fs_unlink(struct fs *fs, node_t parent, const char *name)
{
	node_t node;

	return fs_remove(fs, parent, name, false, &node);
}

int fs_rmdir(struct fs *fs, node_t parent, const char *name)
{
	node_t node;

	return fs_remove(fs, parent, name, true, &node);
}

/* ---- rename ------------------------------------------------------------- */

/* A walk from a directory up to the root, which must not meet an inode. */
struct climb {
	uint64_t dir, avoid; /* inode numbers: the start; the one not to meet */
	uint64_t at;         /* the next directory; INO_ROOT: done */
	uint64_t steps;      /* so far */
	uint64_t moves;      /* fs->moves at its start; still valid if equal */
};

enum { CLIMB_PIECE = 512 }; /* directories checked in one hold of the lock */

struct move {
	struct fs *fs;
	const char *name, *new_name;
	unsigned flags;
	const struct fs_cred *cred;
	struct vnode from, into; /* the directories; if `same`, only `from` */
	bool same;
	struct vnode child;
	uint64_t slot;
	struct vnode other; /* inode that has the new name now */
	bool has_other;
	uint64_t whiteout_ino; /* inode number of the whiteout */
	uint64_t new_slot;
	struct climb climbs[2];
	bool finish; /* result: call orphan_finish() for `other` */
};

static struct vnode *move_into(struct move *m)
{
	return m->same ? &m->from : &m->into;
}

/*
 * Return the state's counter of directories moved to another parent.  Several
 * states may share a counter, which only makes checks start again.
 */
static uint64_t *moves_of(struct fs *fs, const struct state *state)
{
	return &fs->moves[state->number % ARRAY_SIZE(fs->moves)];
}

/*
 * Return -EINVAL if `dir` is `ino` or lies below it.  -EAGAIN: the directory is
 * so deep that the check must continue in another hold of the lock.  The check
 * starts again if directories have been moved meanwhile.
 */
static int check_outside(struct climb *c, struct vnode *dir, uint64_t ino)
{
	uint64_t moves = *moves_of(dir->fs, dir->state);
	int err;

	if (c->dir != dir->ino || c->avoid != ino || c->moves != moves)
		*c = (struct climb){dir->ino, ino, dir->ino, 0, moves};
	for (unsigned n = 0; c->at != INO_ROOT; n++) {
		if (c->at == ino)
			return -EINVAL;
		if (n == CLIMB_PIECE)
			return -EAGAIN;
		/*
		 * Prevent an endless loop after damage: the depth is at most
		 * the number of inodes.
		 */
		if (c->steps++ > state_inodes(dir->state))
			return -EUCLEAN;
		err = dir_parent(dir->tree, c->at, &c->at);
		if (err)
			return err == -ENOENT ? -EUCLEAN : err;
	}
	return 0;
}

static int move_check_types(const struct move *m)
{
	bool dir = S_ISDIR(m->child.inode.mode);
	bool other_dir = S_ISDIR(m->other.inode.mode);

	if (!m->has_other || (m->flags & RENAME_EXCHANGE))
		return 0;
	if (dir && !other_dir)
		return -ENOTDIR;
	if (!dir && other_dir)
		return -EISDIR;
	return other_dir && m->other.inode.size ? -ENOTEMPTY : 0;
}

static int move_check(struct move *m)
{
	bool exchange = m->flags & RENAME_EXCHANGE;
	int err = 0;

	if (m->has_other && (m->flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!m->has_other && exchange)
		return -ENOENT;
	if (!m->same && S_ISDIR(m->child.inode.mode))
		err = check_outside(&m->climbs[0], &m->into, m->child.ino);
	if (!err && !m->same && exchange && S_ISDIR(m->other.inode.mode))
		err = check_outside(&m->climbs[1], &m->from, m->other.ino);
	return err ? err : move_check_types(m);
}

static int move_load(struct move *m, node_t parent, node_t new_parent)
{
	struct vnode *into = move_into(m);
	int err = dir_load_rw(m->fs, parent, &m->from);

	if (!err && !m->same)
		err = dir_load_rw(m->fs, new_parent, &m->into);
	if (!err)
		err = dir_check_name(&m->from, m->name);
	if (err)
		return err == -EEXIST ? -EPERM : err;
	err = dir_check_name(into, m->new_name);
	if (!err)
		err = dir_find(&m->from, m->name, &m->slot, &m->child);
	if (err)
		return err;
	err = dir_find(into, m->new_name, &m->new_slot, &m->other);
	m->has_other = !err;
	if (err == -ENOENT)
		err = slot_free(into->tree, into->ino, ITEM_DIRENT, 0,
		                m->new_name, strlen(m->new_name), &m->new_slot);
	return err;
}

/* Update the directories' counts and times. */
static int move_parents(struct move *m)
{
	bool exchange = m->flags & RENAME_EXCHANGE;
	bool dir = S_ISDIR(m->child.inode.mode);
	bool other_dir = m->has_other && S_ISDIR(m->other.inode.mode);
	struct vnode *into = move_into(m);
	int err;

	if (!(m->flags & (RENAME_EXCHANGE | RENAME_WHITEOUT)))
		m->from.inode.size--;
	if (!m->has_other)
		into->inode.size++;
	m->from.inode.nlink -= dir;
	into->inode.nlink += dir;
	into->inode.nlink -= other_dir;
	if (exchange)
		m->from.inode.nlink += other_dir;
	vnode_touch(&m->from);
	if (!m->same)
		vnode_touch(&m->into);
	err = vnode_store(&m->from);
	return err || m->same ? err : vnode_store(&m->into);
}

static int move_exchange(struct move *m)
{
	struct vnode *into = move_into(m);
	int err = dirent_put(into, m->new_slot, m->new_name, &m->child);

	if (!err)
		err = dirent_put(&m->from, m->slot, m->name, &m->other);
	if (!err)
		err = backref_del(&m->child, m->from.ino, m->name);
	if (!err)
		err = backref_del(&m->other, into->ino, m->new_name);
	if (!err)
		err = backref_put(&m->child, into->ino, m->new_name);
	if (!err)
		err = backref_put(&m->other, m->from.ino, m->name);
	if (err)
		return err;
	m->child.inode.ctime = m->other.inode.ctime = time_now();
	err = vnode_store(&m->child);
	return err ? err : vnode_store(&m->other);
}

/* Remove the old name, or let it name the whiteout. */
static int move_away(struct move *m, const struct vnode *whiteout)
{
	struct key key = {
	        .ino = m->from.ino,
	        .kind = ITEM_DIRENT,
	        .off = m->slot,
	};

	if (whiteout)
		return dirent_put(&m->from, m->slot, m->name, whiteout);
	return tree_del(m->from.tree, &key);
}

static int move_one(struct move *m)
{
	bool wants = m->flags & RENAME_WHITEOUT;
	struct vnode *into = move_into(m), whiteout;
	int err = 0;

	if (wants)
		err = whiteout_make(&m->from, m->name, m->cred, m->whiteout_ino,
		                    &whiteout);
	if (!err)
		err = dirent_put(into, m->new_slot, m->new_name, &m->child);
	if (!err)
		err = move_away(m, wants ? &whiteout : NULL);
	if (!err && m->has_other)
		err = backref_del(&m->other, into->ino, m->new_name);
	if (!err)
		err = backref_del(&m->child, m->from.ino, m->name);
	if (!err)
		err = backref_put(&m->child, into->ino, m->new_name);
	if (err)
		return err;
	m->child.inode.ctime = time_now();
	err = vnode_store(&m->child);
	if (err || !m->has_other)
		return err;
	if (S_ISREG(m->child.inode.mode) && S_ISREG(m->other.inode.mode))
		ext_hint(&m->child, m->other.tree, m->other.ino);
	return name_lost(&m->other, &m->finish);
}

static int move_locked(struct move *m, node_t parent, node_t new_parent)
{
	int err = move_load(m, parent, new_parent);

	if (!err && m->has_other && (m->flags & RENAME_NOREPLACE))
		return -EEXIST;
	/* Two names of one inode: POSIX requires that both stay. */
	if (!err && m->has_other && m->child.ino == m->other.ino)
		return 0;
	if (!err)
		err = move_check(m);
	/* Draw the number before changing anything: it can fail. */
	if (!err && (m->flags & RENAME_WHITEOUT))
		err = ino_new(m->fs->store, INO_END, &m->whiteout_ino);
	if (!err && (m->flags & RENAME_WHITEOUT))
		err = quota_check(m->from.state, 1, 0);
	if (!err)
		err = vnode_begin(&m->from);
	if (err)
		return err;
	m->into.tree = m->child.tree = m->other.tree = m->from.tree;
	if (!m->same && (S_ISDIR(m->child.inode.mode) ||
	                 (m->has_other && S_ISDIR(m->other.inode.mode))))
		++*moves_of(m->fs, m->from.state);
	err = move_parents(m);
	if (err)
		return err;
	return m->flags & RENAME_EXCHANGE ? move_exchange(m) : move_one(m);
}

int fs_move(struct fs *fs, node_t parent, const char *name, node_t new_parent,
            const char *new_name, unsigned flags, const struct fs_cred *cred,
            struct fs_moved *ret_moved)
{
	struct move m = {
	        .fs = fs,
	        .name = name,
	        .new_name = new_name,
	        .flags = flags,
	        .cred = cred,
	        .same = parent == new_parent,
	};
	bool virtual = node_kind(parent) != NODE_KIND_INODE ||
	               node_kind(new_parent) != NODE_KIND_INODE;
	int err;

	if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) ||
	    ((flags & RENAME_EXCHANGE) && flags != RENAME_EXCHANGE) ||
	    (virtual && (flags & RENAME_WHITEOUT)))
		return -EINVAL;
	err = store_throttle(fs->store, flags & RENAME_WHITEOUT);
	if (err)
		return err;
	do {
		store_lock(fs->store);
		if (virtual)
			err = state_dir_rename(fs, parent, name, new_parent,
			                       new_name, flags);
		else if (NODE_STATE(parent) != NODE_STATE(new_parent))
			err = -EXDEV;
		else
			err = move_locked(&m, parent, new_parent);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = store_yield(fs->store)));
	if (m.finish)
		orphan_finish(fs, vnode_node(&m.other));
	if (err)
		return err;
	*ret_moved = (struct fs_moved){0};
	if (!virtual)
		ret_moved->moved = vnode_node(&m.child);
	if (!virtual && m.has_other)
		ret_moved->replaced = vnode_node(&m.other);
	return 0;
}

int fs_rename(struct fs *fs, node_t parent, const char *name, node_t new_parent,
              const char *new_name, unsigned flags, const struct fs_cred *cred)
{
	struct fs_moved moved;

	return fs_move(fs, parent, name, new_parent, new_name, flags, cred,
	               &moved);
}
