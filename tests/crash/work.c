/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random work on a store: see work.h. */
#include "work.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "scratch.h"
#include "util.h"

static const struct fs_cred cred = {1000, 1000, 022};

static uint64_t below(struct work *w, uint64_t n)
{
	return scratch_random(&w->random) % n;
}

/* ---- Opening ------------------------------------------------------------ */

void work_open(struct work *w, const char *path)
{
	struct store_options options = w->options;
	struct fs_options fs_options = {0};

	options.memory = 16 << 20;
	options.level = -5;
	if (!options.commit_ms)
		options.commit_ms = 20;
	assert_int_equal(store_open(path, &options, &w->store), 0);
	assert_int_equal(forest_open(w->store, &w->forest), 0);
	assert_int_equal(fs_create(w->forest, &fs_options, &w->fs), 0);
}

void work_init(struct work *w, const char *path, uint64_t seed,
               const struct store_params *given)
{
	struct store_params params = {0};
	struct state *state;

	*w = (struct work){.random = seed};
	params.chunk_bits = 12 + (uint32_t)below(w, 5);
	params.node_size = below(w, 3) ? 2016 : 4080;
	if (given)
		params = *given;
	assert_int_equal(store_create(path, &params), 0);
	assert_int_equal(store_open(path, NULL, &w->store), 0);
	assert_int_equal(forest_create(w->store, 1000, 1000, 0755), 0);
	assert_int_equal(store_close(w->store), 0);
	work_open(w, path);
	store_lock(w->store);
	assert_int_equal(state_find(w->forest, 0, "main", &state), 0);
	model_add(&w->model, "main", state->number, 0, NULL);
	store_unlock(w->store);
}

void work_close(struct work *w)
{
	if (w->open)
		fs_release(w->fs, w->open);
	w->open = 0;
	fs_destroy(w->fs);
	forest_close(w->forest);
	assert_int_equal(store_close(w->store), 0);
}

void work_release(struct work *w)
{
	model_release(&w->model);
}

void work_compare(struct work *w)
{
	uint64_t digest = 0;

	assert_int_equal(real_digest(w->fs, &digest), 0);
	assert_true(digest == model_digest(&w->model));
}

/* ---- Picking ------------------------------------------------------------ */

static struct model_state *pick_fork(struct work *w)
{
	for (;;) {
		struct model_state *s = w->model.states[below(w, w->model.len)];

		if (!s->fork)
			return s;
	}
}

/* A node of the type (0: of any but directories); NULL: none was hit on. */
static struct model_node *pick_node(struct work *w, struct model_state *s,
                                    mode_t type)
{
	for (int i = 0; i < 20; i++) {
		struct model_node *n = &s->nodes[below(w, s->nodes_len)];

		if (type ? (n->mode & S_IFMT) == type : !S_ISDIR(n->mode))
			return n;
	}
	return NULL;
}

static void new_name(struct work *w, char name[MODEL_NAME])
{
	static const char *const words[] = {"a", "leaf", "bough",
	                                    "a-rather-long-name-of-a-file"};

	snprintf(name, MODEL_NAME, "%s%llu", words[below(w, 4)],
	         (unsigned long long)w->names++);
}

/* Bytes: some compress, some do not, and some were there before. */
static struct blob *new_bytes(struct work *w)
{
	static const size_t sizes[] = {200, 3000, 20000, 150000};
	size_t len = below(w, sizes[below(w, 4)]) + 1;
	struct blob *blob = blob_create(NULL, len);
	uint64_t kind = below(w, 3), seed = kind == 2 ? below(w, 4) : w->random;

	for (size_t i = 0; i < len; i++)
		blob->bytes[i] = kind ? (uint8_t)(scratch_random(&seed) >> 9)
		                      : (uint8_t)(i / 100 + w->names);
	return blob;
}

/* ---- Files -------------------------------------------------------------- */

/* The node's content becomes what it was with these bytes at this offset. */
static void model_write(struct model_node *n, size_t off, const uint8_t *bytes,
                        size_t len)
{
	struct blob *old = n->content;
	size_t all = MAX(old->len, off + len);

	n->content = blob_create(NULL, all);
	memcpy(n->content->bytes, old->bytes, old->len);
	if (bytes)
		memcpy(n->content->bytes + off, bytes, len);
	else
		memset(n->content->bytes + off, 0, len);
	blob_unref(old);
}

static void write_some(struct work *w, struct model_state *s,
                       struct model_node *n, size_t off)
{
	struct blob *bytes = new_bytes(w);

	assert_int_equal(fs_write(w->fs, NODE(s->number, n->ino), (off_t)off,
	                          bytes->bytes, bytes->len, 0),
	                 0);
	model_write(n, off, bytes->bytes, bytes->len);
	blob_unref(bytes);
	s->changed = true;
}

/* Change whole parts of a chunk, which become a patch of it. */
static void write_parts(struct work *w, struct model_state *s,
                        struct model_node *n)
{
	size_t part = store_chunk_size(w->store) / 64;
	size_t count = n->content->len / part, at, len;
	uint8_t bytes[8 * 1024];

	if (!count)
		return;
	at = below(w, count) * part;
	len = part * (1 + below(w, MIN(count - at / part, (size_t)8)));
	memset(bytes, (int)below(w, 256), len);
	assert_int_equal(fs_write(w->fs, NODE(s->number, n->ino), (off_t)at,
	                          bytes, len, 0),
	                 0);
	model_write(n, at, bytes, len);
	s->changed = true;
}

static void do_create(struct work *w, struct model_state *s)
{
	struct model_node *dir = pick_node(w, s, S_IFDIR), *n;
	uint64_t kind = below(w, 8);
	mode_t mode = kind == 0  ? S_IFLNK | 0777
	              : kind < 3 ? S_IFDIR | 0755
	                         : S_IFREG | 0644;
	char name[MODEL_NAME], target[400];
	struct fs_entry e;
	uint64_t parent;

	if (!dir || s->nodes_len > 60)
		return;
	parent = dir->ino;
	new_name(w, name);
	snprintf(target, sizeof(target), "%0*d", (int)below(w, 390) + 1, 7);
	assert_int_equal(fs_make(w->fs, NODE(s->number, parent), name, mode, 0,
	                         S_ISLNK(mode) ? target : NULL, &cred, &e),
	                 0);
	n = model_make(s, NODE_INO(e.node), mode);
	if (S_ISLNK(mode)) {
		blob_unref(n->content);
		n->content = blob_create(target, strlen(target));
	}
	model_link(s, parent, name, n->ino);
}

static void do_write(struct work *w, struct model_state *s)
{
	struct model_node *n = pick_node(w, s, S_IFREG);

	if (n && !below(w, 3))
		write_parts(w, s, n);
	else if (n)
		write_some(w, s, n,
		           below(w, 2) ? below(w, n->content->len + 5000) : 0);
}

static void do_truncate(struct work *w, struct model_state *s)
{
	struct model_node *n = pick_node(w, s, S_IFREG);
	struct blob *old;
	struct stat st;

	if (!n)
		return;
	old = n->content;
	st.st_size = (off_t)(below(w, 3) ? below(w, old->len + 5000) : 0);
	assert_int_equal(fs_setattr(w->fs, NODE(s->number, n->ino), FS_SET_SIZE,
	                            &st, &st),
	                 0);
	n->content = blob_create(NULL, (size_t)st.st_size);
	memcpy(n->content->bytes, old->bytes,
	       MIN(old->len, (size_t)st.st_size));
	blob_unref(old);
	s->changed = true;
}

static void do_punch(struct work *w, struct model_state *s)
{
	struct model_node *n = pick_node(w, s, S_IFREG);
	size_t off, len;
	bool zero = below(w, 2);

	if (!n || !n->content->len)
		return;
	off = below(w, n->content->len);
	len = below(w, n->content->len - off) + 1;
	assert_int_equal(fs_fallocate(w->fs, NODE(s->number, n->ino),
	                              FALLOC_FL_KEEP_SIZE |
	                                      (zero ? FALLOC_FL_ZERO_RANGE
	                                            : FALLOC_FL_PUNCH_HOLE),
	                              (off_t)off, (off_t)len),
	                 0);
	model_write(n, off, NULL, len);
	s->changed = true;
}

/* At most a chunk: a longer copy is many changes, and may be cut in two. */
static void do_copy(struct work *w, struct model_state *to)
{
	struct model_state *from = w->model.states[below(w, w->model.len)];
	struct model_node *a = pick_node(w, from, S_IFREG);
	struct model_node *b = pick_node(w, to, S_IFREG);
	size_t chunk = store_chunk_size(w->store), at;
	ssize_t n;

	if (!a || !b || !a->content->len || (from == to && a->ino == b->ino))
		return;
	at = below(w, a->content->len) / chunk * chunk;
	n = fs_copy_range(w->fs, NODE(from->number, a->ino), (off_t)at,
	                  NODE(to->number, b->ino), (off_t)at,
	                  MIN(chunk, a->content->len - at));
	assert_int_equal(n, MIN(chunk, a->content->len - at));
	model_write(b, at, a->content->bytes + at, (size_t)n);
	to->changed = true;
}

static void do_xattr(struct work *w, struct model_state *s)
{
	struct model_node *n = pick_node(w, s, below(w, 2) ? S_IFREG : S_IFDIR);
	char name[] = "user.0";
	struct blob *value;
	uint64_t i = below(w, MODEL_XATTRS);
	node_t node;

	if (!n)
		return;
	node = NODE(s->number, n->ino);
	name[5] = (char)('0' + i);
	if (n->xattrs[i] && below(w, 3) == 0) {
		assert_int_equal(fs_removexattr(w->fs, node, name), 0);
		value = NULL;
	} else {
		value = blob_create(NULL, below(w, below(w, 2) ? 100 : 4000));
		memset(value->bytes, (int)below(w, 200) + 1, value->len);
		assert_int_equal(fs_setxattr(w->fs, node, name, value->bytes,
		                             value->len, 0),
		                 0);
	}
	blob_unref(n->xattrs[i]);
	n->xattrs[i] = value;
	s->changed = true;
}

static void do_chmod(struct work *w, struct model_state *s)
{
	struct model_node *n = pick_node(w, s, below(w, 2) ? S_IFREG : S_IFDIR);
	struct stat st = {0};

	if (!n)
		return;
	n->mode = (n->mode & S_IFMT) | (mode_t)(below(w, 512));
	st.st_mode = n->mode & 07777;
	assert_int_equal(fs_setattr(w->fs, NODE(s->number, n->ino), FS_SET_MODE,
	                            &st, &st),
	                 0);
	s->changed = true;
}

/* ---- Names -------------------------------------------------------------- */

static void do_unlink(struct work *w, struct model_state *s)
{
	struct model_entry e;
	struct model_node *n;
	size_t i;

	if (!s->entries_len)
		return;
	i = below(w, s->entries_len);
	e = s->entries[i];
	n = model_node(s, e.ino);
	if (S_ISDIR(n->mode)) {
		if (!model_empty(s, e.ino))
			return;
		assert_int_equal(
		        fs_rmdir(w->fs, NODE(s->number, e.dir), e.name), 0);
	} else {
		/* Keep one open, to be deleted much later. */
		if (!w->open && S_ISREG(n->mode) && !below(w, 3)) {
			w->open = NODE(s->number, e.ino);
			assert_int_equal(fs_open(w->fs, w->open, O_RDWR), 0);
		}
		assert_int_equal(
		        fs_unlink(w->fs, NODE(s->number, e.dir), e.name), 0);
	}
	model_unlink(s, i);
}

static void do_release(struct work *w)
{
	if (w->open)
		fs_release(w->fs, w->open);
	w->open = 0;
}

static void do_link(struct work *w, struct model_state *s)
{
	struct model_node *dir = pick_node(w, s, S_IFDIR);
	struct model_node *n = pick_node(w, s, 0);
	char name[MODEL_NAME];
	struct fs_entry e;

	if (!dir || !n || s->entries_len > 80)
		return;
	new_name(w, name);
	assert_int_equal(fs_link(w->fs, NODE(s->number, n->ino),
	                         NODE(s->number, dir->ino), name, &e),
	                 0);
	model_link(s, dir->ino, name, n->ino);
}

/* To a new name, or over another file. */
static void do_rename(struct work *w, struct model_state *s)
{
	struct model_node *dir = pick_node(w, s, S_IFDIR);
	struct model_entry e, over = {0};
	size_t i;

	if (!dir || !s->entries_len)
		return;
	i = below(w, s->entries_len);
	e = s->entries[i];
	if (S_ISDIR(model_node(s, e.ino)->mode) &&
	    model_below(s, e.ino, dir->ino))
		return;
	new_name(w, over.name);
	over.dir = dir->ino;
	if (below(w, 2)) {
		size_t j = below(w, s->entries_len);

		if (s->entries[j].ino != e.ino &&
		    !S_ISDIR(model_node(s, s->entries[j].ino)->mode) &&
		    !S_ISDIR(model_node(s, e.ino)->mode))
			over = s->entries[j];
	}
	assert_int_equal(fs_rename(w->fs, NODE(s->number, e.dir), e.name,
	                           NODE(s->number, over.dir), over.name, 0,
	                           NULL),
	                 0);
	for (size_t j = 0; over.ino && j < s->entries_len; j++) {
		if (s->entries[j].dir != over.dir ||
		    strcmp(s->entries[j].name, over.name))
			continue;
		model_unlink(s, j);
		break;
	}
	/* Linked first, so that the node does not go with its only name. */
	model_link(s, over.dir, over.name, e.ino);
	for (size_t j = 0; j < s->entries_len; j++) {
		if (s->entries[j].dir != e.dir ||
		    strcmp(s->entries[j].name, e.name))
			continue;
		if (S_ISDIR(model_node(s, e.ino)->mode)) {
			model_node(s, e.dir)->nlink--;
			s->entries[j] = s->entries[--s->entries_len];
		} else {
			model_unlink(s, j);
		}
		break;
	}
	s->changed = true;
}

/* ---- States ------------------------------------------------------------- */

static void do_fork(struct work *w, bool snapshot)
{
	struct model_state *from =
	        snapshot ? pick_fork(w)
	                 : w->model.states[below(w, w->model.len)];
	struct state *source, *made;
	char name[MODEL_NAME];

	if (w->model.len >= MODEL_STATES - 4)
		return;
	new_name(w, name);
	store_lock(w->store);
	assert_int_equal(state_get(w->forest, from->number, &source), 0);
	if (snapshot)
		assert_int_equal(state_snapshot(w->forest, source, name, &made),
		                 0);
	else
		assert_int_equal(state_fork(w->forest, source, name, &made), 0);
	if (!snapshot)
		fs_adopt(w->fs, made);
	model_add(&w->model, name, made->number, snapshot ? from->number : 0,
	          from);
	store_unlock(w->store);
}

static void do_new_tree(struct work *w)
{
	struct state *made;
	char name[MODEL_NAME];

	if (w->model.len >= MODEL_STATES - 4)
		return;
	new_name(w, name);
	store_lock(w->store);
	assert_int_equal(fs_state_fork(w->fs, NULL, name, 0777, &cred, &made),
	                 0);
	model_add(&w->model, name, made->number, 0, NULL);
	store_unlock(w->store);
}

static void do_delete(struct work *w)
{
	size_t i = below(w, w->model.len);
	uint64_t number = w->model.states[i]->number, count;
	struct state *state;

	if (!strcmp(w->model.states[i]->name, "main") &&
	    !w->model.states[i]->fork)
		return;
	store_lock(w->store);
	assert_int_equal(state_get(w->forest, number, &state), 0);
	if (below(w, 2)) {
		assert_int_equal(state_delete(w->forest, state, true), 0);
	} else {
		assert_int_equal(forest_set_trash_time(w->forest, 3600), 0);
		assert_int_equal(state_trash(w->forest, state, true), 0);
	}
	store_unlock(w->store);
	if (NODE_STATE(w->open) == number)
		do_release(w);
	if (!below(w, 4))
		assert_int_equal(forest_empty_trash(w->forest, &count), 0);
	for (i = 0; i < w->model.len;) {
		struct model_state *s = w->model.states[i];

		if (s->number == number || s->fork == number)
			model_remove(&w->model, i);
		else
			i++;
	}
}

static void do_rename_state(struct work *w)
{
	struct model_state *s = w->model.states[below(w, w->model.len)];
	struct state *state;
	char name[MODEL_NAME];

	if (!strcmp(s->name, "main"))
		return;
	new_name(w, name);
	store_lock(w->store);
	assert_int_equal(state_get(w->forest, s->number, &state), 0);
	assert_int_equal(state_rename(w->forest, state, name), 0);
	store_unlock(w->store);
	snprintf(s->name, sizeof(s->name), "%s", name);
}

/* ---- One step ----------------------------------------------------------- */

void work_step(struct work *w)
{
	struct model_state *s = pick_fork(w);
	uint64_t n = below(w, 100);

	if (n < 22)
		do_create(w, s);
	else if (n < 42)
		do_write(w, s);
	else if (n < 47)
		do_truncate(w, s);
	else if (n < 51)
		do_punch(w, s);
	else if (n < 55)
		do_copy(w, s);
	else if (n < 60)
		do_xattr(w, s);
	else if (n < 63)
		do_chmod(w, s);
	else if (n < 73)
		do_unlink(w, s);
	else if (n < 75)
		do_release(w);
	else if (n < 79)
		do_link(w, s);
	else if (n < 85)
		do_rename(w, s);
	else if (n < 89)
		below(w, 5) ? do_fork(w, false) : do_new_tree(w);
	else if (n < 93)
		do_fork(w, true);
	else if (n < 98)
		do_delete(w);
	else
		do_rename_state(w);
}
