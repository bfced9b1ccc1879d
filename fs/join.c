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
	struct fs_tree_ids ids;
	bool forward; /* the fork equals the base: it gets the other's tree */
	bool no_forward; /* an open inode prevents that */
	bool prepare;    /* build the tree, but do not switch */
	struct restore r;
	struct fs_restore target; /* for restore_piece(): only `fork` is set */
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

/*
 * Find the bases of two held trees.  Return 1 if the fork contains the other
 * state already.
 */
static int bases_find(const struct fs_join *what, struct state *into,
                      struct state *from, struct fs_joined *joined,
                      struct fs_tree_ids *ids)
{
	struct state *base;
	int count, err;

	if (what->base) {
		err = state_get(into->forest, what->base, &base);
		if (!err)
			err = state_hold(base, &joined->bases[0]);
		if (err)
			return err;
		joined->base_count = ids->base_count = 1;
		ids->bases[0] = hold_version(&joined->bases[0]);
		return 0;
	}
	count = join_bases(into, &joined->now.before, from, &joined->theirs,
	                   JOIN_BASES_MAX, ids->bases);
	if (count <= 0)
		return count ? count : -ENODATA;
	ids->base_count = (unsigned)count;
	return count == 1 && ids->bases[0] == ids->from;
}

int fs_join_ids(struct fs *fs, const struct fs_join *what,
                struct fs_tree_ids *ret_ids,
                char ret_suffix[NAME_LEN_MAX * 2 + 2])
{
	struct fs_joined held = {0};
	struct fs_tree_ids ids = {0};
	struct state *from, *into;
	int r = state_get(fs->forest, what->from, &from);

	if (!r)
		r = state_get(fs->forest, what->into, &into);
	if (!r)
		r = fs_tree_ids(into, from, &ids);
	/* An empty tree of the same step has no version in common. */
	if (!r && (!ids.into || !ids.from))
		r = -ENODATA;
	if (!r)
		r = version_hold_id(fs->forest, ids.into, &held.now.before);
	if (!r)
		r = version_hold_id(fs->forest, ids.from, &held.theirs);
	if (!r)
		r = bases_find(what, into, from, &held, &ids);
	joined_clear(fs, &held);
	if (!r && what->ff_only && ids.bases[0] != ids.into)
		r = -ENOTEMPTY;
	if (r < 0)
		return r;
	*ret_ids = ids;
	state_full_name(fs->forest, from, ret_suffix);
	for (; *ret_suffix; ret_suffix++)
		*ret_suffix = *ret_suffix == '/' ? '~' : *ret_suffix;
	return r;
}

/*
 * Return true if the result of the join is the other state's tree, and the fork
 * may continue the lineage of that state.
 */
static bool is_forward(const struct joining *j)
{
	const struct fs_tree_ids *ids = &j->ids;

	return !j->no_forward && ids->base_count == 1 && !j->what->base &&
	       !j->what->squash && !j->what->review &&
	       ids->bases[0] == ids->into;
}

/*
 * Hold the trees, and begin the side head.  1: the fork contains the other
 * state already.
 */
static int trees_hold(struct joining *j)
{
	struct fs_joined *joined = j->joined;
	int r = fs_join_ids(j->fs, j->what, &j->ids, joined->suffix);
	int err = r < 0 ? r : joined_hold(j->fs, joined, &j->ids);

	if (err || r)
		return err ? err : r;
	j->forward = is_forward(j);
	if (j->what->dry_run)
		return 0;
	return side_begin_at(j->forward ? &joined->theirs : &joined->now.before,
	                     &joined->now.side);
}

/* ---- Switching ---------------------------------------------------------- */

int fs_join_record(struct fs *fs, const struct fs_join *what, uint64_t version)
{
	struct join_record record = {
	        .into = what->into,
	        .version = version,
	        .time = now_ns(),
	};
	struct state *from;
	int err;

	if (what->squash || what->base)
		return 0;
	err = state_get(fs->forest, what->from, &from);
	if (err)
		return err;
	record.from = from->fork ? from->fork : from->number;
	if (record.from == what->into)
		return 0;
	record.seq = store_next_seq(fs->store);
	state_full_name(fs->forest, from, record.name);
	return join_record_put(fs->forest, &record);
}

bool joined_open_missing(struct fs *fs, const struct fs_joined *joined,
                         uint64_t fork)
{
	const struct join_inode *inode;

	for (size_t n = 0; (inode = plan_inode(joined->plan, n)); n++) {
		const struct join_face *ours = &inode->faces[JOIN_OURS];
		const struct join_face *theirs = &inode->faces[JOIN_THEIRS];

		if (ours->present &&
		    (!theirs->present || theirs->ino != ours->ino) &&
		    open_keep(fs, NODE(fork, ours->ino), true))
			return true;
	}
	return false;
}

/*
 * Record the join, and switch the fork.  -EAGAIN: the fork has changed since
 * the side head was begun, or cannot switch to the other tree.
 */
static int join_switch(struct joining *j)
{
	struct fs *fs = j->fs;
	struct state *into;
	int err = state_get(fs->forest, j->what->into, &into);

	if (!err && !state_is_at(into, hold_version(&j->joined->now.before)))
		err = -EAGAIN;
	if (!err && j->forward &&
	    joined_open_missing(fs, j->joined, into->number)) {
		j->no_forward = true;
		err = -EAGAIN;
	}
	if (!err)
		err = side_check_quota(&j->joined->now.side, into);
	if (!err)
		err = fs_join_record(fs, j->what, j->ids.from);
	if (!err)
		err = side_switch(&j->joined->now.side, into);
	if (err)
		return err;
	j->joined->done = true;
	fork_switched(fs, into);
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
	j->target.fork = j->prepare ? 0 : j->what->into;
	j->r = (struct restore){.fs = j->fs,
	                        .what = &j->target,
	                        .now = &j->joined->now,
	                        .from = hold_tree(&j->joined->theirs)};
	store_lock(j->fs->store);
	err = j->forward ? 0 : restore_piece(&j->r);
	if (!err && !j->forward)
		err = join_tree_build(&j->r, j->joined);
	if (!err && !j->prepare)
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
	store_lock(fs->store);
	joined_clear(fs, joined);
	store_unlock(fs->store);
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

/* ---- Preparing ---------------------------------------------------------- */

/* Begin the side head, unless the other state's tree is the result. */
static int prepare_begin(struct joining *j, struct fs_prepared *prepared)
{
	int err = 0;

	store_lock(j->fs->store);
	j->forward = is_forward(j) &&
	             !joined_open_missing(j->fs, j->joined, prepared->fork);
	if (!j->forward)
		err = prepared_begin(prepared);
	store_unlock(j->fs->store);
	return err;
}

static int prepare(struct joining *j, struct fs_prepared *prepared)
{
	int err = join_plan(j);

	if (err || j->joined->conflicts)
		return err;
	err = prepare_begin(j, prepared);
	if (!err)
		err = join_build(j);
	if (err)
		return err;
	store_lock(j->fs->store);
	prepared->forward = j->forward;
	prepared_end(prepared);
	store_unlock(j->fs->store);
	return 0;
}

int fs_prepare_join(struct fs *fs, struct fs_prepared *prepared,
                    const struct fs_join *what)
{
	struct joining j = {.fs = fs,
	                    .what = what,
	                    .joined = &prepared->trees,
	                    .ids = prepared->ids,
	                    .prepare = true};
	int err = what->text ? join_text_begin() : 0;

	if (err)
		return err;
	err = store_throttle(fs->store, true);
	if (!err)
		err = prepare(&j, prepared);
	if (what->text)
		join_text_end();
	return err;
}
