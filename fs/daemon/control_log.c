/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_log.h"

#include <errno.h>

#include "control_diff.h"
#include "control_list.h"
#include "control_path.h"
#include "escaped_name.h"
#include "util.h"

/* The file in one of the states. */
struct sight {
	bool there;
	uint64_t ino;
	struct inode inode;
	char path[TREE_PATH_SIZE]; /* if !there: where it was looked for */
};

struct logging {
	struct control *c;
	struct control_path path;
	bool follow, deleted;
	unsigned counts; /* fields whose change makes a version */
	struct control_hold newer, older;
	int64_t newer_created, older_created;
	struct sight now, before;        /* in `newer`, in `older` */
	char last[NAME_LEN_MAX * 2 + 2]; /* newest state of the version */
	unsigned long rows;
};

static void logging_release(struct logging **m)
{
	if (!*m)
		return;
	control_release((*m)->c, &(*m)->newer);
	control_release((*m)->c, &(*m)->older);
	free(*m);
}

/* ---- Looking ------------------------------------------------------------ */

/* Look the file up by the path alone.  Lock held. */
static int sight_by_path(struct tree *tree, const char *path,
                         struct sight *ret_sight)
{
	int err =
	        tree_path_find(tree, path, &ret_sight->ino, &ret_sight->inode);

	ret_sight->there = !err;
	snprintf(ret_sight->path, sizeof(ret_sight->path), "%s", path);
	return err == -ENOENT || err == -ENOTDIR ? 0 : err;
}

/* Look up the same file in an older tree.  Lock held. */
static int sight_before(const struct logging *m, struct tree *tree,
                        struct sight *ret_sight)
{
	struct inode inode;
	int err = sight_by_path(tree, m->now.path, ret_sight);
	int named;

	if (err || !m->follow || !m->now.there ||
	    (ret_sight->there && ret_sight->ino == m->now.ino))
		return err;
	named = inode_named(tree, m->now.ino, &inode);
	if (named <= 0)
		return named; /* the path may have had another file */
	err = tree_path_of(tree, m->now.ino, NULL, 0, ret_sight->path);
	if (err)
		return err == -ENAMETOOLONG ? 0 : err;
	ret_sight->there = true;
	ret_sight->ino = m->now.ino;
	ret_sight->inode = inode;
	return 0;
}

static int failed(struct logging *m, int err)
{
	return err < 0 ? control_fail_path(m->c, "show the log of", &m->path,
	                                   err)
	               : err;
}

/* Hold the state before `newer`, and find the file.  -ENOENT: no such state. */
static int step_back(struct logging *m)
{
	struct control *c = m->c;
	struct state *state, *before;
	int err;

	store_lock(c->store);
	err = state_get(c->forest, m->newer.number, &state);
	if (!err && state->created != m->newer_created)
		err = -ESTALE;
	if (!err)
		err = state_before(c->forest, state, &before);
	if (!err)
		err = state_hold(before, &m->older.hold);
	if (!err) {
		m->older.number = before->number;
		m->older.readonly = before->flags & STATE_READONLY;
		m->older_created = before->created;
		state_full_name(c->forest, before, m->older.name);
		err = sight_before(m, hold_tree(&m->older.hold), &m->before);
	}
	store_unlock(c->store);
	return err == -ESTALE ? -ENOENT : err;
}

/* Make the older state the newer one. */
static void move_on(struct logging *m)
{
	control_release(m->c, &m->newer);
	store_lock(m->c->store);
	hold_move(m->c->forest, &m->older.hold, &m->newer.hold);
	store_unlock(m->c->store);
	m->newer.number = m->older.number;
	m->newer.readonly = m->older.readonly;
	m->newer_created = m->older_created;
	memcpy(m->newer.name, m->older.name, sizeof(m->newer.name));
	m->now = m->before;
}

/* ---- Rows --------------------------------------------------------------- */

static int64_t time_ns(struct timestamp t)
{
	return t.sec * 1000000000 + t.nsec;
}

static json_t *size_json(const struct sight *sight)
{
	return sight->there && !S_ISDIR(sight->inode.mode)
	               ? json_integer((json_int_t)sight->inode.size)
	               : json_null();
}

/*
 * Return true if the joined version has the file as it is now; with `renamed`,
 * under the same path.  A file that has not changed since `parted`, when the
 * two states parted, did not come with the join.
 */
static bool join_has_now(struct logging *m, const struct join_record *join,
                         int64_t parted, bool renamed)
{
	struct control *c = m->c;
	struct file_pair pair = {.store = c->store,
	                         .b_tree = hold_tree(&m->newer.hold),
	                         .a_ino = m->now.ino,
	                         .b_ino = m->now.ino,
	                         .b = m->now.inode};
	struct state_hold hold = {0};
	char path[TREE_PATH_SIZE];
	unsigned fields = ~0u;
	int err;

	store_lock(c->store);
	err = version_hold_id(c->forest, join->version, &hold);
	if (!err) {
		pair.a_tree = hold_tree(&hold);
		err = tree_inode(pair.a_tree, pair.a_ino, &pair.a);
	}
	if (!err && renamed)
		err = tree_path_of(pair.a_tree, pair.a_ino, NULL, 0, path);
	store_unlock(c->store);
	if (!err && time_ns(pair.a.ctime) > parted &&
	    !((pair.a.mode ^ pair.b.mode) & S_IFMT))
		err = file_pair_compare(&pair, false, &fields);
	store_lock(c->store);
	hold_release(c->forest, &hold);
	store_unlock(c->store);
	return !err && !fields && (!renamed || !strcmp(path, m->now.path));
}

/*
 * Find the next join into the newer state, and the time at which the two states
 * parted: the creation of the later one.  -ENOENT.  Lock held.
 */
static int join_next(struct logging *m, struct join_record *join,
                     int64_t *ret_parted)
{
	struct state *newer, *into, *from;
	int err = state_get(m->c->forest, m->newer.number, &newer);

	if (!err)
		err = join_record_of(newer, join->from, join);
	if (!err)
		err = state_get(m->c->forest, join->into, &into);
	if (!err)
		err = state_get(m->c->forest, join->from, &from);
	if (!err)
		*ret_parted = MAX(into->created, from->created);
	return err;
}

/*
 * Return the name of the state whose join, between the two states, brought the
 * file's version; null: none.  Only the last join of each state is recorded.
 */
static json_t *join_find(struct logging *m, bool renamed)
{
	struct join_record join = {0};
	int64_t parted = 0;
	int err = 0;

	while (m->now.there && !err) {
		store_lock(m->c->store);
		err = join_next(m, &join, &parted);
		store_unlock(m->c->store);
		if (!err && join.time > m->older_created &&
		    join_has_now(m, &join, parted, renamed))
			return name_escape(join.name);
	}
	return json_null();
}

/* Send the row of a change from the older state to the newer one. */
static int row_send(struct logging *m, char op, unsigned fields)
{
	const struct sight *sight = m->now.there ? &m->now : &m->before;
	const char text[] = {op, 0};
	struct control *c = m->c;
	json_t *row = json_pack(
	        "{s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:o, "
	        "s:o}",
	        "state", name_escape(m->newer.name), "last",
	        name_escape(m->last), "created",
	        m->newer.readonly ? control_time(m->newer_created)
	                          : json_null(),
	        "op", text, "path", name_escape(sight->path), "from",
	        op == DIFF_RENAMED ? name_escape(m->before.path) : json_null(),
	        "type", type_name(sight->inode.mode), "inode",
	        (json_int_t)sight->ino, "size", size_json(&m->now), "old_size",
	        size_json(&m->before), "fields", diff_fields_json(fields),
	        "modified",
	        m->now.there ? control_time(time_ns(m->now.inode.mtime))
	                     : json_null(),
	        "joined", join_find(m, op == DIFF_RENAMED));

	if (!row)
		return fail(c, -ENOMEM, "out of memory");
	m->rows++;
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	return c->ended;
}

static bool inodes_equal(const struct inode *a, const struct inode *b)
{
	uint8_t x[INODE_LEN_MAX], y[INODE_LEN_MAX];
	size_t len = inode_encode(a, x);

	return len == inode_encode(b, y) && !memcmp(x, y, len);
}

/* Compare the file in the two states.  *ret_op is 0 for the same version. */
static int versions_compare(struct logging *m, char *ret_op,
                            unsigned *ret_fields)
{
	const struct sight *a = &m->before, *b = &m->now;
	const struct file_pair pair = {.store = m->c->store,
	                               .a_tree = hold_tree(&m->older.hold),
	                               .b_tree = hold_tree(&m->newer.hold),
	                               .a_ino = a->ino,
	                               .b_ino = b->ino,
	                               .a = a->inode,
	                               .b = b->inode};
	bool touched = time_ns(a->inode.mtime) != time_ns(b->inode.mtime);
	int err = 0;

	*ret_op = 0;
	*ret_fields = 0;
	if (a->there != b->there)
		*ret_op = b->there ? DIFF_ADDED : DIFF_REMOVED;
	if (!a->there || !b->there)
		return 0;
	if ((a->inode.mode & S_IFMT) != (b->inode.mode & S_IFMT))
		*ret_fields = DIFF_CONTENT;
	/* Every change of a file changes its inode. */
	else if (a->ino != b->ino || !inodes_equal(&a->inode, &b->inode))
		err = file_pair_compare(&pair, touched, ret_fields);
	if (strcmp(a->path, b->path) != 0)
		*ret_op = DIFF_RENAMED;
	else if (*ret_fields & m->counts)
		*ret_op = DIFF_MODIFIED;
	return err;
}

/* ---- The verb ----------------------------------------------------------- */

static int begin(struct logging *m)
{
	struct control *c = m->c;
	struct state *state;
	int err = control_path(c, "state", "path", true, &m->path);

	if (!err)
		err = control_hold(c, "show the log of", m->path.state,
		                   &m->newer);
	if (err)
		return err;
	memcpy(m->last, m->newer.name, sizeof(m->last));
	store_lock(c->store);
	err = state_get(c->forest, m->newer.number, &state);
	if (!err)
		m->newer_created = state->created;
	if (!err)
		err = sight_by_path(hold_tree(&m->newer.hold), m->path.path,
		                    &m->now);
	if (!err && m->now.there)
		err = tree_path_of(hold_tree(&m->newer.hold), m->now.ino, NULL,
		                   0, m->now.path);
	store_unlock(c->store);
	if (err)
		return failed(m, err);
	if (!m->now.there && !m->deleted)
		return fail(c, -ENOENT,
		            "cannot show the log of '%s:%s': there is no such "
		            "file (--deleted looks for it in older states)",
		            m->path.state, m->path.path);
	return 0;
}

/* Go back to the first state or, without "deleted", to the file's creation. */
static int go_back(struct logging *m)
{
	unsigned fields;
	char op;
	int err = 0;

	while (!(err = step_back(m))) {
		err = versions_compare(m, &op, &fields);
		if (!err && op) {
			err = row_send(m, op, fields);
			memcpy(m->last, m->older.name, sizeof(m->last));
		}
		if (err)
			return err;
		if (op == DIFF_ADDED && !m->deleted)
			return 0;
		move_on(m);
		err = store_yield(m->c->store);
		if (err)
			return err;
	}
	if (err != -ENOENT)
		return err;
	m->before.there = false;
	m->older_created = INT64_MIN;
	return m->now.there ? row_send(m, DIFF_ADDED, 0) : 0;
}

int control_log(struct control *c)
{
	_cleanup_(logging_release) struct logging *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return fail(c, -ENOMEM, "out of memory");
	m->c = c;
	m->follow = !control_flag(c, "no_follow");
	m->deleted = control_flag(c, "deleted");
	m->counts = control_flag(c, "all") ? ~0u : ~(unsigned)DIFF_TIMES;
	err = begin(m);
	if (err)
		return err;
	err = go_back(m);
	if (c->ended)
		return c->ended;
	if (!err && !m->rows)
		return fail(c, -ENOENT,
		            "cannot show the log of '%s:%s': no state that it "
		            "came from has such a file",
		            m->path.state, m->path.path);
	return failed(m, err);
}
