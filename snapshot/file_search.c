/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Search a series of states.
 *
 * A run is the time in which a matching file did not change, from the first
 * such state to the present one.  Its key is the inode, the directory and the
 * name, so renames of directories above do not affect it; its path is
 * determined when it ends.
 */
#include "file_search.h"

#include <errno.h>
#include <sys/stat.h>

#include "snapshot.h"
#include "util.h"

enum {
	BUCKETS_MIN = 1024,
	PIECE = 512, /* items read in one hold of the lock */
};

struct run {
	struct run *next; /* in its bucket */
	uint64_t ino, parent;
	/* Both in the state before state `moved`, in which they changed. */
	uint64_t before_ino, before_parent;
	uint32_t moved; /* UINT32_MAX: none */
	uint64_t size;
	struct timestamp mtime;
	uint32_t mode;
	uint32_t first;
	uint8_t len;
	char name[];
};

struct file_search {
	struct store *store;
	const struct file_search_options *options;
	struct run **buckets;
	size_t bucket_count, count;
	struct tree *before, *tree; /* of the present step */
	uint32_t index;             /* of the present state */
	uint64_t *moved;            /* directories that were renamed in it */
	size_t moved_count, moved_capacity;
	uint64_t path_dir; /* whose path is in `dir_path`; 0: none */
	char dir_path[TREE_PATH_SIZE];
	char path[TREE_PATH_SIZE];
	struct file_search_row row;
};

/* ---- Runs --------------------------------------------------------------- */

static struct run **bucket_of(struct file_search *s, uint64_t ino)
{
	return &s->buckets[ino * UINT64_C(0x9e3779b97f4a7c15) >> 32 &
	                   (s->bucket_count - 1)];
}

static int buckets_grow(struct file_search *s)
{
	size_t old_count = s->bucket_count;
	struct run **old = s->buckets;

	if (s->count < old_count)
		return 0;
	s->bucket_count = old_count ? 2 * old_count : BUCKETS_MIN;
	s->buckets = calloc(s->bucket_count, sizeof(*s->buckets));
	if (!s->buckets) {
		s->buckets = old;
		s->bucket_count = old_count;
		return -ENOMEM;
	}
	for (size_t i = 0; i < old_count; i++) {
		for (struct run *run = old[i], *next; run; run = next) {
			struct run **at = bucket_of(s, run->ino);

			next = run->next;
			run->next = *at;
			*at = run;
		}
	}
	free(old);
	return 0;
}

/* Find the run of a name. */
static struct run **run_find(struct file_search *s, uint64_t ino,
                             uint64_t parent, const char *name)
{
	for (struct run **at = bucket_of(s, ino); *at; at = &(*at)->next) {
		if ((*at)->ino == ino && (*at)->parent == parent &&
		    !strcmp((*at)->name, name))
			return at;
	}
	return NULL;
}

static int run_begin(struct file_search *s, uint64_t ino, uint64_t parent,
                     const char *name, const struct inode *inode)
{
	size_t len = strlen(name);
	struct run **at, *run;
	int r = buckets_grow(s);

	if (r < 0)
		return r;
	run = calloc(1, sizeof(*run) + len + 1);
	if (!run)
		return -ENOMEM;
	run->ino = ino;
	run->parent = parent;
	run->size = inode->size;
	run->mtime = inode->mtime;
	run->mode = inode->mode;
	run->first = s->index;
	run->moved = UINT32_MAX;
	run->len = (uint8_t)len;
	memcpy(run->name, name, len + 1);
	at = bucket_of(s, ino);
	run->next = *at;
	*at = run;
	s->count++;
	return 0;
}

/* Report the run; its last state is number `last` and has this tree. */
static int run_report(struct file_search *s, const struct run *run,
                      struct tree *tree, uint32_t last)
{
	struct file_search_row *row = &s->row;
	int r;

	store_lock(s->store);
	r = tree_path_of(tree, run->parent, run->name, run->len, row->path);
	store_unlock(s->store);
	if (r == -ENAMETOOLONG) {
		snprintf(row->path, sizeof(row->path), ".../%s", run->name);
		r = 0;
	}
	if (r < 0)
		return r;
	row->ino = run->ino;
	row->mode = run->mode;
	row->size = run->size;
	row->mtime = run->mtime;
	row->first = run->first;
	row->last = last;
	return s->options->row(s->options->arg, row);
}

/* End the run, if there is one: the state before was its last. */
static int run_end(struct file_search *s, struct run **at)
{
	struct run *run = at ? *at : NULL;
	int r;

	if (!run)
		return 0;
	*at = run->next;
	s->count--;
	if (run->moved == s->index) {
		run->ino = run->before_ino;
		run->parent = run->before_parent;
	}
	r = run_report(s, run, s->before, s->index - 1);
	free(run);
	return r;
}

/* Continue the run with another inode, which differs in its times alone. */
static void run_move(struct file_search *s, struct run **at, uint64_t ino,
                     uint64_t parent)
{
	struct run *run = at ? *at : NULL;

	if (!run)
		return;
	*at = run->next;
	run->before_ino = run->ino;
	run->before_parent = run->parent;
	run->moved = s->index;
	run->ino = ino;
	run->parent = parent;
	at = bucket_of(s, ino);
	run->next = *at;
	*at = run;
}

/* ---- Matching ----------------------------------------------------------- */

static bool path_matches(struct file_search *s, const char *path)
{
	if (s->options->by_name)
		path = strrchr(path, '/') + 1;
	return s->options->match(s->options->arg, path);
}

/* Decide on an entry of a directory of the present tree.  Lock held. */
static bool entry_matches(struct file_search *s, uint64_t dir, const char *name)
{
	if (s->options->by_name)
		return s->options->match(s->options->arg, name);
	if (s->path_dir != dir) {
		s->path_dir = 0;
		if (tree_path_of(s->tree, dir, NULL, 0, s->dir_path))
			return false;
		s->path_dir = dir;
	}
	if ((size_t)snprintf(s->path, sizeof(s->path), "%s/%s",
	                     s->dir_path[1] ? s->dir_path : "",
	                     name) >= sizeof(s->path))
		return false;
	return s->options->match(s->options->arg, s->path);
}

/* ---- The first tree ----------------------------------------------------- */

static int entry_begin(struct file_search *s, const struct item *item)
{
	char name[NAME_LEN_MAX + 1];
	struct dirent_item d;
	struct inode inode;
	int r = dirent_decode(item->value, item->len, &d);

	if (r < 0)
		return r;
	memcpy(name, d.name, d.name_len);
	name[d.name_len] = 0;
	if (!entry_matches(s, item->key.ino, name))
		return 0;
	r = tree_inode(s->tree, d.ino, &inode);
	return r ? r : run_begin(s, d.ino, item->key.ino, name, &inode);
}

/* Walk over a piece of the tree.  -EAGAIN: there is more.  Lock held. */
static int walk_piece(struct file_search *s, struct key *from)
{
	struct cursor cursor;
	struct item item;
	int r = cursor_seek(&cursor, s->tree, from, &item);

	for (int i = 0; !r; i++) {
		*from = item.key;
		if (i == PIECE)
			return -EAGAIN;
		if (item.key.kind == ITEM_EXTENT) {
			/* A file may have very many: skip them all. */
			*from = (struct key){item.key.ino + 1, 0, 0};
			r = cursor_seek(&cursor, s->tree, from, &item);
			continue;
		}
		if (item.key.kind == ITEM_DIRENT)
			r = entry_begin(s, &item);
		if (!r)
			r = cursor_next(&cursor, &item);
	}
	return r == -ENOENT ? 0 : r;
}

static int walk(struct file_search *s)
{
	struct key from = {0};
	int r, err = 0;

	do {
		store_lock(s->store);
		r = walk_piece(s, &from);
		store_unlock(s->store);
		if (r == -EAGAIN)
			err = store_yield(s->store);
	} while (!err && r == -EAGAIN);
	return err ? err : r;
}

/* ---- What differs ------------------------------------------------------- */

static const char *last_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static int begin_if_match(struct file_search *s, const struct diff_row *row)
{
	if (!row->parent || !path_matches(s, row->path))
		return 0;
	return run_begin(s, row->b_ino, row->parent, last_name(row->path),
	                 &row->b);
}

static int moved_add(struct file_search *s, uint64_t dir)
{
	if (s->moved_count == s->moved_capacity) {
		size_t capacity =
		        s->moved_capacity ? 2 * s->moved_capacity : 16;
		uint64_t *moved = realloc(s->moved, capacity * sizeof(*moved));

		if (!moved)
			return -ENOMEM;
		s->moved = moved;
		s->moved_capacity = capacity;
	}
	s->moved[s->moved_count++] = dir;
	return 0;
}

static int on_row(void *arg, const struct diff_row *row)
{
	struct file_search *s = arg;
	/* The directory of a replaced file may be another one. */
	uint64_t old_parent =
	        row->a_ino == row->b_ino ? row->parent : row->from_parent;
	int r = 0;

	switch (row->op) {
	case DIFF_ADDED:
		break;
	case DIFF_REMOVED:
		return run_end(s, run_find(s, row->a_ino, row->parent,
		                           last_name(row->path)));
	case DIFF_RENAMED:
		r = run_end(s, run_find(s, row->a_ino, row->from_parent,
		                        last_name(row->from)));
		if (!r && S_ISDIR(row->b.mode) && !s->options->by_name)
			r = moved_add(s, row->b_ino);
		break;
	case DIFF_MODIFIED:
		if (!(row->fields & ~(unsigned)(DIFF_TIMES | DIFF_ENTRIES))) {
			run_move(s,
			         run_find(s, row->a_ino, old_parent,
			                  last_name(row->path)),
			         row->b_ino, row->parent);
			return 0;
		}
		r = run_end(s, run_find(s, row->a_ino, old_parent,
		                        last_name(row->path)));
		break;
	}
	return r ? r : begin_if_match(s, row);
}

/* An entry of a directory that was renamed, or lies below one. */
struct entry {
	uint64_t ino;
	struct inode inode;
	bool matches;
	char name[NAME_LEN_MAX + 1];
};

enum { ENTRIES = 64 };

/* Read entries from *off on.  -EAGAIN: there may be more.  Lock held. */
static int entries_read(struct file_search *s, uint64_t dir, uint64_t *off,
                        struct entry entries[ENTRIES], size_t *ret_count)
{
	const struct key key = {dir, ITEM_DIRENT, *off};
	struct cursor cursor;
	struct item item;
	size_t n = 0;
	int r = cursor_seek(&cursor, s->tree, &key, &item);

	while (!r && item.key.ino == dir && item.key.kind == ITEM_DIRENT) {
		struct entry *e = &entries[n];
		struct dirent_item d;

		*off = item.key.off;
		*ret_count = n;
		if (n++ == ENTRIES)
			return -EAGAIN;
		r = dirent_decode(item.value, item.len, &d);
		if (r)
			break;
		memcpy(e->name, d.name, d.name_len);
		e->name[d.name_len] = 0;
		e->ino = d.ino;
		e->matches = entry_matches(s, dir, e->name);
		r = tree_inode(s->tree, d.ino, &e->inode);
		if (!r)
			r = cursor_next(&cursor, &item);
	}
	*ret_count = n;
	return r == -ENOENT ? 0 : r;
}

/* Match an entry of a directory whose path has changed. */
static int moved_entry(struct file_search *s, uint64_t dir,
                       const struct entry *e)
{
	struct run **at = run_find(s, e->ino, dir, e->name);
	int r = 0;

	if (at && !e->matches)
		r = run_end(s, at);
	else if (!at && e->matches)
		r = run_begin(s, e->ino, dir, e->name, &e->inode);
	if (!r && S_ISDIR(e->inode.mode))
		r = moved_add(s, e->ino);
	return r;
}

static int moved_dir(struct file_search *s, uint64_t dir)
{
	_cleanup_free_ struct entry *entries =
	        calloc(ENTRIES, sizeof(*entries));
	uint64_t off = 0;
	int more = -EAGAIN, r = 0;

	if (!entries)
		return -ENOMEM;
	while (!r && more == -EAGAIN) {
		size_t count = 0;

		store_lock(s->store);
		more = entries_read(s, dir, &off, entries, &count);
		store_unlock(s->store);
		if (more && more != -EAGAIN)
			return more;
		for (size_t i = 0; !r && i < count; i++)
			r = moved_entry(s, dir, &entries[i]);
		if (!r)
			r = store_yield(s->store);
	}
	return r;
}

/* ---- The series --------------------------------------------------------- */

int file_search_create(struct store *store,
                       const struct file_search_options *options,
                       struct file_search **ret_search)
{
	struct file_search *s = calloc(1, sizeof(*s));

	if (!s || (s->options = options, s->store = store, buckets_grow(s))) {
		free(s);
		return -ENOMEM;
	}
	*ret_search = s;
	return 0;
}

void file_search_destroy(struct file_search *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->bucket_count; i++) {
		for (struct run *run = s->buckets[i], *next; run; run = next) {
			next = run->next;
			free(run);
		}
	}
	free(s->buckets);
	free(s->moved);
	free(s);
}

int file_search_step(struct file_search *s, struct tree *before,
                     struct tree *tree, uint32_t index)
{
	const struct diff_options options = {
	        .replaced = true, .row = on_row, .arg = s};
	int r;

	s->before = before;
	s->tree = tree;
	s->index = index;
	s->path_dir = 0;
	s->moved_count = 0;
	if (!before)
		return walk(s);
	r = state_diff(before, tree, &options);
	for (size_t i = 0; !r && i < s->moved_count; i++)
		r = moved_dir(s, s->moved[i]);
	return r;
}

int file_search_end(struct file_search *s, struct tree *tree)
{
	int r = 0;

	for (size_t i = 0; !r && i < s->bucket_count; i++) {
		while (!r && s->buckets[i]) {
			struct run *run = s->buckets[i];

			s->buckets[i] = run->next;
			s->count--;
			r = run_report(s, run, tree, s->index);
			free(run);
		}
		if (!r && i % 256 == 255)
			r = store_yield(s->store);
	}
	return r;
}
