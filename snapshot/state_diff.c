/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compare two trees.
 *
 * The items that differ are found in the order of their keys: those of an inode
 * are together.  They only show which inodes have changed.  A number of these
 * is collected under the lock; each is then compared in both trees.
 */
#include "state_diff.h"

#include <errno.h>
#include <sys/stat.h>

#include "counterpart.h"
#include "snapshot.h"
#include "util.h"

enum {
	CHANGES = 64,      /* inodes collected at a time */
	PIECE_NODES = 128, /* read in one hold of the lock */
	ITEMS_MANY = 64,   /* items of an inode before the rest is skipped */
};

/* An inode with items that differ. */
struct change {
	uint64_t ino;
	unsigned items;
	bool entries; /* directory entries are among them */
};

struct walk {
	struct store *store;
	struct tree *a, *b;
	const struct diff_options *options;
	struct key from;
	struct change changes[CHANGES];
	size_t count;
	bool full; /* `changes` is: the next one begins at `from` */
	struct counterparts counterparts;
	struct inode_names a_names, b_names; /* of the present inode */
	struct diff_row row;
};

static void walk_free(struct walk **walk)
{
	if (!*walk)
		return;
	inode_names_release(&(*walk)->a_names);
	inode_names_release(&(*walk)->b_names);
	free(*walk);
}

const char *diff_field_name(unsigned bit)
{
	static const char *const names[DIFF_FIELDS] = {
	        "content", "mode",  "owner",   "xattr",
	        "device",  "times", "entries",
	};

	return bit < DIFF_FIELDS ? names[bit] : NULL;
}

/* ---- Rows --------------------------------------------------------------- */

static bool path_is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len && dir[len - 1] == '/')
		len--;
	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
}

static bool path_is_wanted(const struct walk *w, const char *path)
{
	if (!w->options->path_count)
		return true;
	for (size_t i = 0; i < w->options->path_count; i++) {
		if (path_is_below(path, w->options->paths[i]))
			return true;
	}
	return false;
}

static int path_get(struct walk *w, struct tree *tree,
                    const struct inode_name *name, char *ret_path)
{
	int r;

	store_lock(w->store);
	r = inode_name_path(tree, name, ret_path);
	store_unlock(w->store);
	if (ret_path == w->row.path)
		w->row.parent = name->parent;
	else
		w->row.from_parent = name->parent;
	return r;
}

static int row_send(struct walk *w, enum diff_op op)
{
	w->row.op = op;
	if (op != DIFF_RENAMED)
		*w->row.from = 0;
	if (!path_is_wanted(w, w->row.path) &&
	    !(*w->row.from && path_is_wanted(w, w->row.from)))
		return 0;
	return w->options->row(w->options->arg, &w->row);
}

/* Return the fields for which a file that kept its name is reported. */
static unsigned fields_reported(const struct walk *w)
{
	return w->options->all ? ~0u : ~(unsigned)(DIFF_TIMES | DIFF_ENTRIES);
}

/* ---- Inodes of one tree alone ------------------------------------------- */

/* Find the counterpart, by this name, of an inode of trees[from] alone. */
static int replaced_find(struct walk *w, int from, uint32_t mode,
                         const struct inode_name *name, uint64_t *ret_ino,
                         struct inode *ret_inode)
{
	int r;

	store_lock(w->store);
	r = counterpart_find(&w->counterparts, from, name, mode, ret_ino,
	                     ret_inode);
	store_unlock(w->store);
	return r;
}

static int removed(struct walk *w)
{
	struct diff_row *row = &w->row;
	struct inode other;
	uint64_t ino;
	int r = 0;

	for (size_t i = 0; !r && i < w->a_names.count; i++) {
		const struct inode_name *name = &w->a_names.names[i];

		r = replaced_find(w, 0, row->a.mode, name, &ino, &other);
		if (r < 0 || ino) /* added() reports it as replaced */
			continue;
		r = path_get(w, w->a, name, row->path);
		if (!r)
			r = row_send(w, DIFF_REMOVED);
	}
	return r;
}

/* Report that the inode, of tree b alone, has replaced `ino` of tree a. */
static int replaced(struct walk *w, const struct inode_name *name, uint64_t ino,
                    const struct inode *inode)
{
	struct diff_row *row = &w->row;
	const struct file_pair pair = {.store = w->store,
	                               .a_tree = w->a,
	                               .b_tree = w->b,
	                               .a_ino = ino,
	                               .b_ino = row->b_ino,
	                               .a = *inode,
	                               .b = row->b};
	int r = path_get(w, w->b, name, row->path);

	if (r < 0 || !path_is_wanted(w, row->path))
		return r;
	r = file_pair_compare(&pair, false, &row->fields);
	if (r < 0)
		return r;
	if (!(row->fields & fields_reported(w)) && !w->options->replaced)
		return 0;
	store_lock(w->store);
	r = counterpart_dir(&w->counterparts, 1, name->parent,
	                    &row->from_parent);
	store_unlock(w->store);
	if (r < 0)
		return r;
	row->has_a = true;
	row->a_ino = ino;
	row->a = *inode;
	r = row_send(w, DIFF_MODIFIED);
	row->has_a = false;
	return r;
}

static int added(struct walk *w)
{
	struct diff_row *row = &w->row;
	struct inode other;
	uint64_t ino;
	int r = 0;

	for (size_t i = 0; !r && i < w->b_names.count; i++) {
		const struct inode_name *name = &w->b_names.names[i];

		r = replaced_find(w, 1, row->b.mode, name, &ino, &other);
		if (!r && ino) {
			r = replaced(w, name, ino, &other);
			continue;
		}
		row->fields = 0;
		if (!r)
			r = path_get(w, w->b, name, row->path);
		if (!r)
			r = row_send(w, DIFF_ADDED);
	}
	return r;
}

/* ---- Inodes of both trees ----------------------------------------------- */

/*
 * Split the names of both trees: put the common ones first in b, and return
 * their number.  Names of one tree alone stay in order, in a and after the
 * common ones in b.  SIZE_MAX: no memory.
 */
static size_t names_split(struct inode_names *a, struct inode_names *b)
{
	_cleanup_free_ struct inode_name *rest =
	        malloc((b->count + 1) * sizeof(*rest));
	size_t i = 0, k = 0, common = 0, only_a = 0, only_b = 0;

	if (!rest)
		return SIZE_MAX;
	while (i < a->count || k < b->count) {
		int order = i == a->count   ? 1
		            : k == b->count ? -1
		                            : inode_name_compare(&a->names[i],
		                                                 &b->names[k]);

		if (order < 0) {
			a->names[only_a++] = a->names[i++];
		} else if (order > 0) {
			rest[only_b++] = b->names[k++];
		} else {
			b->names[common++] = b->names[k++];
			i++;
		}
	}
	a->count = only_a;
	memcpy(b->names + common, rest, only_b * sizeof(*rest));
	return common;
}

/* Report the names that the inode has lost and got. */
static int names_moved(struct walk *w, size_t common)
{
	const struct inode_name *lost = w->a_names.names;
	const struct inode_name *got = w->b_names.names + common;
	size_t lost_count = w->a_names.count;
	size_t got_count = w->b_names.count - common;
	struct diff_row *row = &w->row;
	int r = 0;

	for (size_t i = 0; !r && i < MAX(lost_count, got_count); i++) {
		enum diff_op op = i >= lost_count  ? DIFF_ADDED
		                  : i >= got_count ? DIFF_REMOVED
		                                   : DIFF_RENAMED;

		if (op == DIFF_RENAMED)
			r = path_get(w, w->a, &lost[i], row->from);
		if (!r)
			r = op == DIFF_REMOVED
			            ? path_get(w, w->a, &lost[i], row->path)
			            : path_get(w, w->b, &got[i], row->path);
		if (!r)
			r = row_send(w, op);
	}
	return r;
}

/* Report the names that the inode has kept. */
static int names_kept(struct walk *w, size_t common)
{
	int r = 0;

	for (size_t i = 0; !r && i < common; i++) {
		r = path_get(w, w->b, &w->b_names.names[i], w->row.path);
		if (!r)
			r = row_send(w, DIFF_MODIFIED);
	}
	return r;
}

/* Return 1 if any name of the inode is wanted. */
static int any_name_wanted(struct walk *w)
{
	int r = 0;

	if (!w->options->path_count)
		return 1;
	for (size_t i = 0; !r && i < w->a_names.count; i++) {
		r = path_get(w, w->a, &w->a_names.names[i], w->row.path);
		if (!r)
			r = path_is_wanted(w, w->row.path);
	}
	for (size_t i = 0; !r && i < w->b_names.count; i++) {
		r = path_get(w, w->b, &w->b_names.names[i], w->row.path);
		if (!r)
			r = path_is_wanted(w, w->row.path);
	}
	return r;
}

static int changed(struct walk *w, const struct change *change)
{
	struct diff_row *row = &w->row;
	const struct file_pair pair = {.store = w->store,
	                               .a_tree = w->a,
	                               .b_tree = w->b,
	                               .a_ino = change->ino,
	                               .b_ino = change->ino,
	                               .a = row->a,
	                               .b = row->b};
	size_t common;
	int r = any_name_wanted(w);

	if (r <= 0)
		return r;
	r = file_pair_compare(&pair, change->entries, &row->fields);
	if (r < 0)
		return r;
	common = names_split(&w->a_names, &w->b_names);
	if (common == SIZE_MAX)
		return -ENOMEM;
	r = names_moved(w, common);
	if (!r && row->fields & fields_reported(w))
		r = names_kept(w, common);
	return r;
}

/* ---- The walk ----------------------------------------------------------- */

static int change_report(struct walk *w, const struct change *change)
{
	struct diff_row *row = &w->row;
	int has_a, has_b = 0, r = 0;

	store_lock(w->store);
	has_a = inode_named(w->a, change->ino, &row->a);
	if (has_a >= 0)
		has_b = inode_named(w->b, change->ino, &row->b);
	store_unlock(w->store);
	if (has_a < 0 || has_b < 0)
		return MIN(has_a, has_b);
	row->has_a = has_a;
	row->has_b = has_b;
	row->a_ino = row->b_ino = change->ino;
	row->fields = 0;
	inode_names_clear(&w->a_names);
	inode_names_clear(&w->b_names);
	if (has_a)
		r = inode_names_get(w->a, change->ino, &w->a_names);
	if (!r && has_b)
		r = inode_names_get(w->b, change->ino, &w->b_names);
	if (r < 0)
		return r;
	if (has_a && has_b)
		return changed(w, change);
	return has_a ? removed(w) : added(w);
}

/* Collect an item that differs.  1: collect no more for now. */
static int on_item(void *arg, const struct item *a, const struct item *b)
{
	struct walk *w = arg;
	const struct key *key = a ? &a->key : &b->key;
	struct change *last = w->count ? &w->changes[w->count - 1] : NULL;

	if (!key->ino) /* the list of unlinked inodes */
		return 0;
	if (!last || last->ino != key->ino) {
		if (w->count == CHANGES) {
			w->from = (struct key){key->ino, 0, 0};
			w->full = true;
			return 1;
		}
		last = &w->changes[w->count++];
		*last = (struct change){.ino = key->ino};
	}
	last->entries |= key->kind == ITEM_DIRENT;
	if (++last->items < ITEMS_MANY || key->kind < ITEM_DIRENT)
		return 0;
	/* The inode's other items cannot change the result. */
	w->from = (struct key){key->ino + 1, 0, 0};
	return 1;
}

/* Collect inodes that have changed.  -EAGAIN: there may be more. */
static int changes_collect(struct walk *w)
{
	int r = -EAGAIN, err = 0;

	w->count = 0;
	w->full = false;
	while (!err && r == -EAGAIN && !w->full) {
		store_lock(w->store);
		r = tree_diff(w->a, w->b, &w->from, PIECE_NODES, on_item, w);
		store_unlock(w->store);
		if (r == 1)
			r = -EAGAIN;
		if (r == -EAGAIN)
			err = store_yield(w->store);
	}
	return err ? err : r;
}

int state_diff(struct tree *a, struct tree *b,
               const struct diff_options *options)
{
	_cleanup_(walk_free) struct walk *w = calloc(1, sizeof(*w));
	int more = -EAGAIN, r = 0;

	if (!w)
		return -ENOMEM;
	w->store = a->store;
	w->a = w->counterparts.trees[0] = a;
	w->b = w->counterparts.trees[1] = b;
	w->options = options;
	while (!r && more == -EAGAIN) {
		more = changes_collect(w);
		if (more && more != -EAGAIN)
			return more;
		for (size_t i = 0; !r && i < w->count; i++) {
			r = change_report(w, &w->changes[i]);
			if (!r && i % 8 == 7)
				r = store_yield(w->store);
		}
	}
	return r;
}
