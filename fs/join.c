/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Joining a state into a fork: find the bases, plan, build, switch. */
#include "fs.h"

#include <errno.h>

#include "array.h"
#include "dirent_item.h"
#include "inode.h"
#include "join_faces.h"
#include "join_text.h"
#include "join_tree.h"
#include "open_table.h"

enum { ATTEMPTS = 6 };

struct joining {
	struct fs *fs;
	const struct fs_join *what;
	struct fs_joined *joined;
	bool forward; /* the fork is as the base: it gets the other's tree */
	bool no_forward;
	struct restore r;
	struct fs_restore target; /* for the pieces of r: the fork alone */
};

/* ---- Answers to the planner --------------------------------------------- */

static int same_content(void *arg, const struct join_inode *inode, int a, int b)
{
	struct joining *j = arg;
	const struct file_pair pair = {
	        .store = j->fs->store,
	        .a_tree = joined_tree(j->joined, (unsigned)a),
	        .b_tree = joined_tree(j->joined, (unsigned)b),
	        .a_ino = inode->faces[a].ino,
	        .b_ino = inode->faces[b].ino,
	        .a = inode->faces[a].inode,
	        .b = inode->faces[b].inode,
	};
	unsigned fields = 0;
	int err = file_pair_compare(&pair, false, &fields);

	return err ? err : !(fields & DIFF_CONTENT);
}

static int same_xattr(void *arg, const struct join_inode *inode,
                      const char *name, int a, int b)
{
	struct joining *j = arg;

	return xattr_compare(j->fs->store, joined_tree(j->joined, (unsigned)a),
	                     inode->faces[a].ino,
	                     joined_tree(j->joined, (unsigned)b),
	                     inode->faces[b].ino, name);
}

static int parent_of(void *arg, uint64_t ino, uint64_t *ret_parent)
{
	struct joining *j = arg;
	int err;

	store_lock(j->fs->store);
	err = dir_parent(joined_tree(j->joined, JOIN_OURS), ino, ret_parent);
	store_unlock(j->fs->store);
	return err == -ENOENT ? -EUCLEAN : err;
}

static int choose(void *arg, const struct join_inode *inode,
                  enum join_conflict kind)
{
	struct joining *j = arg;

	return j->what->choose ? j->what->choose(j->what->arg, inode, kind)
	                       : JOIN_NOBODY;
}

static bool pin(void *arg, const struct join_inode *inode)
{
	struct joining *j = arg;

	return j->what->pin && j->what->pin(j->what->arg, inode);
}

static int merge(void *arg, const struct join_inode *inode, uint64_t *ret_size)
{
	struct joining *j = arg;
	struct join_text text;
	int r = j->what->text(j->what->arg, inode);

	if (r)
		r = join_text_merge(j->joined, inode, &text);
	if (r == 1) {
		*ret_size = text.len;
		join_text_release(&text);
	}
	return r;
}

static int has_entry(void *arg, uint64_t dir, const char *name)
{
	struct joining *j = arg;
	uint64_t ino;
	uint8_t type;
	int err;

	store_lock(j->fs->store);
	err = tree_entry(joined_tree(j->joined, JOIN_OURS), dir, name,
	                 strlen(name), &ino, &type);
	store_unlock(j->fs->store);
	return err == -ENOENT ? 0 : err ? err : 1;
}

/* ---- Trees -------------------------------------------------------------- */

/* Hold the bases.  Return 1 if the fork contains the other state already. */
static int bases_hold(struct joining *j, struct state *into, struct state *from)
{
	struct fs_joined *joined = j->joined;
	uint64_t ids[JOIN_BASES_MAX];
	struct state *base;
	int count, err;

	if (j->what->base) {
		err = state_get(j->fs->forest, j->what->base, &base);
		if (!err)
			err = state_hold(base, &joined->bases[0]);
		joined->base_count = !err;
		return err;
	}
	count = join_bases(into, &joined->now.before, from, &joined->theirs,
	                   JOIN_BASES_MAX, ids);
	if (count <= 0)
		return count ? count : -ENODATA;
	for (int i = 0; i < count; i++) {
		err = version_hold_id(j->fs->forest, ids[i], &joined->bases[i]);
		if (err)
			return err;
		joined->base_count++;
	}
	return count == 1 && ids[0] == hold_version(&joined->theirs);
}

/*
 * Return true if the result is the other state's tree, and may have its
 * lineage.
 */
static bool is_forward(const struct joining *j)
{
	const struct fs_joined *joined = j->joined;

	return !j->no_forward && joined->base_count == 1 && !j->what->base &&
	       !j->what->squash && !j->what->review &&
	       hold_version(&joined->bases[0]) ==
	               hold_version(&joined->now.before);
}

static void suffix_write(struct joining *j, const struct state *from)
{
	char *suffix = j->joined->suffix;

	state_full_name(j->fs->forest, from, suffix);
	for (; *suffix; suffix++)
		*suffix = *suffix == '/' ? '~' : *suffix;
}

/* Hold the trees, and begin the side head.  1: see bases_hold(). */
static int trees_hold(struct joining *j)
{
	struct fs_joined *joined = j->joined;
	struct state *from, *into;
	int err = state_get(j->fs->forest, j->what->from, &from);

	if (!err)
		err = state_get(j->fs->forest, j->what->into, &into);
	if (!err && into->flags & STATE_READONLY)
		err = -EROFS;
	if (!err)
		err = state_hold(from, &joined->theirs);
	if (!err)
		err = state_hold(into, &joined->now.before);
	if (!err)
		err = bases_hold(j, into, from);
	if (!err && j->what->ff_only &&
	    hold_version(&joined->bases[0]) !=
	            hold_version(&joined->now.before))
		err = -ENOTEMPTY;
	if (!err)
		suffix_write(j, from);
	j->forward = !err && is_forward(j);
	if (!err && !j->what->dry_run)
		err = side_begin(j->forward ? from : into, &joined->now.side);
	return err;
}

/* ---- Switching ---------------------------------------------------------- */

static int join_record(struct joining *j, struct state *into)
{
	struct join_record record = {
	        .into = into->number,
	        .version = hold_version(&j->joined->theirs),
	        .time = now_ns(),
	};
	struct state *from;
	int err = state_get(j->fs->forest, j->what->from, &from);

	if (j->what->squash || j->what->base)
		return 0;
	if (err)
		return err;
	record.from = from->fork ? from->fork : from->number;
	if (record.from == into->number)
		return 0;
	record.seq = store_next_seq(j->fs->store);
	state_full_name(j->fs->forest, from, record.name);
	return join_record_put(j->fs->forest, &record);
}

/*
 * Return true if an inode is open in the fork that is not in the other tree: it
 * must become an orphan, and so the tree cannot be the other one.
 */
static bool missing_is_open(const struct joining *j)
{
	const struct join_inode *inode;

	for (size_t n = 0; (inode = plan_inode(j->joined->plan, n)); n++) {
		const struct join_face *ours = &inode->faces[JOIN_OURS];
		const struct join_face *theirs = &inode->faces[JOIN_THEIRS];

		if (ours->present &&
		    (!theirs->present || theirs->ino != ours->ino) &&
		    open_keep(j->fs, NODE(j->what->into, ours->ino), true))
			return true;
	}
	return false;
}

/*
 * -EAGAIN: the fork has changed since the side head was begun, or cannot switch
 * to the other tree.
 */
static int join_switch(struct joining *j)
{
	struct fs *fs = j->fs;
	struct state *into;
	int err = state_get(fs->forest, j->what->into, &into);

	if (!err && !state_is_at(into, hold_version(&j->joined->now.before)))
		err = -EAGAIN;
	if (!err && j->forward && missing_is_open(j)) {
		j->no_forward = true;
		err = -EAGAIN;
	}
	if (!err)
		err = side_check_quota(&j->joined->now.side, into);
	if (!err)
		err = join_record(j, into);
	if (!err)
		err = side_switch(&j->joined->now.side, into);
	if (err)
		return err;
	j->joined->done = true;
	fs->moves[into->number % ARRAY_SIZE(fs->moves)]++;
	fs_adopt(fs, into);
	return 0;
}

/* ---- All of it ---------------------------------------------------------- */

static int plan_once(struct joining *j)
{
	const struct join_ops ops = {
	        .same_content = same_content,
	        .same_xattr = same_xattr,
	        .parent = parent_of,
	        .choose = choose,
	        .pin = pin,
	        .merge = j->what->text ? merge : NULL,
	        .has_entry = has_entry,
	        .suffix = j->joined->suffix,
	        .arg = j,
	};
	int r = joined_faces(j->fs, j->joined);

	if (!r)
		r = plan_make(j->joined->plan, &ops);
	if (r < 0)
		return r;
	j->joined->conflicts = r;
	return 0;
}

static int join_plan(struct joining *j)
{
	int r = plan_once(j);

	if (!r && j->what->review)
		r = j->what->review(j->what->arg);
	if (r == 1) {
		plan_destroy(steal(&j->joined->plan));
		r = plan_once(j);
	}
	return r;
}

static int join_build(struct joining *j)
{
	int err = store_throttle(j->fs->store, true);

	if (err)
		return err;
	j->target.fork = j->what->into;
	j->r = (struct restore){.fs = j->fs,
	                        .what = &j->target,
	                        .now = &j->joined->now,
	                        .from = hold_tree(&j->joined->theirs)};
	store_lock(j->fs->store);
	err = j->forward ? 0 : restore_piece(&j->r);
	if (!err && !j->forward)
		err = join_tree_build(&j->r, j->joined);
	if (!err)
		err = join_switch(j);
	store_unlock(j->fs->store);
	return err;
}

static int join_attempt(struct joining *j)
{
	int err = store_throttle(j->fs->store, true);

	if (err)
		return err;
	store_lock(j->fs->store);
	err = trees_hold(j);
	store_unlock(j->fs->store);
	if (err)
		return err < 0 ? err : 0;
	err = join_plan(j);
	if (err || j->joined->conflicts || j->what->dry_run)
		return err;
	return join_build(j);
}

void fs_joined_release(struct fs *fs, struct fs_joined *joined)
{
	plan_destroy(joined->plan);
	store_lock(fs->store);
	hold_release(fs->forest, &joined->now.before);
	side_end(fs->forest, &joined->now.side);
	hold_release(fs->forest, &joined->theirs);
	for (unsigned i = 0; i < joined->base_count; i++)
		hold_release(fs->forest, &joined->bases[i]);
	store_unlock(fs->store);
	*joined = (struct fs_joined){0};
}

int fs_join(struct fs *fs, const struct fs_join *what,
            struct fs_joined *ret_joined)
{
	struct joining j = {.fs = fs, .what = what, .joined = ret_joined};
	int err = what->text ? join_text_begin() : 0;

	*ret_joined = (struct fs_joined){0};
	if (err)
		return err;
	err = -EAGAIN;
	for (int attempt = 1; err == -EAGAIN; attempt++) {
		fs_joined_release(fs, ret_joined);
		err = join_attempt(&j);
		if (err == -EAGAIN && attempt == ATTEMPTS)
			err = -EBUSY;
	}
	if (what->text)
		join_text_end();
	return err;
}
