/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random making, linking, renaming and removing of names in several forks,
 * against a model that predicts what each call returns.
 */
#include "fs_fixture.h"

#include <dirent.h>
#include <stdio.h>

#include "fs_struct.h"

enum { STATES = 5, INODES = 60, NAMES = 6, NONE = -1, ROOT = 0 };

struct model_inode {
	bool there, dir, open, whiteout;
	unsigned nlink;
	int parent; /* of a directory */
	int entries[NAMES];
	uint64_t ino;
};

/* Plain data: a fork is an assignment. */
struct model {
	bool there;
	uint64_t state;
	struct model_inode inodes[INODES];
};

static struct fixture w;
static struct model model[STATES];
static struct model *t; /* the one at work */
static uint64_t seed;
static unsigned states_made;

static int pick(int n)
{
	return (int)(scratch_random(&seed) % (uint64_t)n);
}

static const char *name_of(int n)
{
	static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f"};

	return names[n];
}

static node_t node_of(int i)
{
	return NODE(t->state, t->inodes[i].ino);
}

static int pick_dir(void)
{
	int i;

	do
		i = pick(INODES);
	while (!t->inodes[i].there || !t->inodes[i].dir || !t->inodes[i].nlink);
	return i;
}

static unsigned subdirs(int dir)
{
	unsigned n = 0;

	for (int i = 0; i < NAMES; i++) {
		int child = t->inodes[dir].entries[i];

		n += child != NONE && t->inodes[child].dir;
	}
	return n;
}

static unsigned entries(int dir)
{
	unsigned n = 0;

	for (int i = 0; i < NAMES; i++)
		n += t->inodes[dir].entries[i] != NONE;
	return n;
}

/* Is `dir` `ancestor`, or below it? */
static bool inside(int dir, int ancestor)
{
	for (; dir != ROOT; dir = t->inodes[dir].parent)
		if (dir == ancestor)
			return true;
	return false;
}

static void model_add(int i, bool dir, int parent, uint64_t ino)
{
	t->inodes[i] = (struct model_inode){.there = true,
	                                    .dir = dir,
	                                    .nlink = 1,
	                                    .parent = parent,
	                                    .ino = ino};
	for (int n = 0; n < NAMES; n++)
		t->inodes[i].entries[n] = NONE;
}

static void model_lost(int i)
{
	struct model_inode *inode = &t->inodes[i];

	if (--inode->nlink == 0 && !inode->open)
		inode->there = false;
}

/* INODES: there is none. */
static int unused_inode(void)
{
	int i = 0;

	while (i < INODES && t->inodes[i].there)
		i++;
	return i;
}

/* ---- Operations --------------------------------------------------------- */

static void op_make(void)
{
	int dir = pick_dir(), name = pick(NAMES), i = unused_inode();
	bool is_dir = pick(3) == 0;
	struct fs_entry e;
	int err;

	if (i == INODES)
		return;
	err = fs_make(w.fs, node_of(dir), name_of(name),
	              is_dir ? S_IFDIR | 0700 : S_IFREG | 0600, 0, NULL,
	              &fixture_cred, &e);
	if (t->inodes[dir].entries[name] != NONE) {
		assert_int_equal(err, -EEXIST);
		return;
	}
	assert_int_equal(err, 0);
	t->inodes[dir].entries[name] = i;
	model_add(i, is_dir, dir, NODE_INO(e.node));
	put_text(&w, is_dir ? make(&w, e.node, "a", S_IFREG | 0600) : e.node, 0,
	         "x");
	if (is_dir)
		assert_int_equal(fs_unlink(w.fs, e.node, "a"), 0);
}

static void op_link(void)
{
	int from = pick_dir(), name = pick(NAMES);
	int to = pick_dir(), new_name = pick(NAMES);
	int i = t->inodes[from].entries[name];
	struct fs_entry e;
	int err;

	if (i == NONE)
		return;
	err = fs_link(w.fs, node_of(i), node_of(to), name_of(new_name), &e);
	if (t->inodes[i].dir) {
		assert_int_equal(err, -EPERM);
	} else if (t->inodes[to].entries[new_name] != NONE) {
		assert_int_equal(err, -EEXIST);
	} else {
		assert_int_equal(err, 0);
		t->inodes[to].entries[new_name] = i;
		t->inodes[i].nlink++;
	}
}

static void op_remove(void)
{
	int dir = pick_dir(), name = pick(NAMES);
	int i = t->inodes[dir].entries[name];
	bool rmdir = pick(2);
	int err = rmdir ? fs_rmdir(w.fs, node_of(dir), name_of(name))
	                : fs_unlink(w.fs, node_of(dir), name_of(name));

	if (i == NONE) {
		assert_int_equal(err, -ENOENT);
	} else if (rmdir != t->inodes[i].dir) {
		assert_int_equal(err, rmdir ? -ENOTDIR : -EISDIR);
	} else if (rmdir && entries(i)) {
		assert_int_equal(err, -ENOTEMPTY);
	} else {
		assert_int_equal(err, 0);
		t->inodes[dir].entries[name] = NONE;
		model_lost(i);
	}
}

static int rename_wants(int from, int child, int to, int other, unsigned flags)
{
	const struct model_inode *in = t->inodes;
	bool exchange = flags & RENAME_EXCHANGE;

	if (exchange && flags != RENAME_EXCHANGE)
		return -EINVAL;
	if (child == NONE)
		return -ENOENT;
	if (other != NONE && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (child == other)
		return 0;
	if (other == NONE && exchange)
		return -ENOENT;
	if (from != to && in[child].dir && inside(to, child))
		return -EINVAL;
	if (from != to && exchange && in[other].dir && inside(from, other))
		return -EINVAL;
	if (other == NONE || exchange)
		return 0;
	if (in[child].dir != in[other].dir)
		return in[child].dir ? -ENOTDIR : -EISDIR;
	return in[other].dir && entries(other) ? -ENOTEMPTY : 0;
}

static void op_rename(void)
{
	static const unsigned all_flags[] = {
	        0,
	        0,
	        0,
	        RENAME_NOREPLACE,
	        RENAME_EXCHANGE,
	        RENAME_WHITEOUT,
	        RENAME_WHITEOUT | RENAME_NOREPLACE,
	        RENAME_WHITEOUT | RENAME_EXCHANGE,
	};
	int from = pick_dir(), name = pick(NAMES);
	int to = pick(3) ? pick_dir() : from, new_name = pick(NAMES);
	unsigned flags = all_flags[pick(ARRAY_SIZE(all_flags))];
	int child = t->inodes[from].entries[name];
	int other = t->inodes[to].entries[new_name];
	int i = flags & RENAME_WHITEOUT ? unused_inode() : 0, err;

	if (i == INODES)
		return;
	err = fs_rename(w.fs, node_of(from), name_of(name), node_of(to),
	                name_of(new_name), flags, &fixture_cred);
	assert_int_equal(err, rename_wants(from, child, to, other, flags));
	if (err || child == other)
		return;
	t->inodes[to].entries[new_name] = child;
	t->inodes[child].parent = to;
	t->inodes[from].entries[name] = NONE;
	if (flags & RENAME_WHITEOUT) {
		node_t whiteout = look(&w, node_of(from), name_of(name));

		model_add(i, false, from, NODE_INO(whiteout));
		t->inodes[i].whiteout = true;
		t->inodes[from].entries[name] = i;
	}
	if (flags & RENAME_EXCHANGE) {
		t->inodes[from].entries[name] = other;
		t->inodes[other].parent = from;
	} else if (other != NONE) {
		model_lost(other);
	}
}

/* Open and close: what is unlinked meanwhile stays. */
static void op_open(void)
{
	int i = pick(INODES);
	struct model_inode *inode = &t->inodes[i];

	if (!inode->there || i == ROOT)
		return;
	if (inode->open) {
		fs_release(w.fs, node_of(i));
		inode->open = false;
		inode->there = inode->nlink > 0;
	} else {
		assert_int_equal(fs_open(w.fs, node_of(i), O_RDONLY), 0);
		inode->open = true;
	}
}

static void op_state(void)
{
	struct model *to = &model[pick(STATES)];
	struct state *source, *state;
	char name[32];

	if (to == t || to == &model[0])
		return;
	store_lock(w.store);
	if (to->there) {
		assert_int_equal(state_get(w.forest, to->state, &state), 0);
		assert_int_equal(state_delete(w.forest, state, true), 0);
	}
	store_unlock(w.store);
	for (int i = 0; to->there && i < INODES; i++)
		if (to->inodes[i].there && to->inodes[i].open)
			fs_release(w.fs, NODE(to->state, to->inodes[i].ino));
	*to = *t;
	snprintf(name, sizeof(name), "s%u", states_made++);
	store_lock(w.store);
	assert_int_equal(state_get(w.forest, t->state, &source), 0);
	assert_int_equal(state_fork(w.forest, source, name, &state), 0);
	fs_adopt(w.fs, state);
	to->state = state->number;
	store_unlock(w.store);
	/* The fork has no open inodes, and so none without a name. */
	for (int i = 0; i < INODES; i++) {
		to->inodes[i].open = false;
		if (!to->inodes[i].nlink)
			to->inodes[i].there = false;
	}
}

/* ---- Comparing ---------------------------------------------------------- */

static int list_one(void *arg, const char *name, const struct fs_entry *entry,
                    off_t cookie)
{
	unsigned *seen = arg;

	if (name[0] != '.')
		*seen |= 1u << (name[0] - 'a');
	return 0;
}

static void compare_dir(int dir)
{
	unsigned seen = 0;

	assert_int_equal(fs_readdir(w.fs, node_of(dir), 0, pick(2),
	                            SNAPDIR_HIDDEN, list_one, &seen),
	                 0);
	for (int n = 0; n < NAMES; n++) {
		int i = t->inodes[dir].entries[n];
		node_t node = look(&w, node_of(dir), name_of(n));

		assert_int_equal(node, i == NONE ? 0 : node_of(i));
		assert_int_equal(seen >> n & 1, i != NONE);
	}
	if (dir != ROOT && t->inodes[dir].nlink)
		assert_int_equal(look(&w, node_of(dir), ".."),
		                 node_of(t->inodes[dir].parent));
}

static void expect_whiteout(const struct stat *st)
{
	assert_int_equal(st->st_mode, S_IFCHR);
	assert_int_equal(st->st_rdev, 0);
	assert_int_equal(st->st_uid, fixture_cred.uid);
	assert_int_equal(st->st_gid, fixture_cred.gid);
}

static void compare(void)
{
	for (int i = 0; i < INODES; i++) {
		struct model_inode *inode = &t->inodes[i];
		unsigned nlink = inode->nlink;
		struct stat st;

		if (!inode->there)
			continue;
		st = attr(&w, node_of(i));
		assert_int_equal(!!S_ISDIR(st.st_mode), inode->dir);
		if (inode->dir)
			nlink = nlink ? 2 + subdirs(i) : 0;
		assert_int_equal(st.st_nlink, nlink);
		if (inode->dir)
			compare_dir(i);
		else if (inode->whiteout)
			expect_whiteout(&st);
		else
			expect_text(&w, node_of(i), "x");
	}
}

static void compare_all(void)
{
	for (int i = 0; i < STATES; i++) {
		t = &model[i];
		if (t->there)
			compare();
	}
	fixture_check(&w);
}

static void test_names_model(void **state)
{
	uint64_t ops = scratch_ops(30000);

	seed = scratch_seed();
	fixture_init(&w, 0);
	t = &model[0];
	t->there = true;
	t->state = NODE_STATE(w.main);
	model_add(ROOT, true, ROOT, INO_ROOT);
	for (uint64_t n = 0; n < ops; n++) {
		do
			t = &model[pick(STATES)];
		while (!t->there);
		switch (pick(12)) {
		case 0:
		case 1:
		case 2:
			op_make();
			break;
		case 3:
			op_link();
			break;
		case 4:
		case 5:
			op_remove();
			break;
		case 6:
			op_open();
			break;
		default:
			op_rename();
		}
		if (pick(100) == 0)
			op_state();
		if (pick(500) == 0)
			compare_all();
	}
	compare_all();
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_names_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
