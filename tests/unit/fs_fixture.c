/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fixture that the tests of fs/ share: see fs_fixture.h. */
#include "fs_fixture.h"

#include <dirent.h>
#include <sys/wait.h>

#include "inode.h"

const struct fs_cred fixture_cred = {1000, 1000, 022};

void fixture_open(struct fixture *w)
{
	struct store_options options = {
	        .memory = 32 << 20,
	        .commit_ms = w->commit_ms,
	        .level = -5,
	};

	assert_int_equal(store_open(w->scratch.store, &options, &w->store), 0);
	assert_int_equal(forest_open(w->store, &w->forest), 0);
	assert_int_equal(fs_create(w->forest, &w->options, &w->fs), 0);
}

void fixture_close(struct fixture *w)
{
	fs_destroy(w->fs);
	forest_close(w->forest);
	assert_int_equal(store_close(w->store), 0);
}

void fixture_init(struct fixture *w, uint32_t chunk_bits)
{
	/* A map of a size that sanitizers have room for. */
	struct store_params params = {
	        .chunk_bits = chunk_bits,
	        .max_size = UINT64_C(16) << 30,
	};
	struct state *state;

	memset(w, 0, sizeof(*w));
	w->commit_ms = 50;
	scratch_init(&w->scratch);
	assert_int_equal(store_create(w->scratch.store, &params), 0);
	assert_int_equal(store_open(w->scratch.store, NULL, &w->store), 0);
	assert_int_equal(forest_create(w->store, 1000, 1000, 0755), 0);
	assert_int_equal(store_close(w->store), 0);
	fixture_open(w);
	store_lock(w->store);
	assert_int_equal(state_find(w->forest, 0, "main", &state), 0);
	w->main = NODE(state->number, INO_ROOT);
	store_unlock(w->store);
}

void fixture_release(struct fixture *w)
{
	fixture_check(w);
	fixture_close(w);
	scratch_release(&w->scratch);
}

void fixture_reopen(struct fixture *w)
{
	fixture_close(w);
	fixture_open(w);
}

void fixture_crash(struct fixture *w)
{
	char copy[100], command[300];

	/* The lock keeps everything still while the file is copied. */
	assert_int_equal(store_sync(w->store), 0);
	snprintf(copy, sizeof(copy), "%s/copy", w->scratch.dir);
	snprintf(command, sizeof(command), "cp -r '%s' '%s'", w->scratch.store,
	         copy);
	store_lock(w->store);
	assert_int_equal(system(command), 0);
	store_unlock(w->store);
	fixture_close(w);
	snprintf(command, sizeof(command), "rm -r '%s' && mv '%s' '%s'",
	         w->scratch.store, copy, w->scratch.store);
	assert_int_equal(system(command), 0);
	fixture_open(w);
}

/* ---- Short forms -------------------------------------------------------- */

int try_make(struct fixture *w, node_t parent, const char *name, mode_t mode)
{
	struct fs_entry e;

	return fs_make(w->fs, parent, name, mode, 0, NULL, &fixture_cred, &e);
}

node_t make(struct fixture *w, node_t parent, const char *name, mode_t mode)
{
	struct fs_entry e;

	assert_int_equal(
	        fs_make(w->fs, parent, name, mode, 0, NULL, &fixture_cred, &e),
	        0);
	assert_int_equal(e.node, e.st.st_ino);
	return e.node;
}

int look_error(struct fixture *w, node_t parent, const char *name)
{
	struct fs_entry e;

	return fs_lookup(w->fs, parent, name, SNAPDIR_HIDDEN, &e);
}

node_t look(struct fixture *w, node_t parent, const char *name)
{
	struct fs_entry e;
	int err = fs_lookup(w->fs, parent, name, SNAPDIR_HIDDEN, &e);

	if (err == -ENOENT)
		return 0;
	assert_int_equal(err, 0);
	return e.node;
}

struct stat attr(struct fixture *w, node_t node)
{
	struct stat st;

	assert_int_equal(fs_getattr(w->fs, node, &st), 0);
	return st;
}

void put(struct fixture *w, node_t node, off_t off, const void *data,
         size_t len)
{
	assert_int_equal(fs_write(w->fs, node, off, data, len, 0), 0);
}

void put_text(struct fixture *w, node_t node, off_t off, const char *text)
{
	put(w, node, off, text, strlen(text));
}

size_t get(struct fixture *w, node_t node, off_t off, void *data, size_t len)
{
	struct fs_data pieces;
	size_t at = 0;

	assert_int_equal(fs_read(w->fs, node, off, len, &pieces), 0);
	for (int i = 0; i < pieces.iov_count; i++) {
		memcpy((char *)data + at, pieces.iov[i].iov_base,
		       pieces.iov[i].iov_len);
		at += pieces.iov[i].iov_len;
	}
	assert_int_equal(at, pieces.len);
	fs_data_release(&pieces);
	return at;
}

void expect_text(struct fixture *w, node_t node, const char *text)
{
	char buffer[4096];
	size_t n = get(w, node, 0, buffer, sizeof(buffer) - 1);

	buffer[n] = 0;
	assert_string_equal(buffer, text);
}

int resize(struct fixture *w, node_t node, off_t size)
{
	struct stat st = {.st_size = size};

	return fs_setattr(w->fs, node, FS_SET_SIZE, &st, &st);
}

int chmod_to(struct fixture *w, node_t node, mode_t mode)
{
	struct stat st = {.st_mode = mode};

	return fs_setattr(w->fs, node, FS_SET_MODE, &st, &st);
}

static unsigned count_items(struct fixture *w, uint64_t state, struct key key)
{
	struct cursor cursor;
	struct state *s;
	struct item item;
	unsigned n = 0;
	int err;

	store_lock(w->store);
	assert_int_equal(state_get(w->forest, state, &s), 0);
	for (err = cursor_seek(&cursor, state_tree(s), &key, &item);
	     !err && item.key.ino == key.ino && item.key.kind == key.kind;
	     err = cursor_next(&cursor, &item))
		n++;
	store_unlock(w->store);
	return n;
}

unsigned count_extents(struct fixture *w, node_t node, uint64_t first)
{
	return count_items(w, NODE_STATE(node),
	                   (struct key){NODE_INO(node), ITEM_EXTENT, first});
}

unsigned count_orphans(struct fixture *w, uint64_t state)
{
	return count_items(w, state, (struct key){0, ITEM_ORPHAN, 0});
}

/* ---- The check ---------------------------------------------------------- */

/* The items of one inode that were met. */
struct seen {
	uint64_t ino;
	struct inode inode;
	bool has_inode, orphan, is_dir;
	uint64_t entries, subdirs; /* of a directory */
	uint64_t names, backrefs;
	uint64_t blocks, xattrs;
	uint64_t end; /* offset behind the last data */
};

struct survey {
	struct tree *tree;
	uint32_t chunk_size;
	struct seen *seen;
	size_t count, room;
};

static struct seen *survey_find(struct survey *s, uint64_t ino)
{
	for (size_t i = s->count; i-- > 0;)
		if (s->seen[i].ino == ino)
			return &s->seen[i];
	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 64;
		s->seen = realloc(s->seen, s->room * sizeof(*s->seen));
		assert_non_null(s->seen);
	}
	s->seen[s->count] = (struct seen){.ino = ino};
	return &s->seen[s->count++];
}

static void survey_dirent(struct survey *s, const struct item *item)
{
	struct dirent_item d;
	struct inode inode;
	struct seen *dir, *child;
	struct item back;

	assert_int_equal(dirent_decode(item->value, item->len, &d), 0);
	assert_true(item->key.off >= COOKIE_FIRST);
	dir = survey_find(s, item->key.ino);
	dir->entries++;
	dir->subdirs += d.type == DT_DIR;
	child = survey_find(s, d.ino);
	child->names++;
	/* Both ways. */
	assert_int_equal(slot_find(s->tree, d.ino, ITEM_BACKREF, item->key.ino,
	                           d.name, d.name_len, &back),
	                 0);
	assert_int_equal(inode_load(s->tree, d.ino, &inode), 0);
	assert_int_equal(IFTODT(inode.mode), d.type);
}

static void survey_extent(struct survey *s, const struct item *item)
{
	struct seen *seen = survey_find(s, item->key.ino);
	struct extent e;

	assert_int_equal(extent_decode(item->value, item->len, &e), 0);
	assert_true(e.len > 0);
	seen->blocks += (e.len + 511) / 512;
	if (e.kind != EXTENT_ZERO)
		seen->end = item->key.off * s->chunk_size + e.len;
	if (e.kind == EXTENT_INLINE)
		assert_int_equal(item->key.off, 0);
}

static void survey_item(struct survey *s, const struct item *item)
{
	struct seen *seen;

	switch (item->key.kind) {
	case ITEM_ORPHAN:
		assert_int_equal(item->key.ino, 0);
		survey_find(s, item->key.off)->orphan = true;
		break;
	case ITEM_INODE:
		seen = survey_find(s, item->key.ino);
		assert_int_equal(
		        inode_decode(item->value, item->len, &seen->inode), 0);
		seen->has_inode = true;
		break;
	case ITEM_BACKREF:
		survey_find(s, item->key.ino)->backrefs++;
		break;
	case ITEM_XATTR:
		survey_find(s, item->key.ino)->xattrs++;
		break;
	case ITEM_DIRENT:
		survey_dirent(s, item);
		break;
	case ITEM_EXTENT:
		survey_extent(s, item);
		break;
	default:
		fail_msg("item of kind %u", item->key.kind);
	}
}

static void seen_check(const struct seen *seen)
{
	const struct inode *inode = &seen->inode;
	bool dir = S_ISDIR(inode->mode);

	assert_true(seen->has_inode);
	assert_int_equal(inode->blocks, seen->blocks);
	assert_int_equal(inode->xattrs, seen->xattrs);
	assert_int_equal(seen->names, seen->backrefs);
	if (dir) {
		assert_int_equal(inode->size, seen->entries);
		if (inode->nlink)
			assert_int_equal(inode->nlink, 2 + seen->subdirs);
		assert_int_equal(seen->names,
		                 inode->nlink && seen->ino != INO_ROOT);
	} else {
		assert_int_equal(inode->nlink, seen->names);
		assert_true(seen->end <= inode->size || seen->orphan);
	}
	if (!inode->nlink)
		assert_true(seen->orphan);
}

static void state_check(struct state *state)
{
	struct survey s = {
	        .tree = state_tree(state),
	        .chunk_size = store_chunk_size(forest_store(state->forest))};
	struct key first = {0};
	struct cursor cursor;
	uint64_t blocks = 0;
	struct item item;
	int err;

	for (err = cursor_seek(&cursor, s.tree, &first, &item); !err;
	     err = cursor_next(&cursor, &item))
		survey_item(&s, &item);
	assert_int_equal(err, -ENOENT);
	for (size_t i = 0; i < s.count; i++) {
		seen_check(&s.seen[i]);
		blocks += s.seen[i].blocks;
	}
	assert_int_equal(state_inodes(state), s.count);
	assert_int_equal(state_blocks(state), blocks);
	free(s.seen);
}

static void states_check(struct fixture *w, uint64_t fork)
{
	char after[NAME_LEN_MAX + 1] = "";
	struct state *state;

	while (!state_next(w->forest, fork, after, &state)) {
		memcpy(after, state->name, sizeof(after));
		state_check(state);
		if (!fork)
			states_check(w, state->number);
	}
}

void fixture_check(struct fixture *w)
{
	store_lock(w->store);
	states_check(w, 0);
	store_unlock(w->store);
}
