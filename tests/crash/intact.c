/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store to be damaged: see intact.h. */
#include "intact.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>

#include "engine.h"
#include "node_codec.h"
#include "util.h"

int found_add(void *arg, const struct finding *f)
{
	struct found *found = arg;

	if (!found->count++)
		snprintf(found->first, sizeof(found->first), "%s: %s:%s: %s",
		         f->kind, f->state ? f->state : "-",
		         f->path ? f->path : "-", f->text);
	if (found->print)
		print_message("# %s: %s:%s ino %llu version %llu: %s\n",
		              f->kind, f->state ? f->state : "-",
		              f->path ? f->path : "-",
		              (unsigned long long)f->ino,
		              (unsigned long long)f->version, f->text);
	if (strlen(found->kinds) + strlen(f->kind) + 3 < sizeof(found->kinds)) {
		strcat(found->kinds, " ");
		strcat(found->kinds, f->kind);
		strcat(found->kinds, " ");
	}
	return 0;
}

struct found check_store(struct store *store, bool data, bool print)
{
	struct found found = {.print = print};
	struct check_options options = {
	        .data = data, .found = found_add, .arg = &found};

	assert_int_equal(forest_check(store, &options), 0);
	return found;
}

void expect_clean(struct store *store)
{
	struct found found = check_store(store, true, true);

	if (found.count)
		fail_msg("%zu findings; %s", found.count, found.first);
}

/* ---- A store to be damaged ---------------------------------------------- */

struct intact intact;

static const struct fs_cred cred = {1000, 1000, 022};

static uint64_t file_make(struct work *w, uint64_t dir, const char *name,
                          mode_t mode)
{
	struct fs_entry e;

	assert_int_equal(fs_make(w->fs, NODE(intact.main, dir), name, mode, 0,
	                         NULL, &cred, &e),
	                 0);
	return NODE_INO(e.node);
}

static void file_write(struct work *w, uint64_t ino, off_t off, uint64_t seed,
                       size_t len)
{
	uint8_t *bytes = malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = seed ? (uint8_t)(scratch_random(&seed) >> 7)
		                : (uint8_t)(i / 50);
	assert_int_equal(
	        fs_write(w->fs, NODE(intact.main, ino), off, bytes, len, 0), 0);
	free(bytes);
}

void state_make(struct work *w, const char *name, bool snapshot)
{
	struct state *source, *made;

	store_lock(w->store);
	assert_int_equal(state_get(w->forest, intact.main, &source), 0);
	assert_int_equal(
	        snapshot ? state_snapshot(w->forest, source, name, &made)
	                 : state_fork(w->forest, source, name, &made),
	        0);
	store_unlock(w->store);
}

static void symlinks_make(struct work *w)
{
	char target[SYMLINK_TARGET_MAX + 1], name[NAME_LEN_MAX + 1];
	struct fs_entry e;

	memset(target, 't', SYMLINK_TARGET_MAX);
	memset(name, 'n', NAME_LEN_MAX);
	target[SYMLINK_TARGET_MAX] = name[NAME_LEN_MAX] = 0;
	assert_int_equal(fs_make(w->fs, NODE_ROOT, "current", S_IFLNK | 0777, 0,
	                         "main", &cred, &e),
	                 0);
	assert_int_equal(fs_make(w->fs, NODE_ROOT, name, S_IFLNK | 0777, 0,
	                         target, &cred, &e),
	                 0);
}

static void intact_fill(struct work *w)
{
	char name[32], value[300];
	struct fs_entry e;

	intact.main = w->model.states[0]->number;
	intact.dir = file_make(w, INO_ROOT, "dir", S_IFDIR | 0755);
	intact.plain = file_make(w, INO_ROOT, "plain", S_IFREG | 0644);
	file_write(w, intact.plain, 0, 0, 300000);
	intact.copy = file_make(w, intact.dir, "random", S_IFREG | 0644);
	file_write(w, intact.copy, 0, 77, 200000);
	file_write(w, file_make(w, intact.dir, "again", S_IFREG | 0644), 0, 77,
	           200000);
	intact.linked = file_make(w, intact.dir, "one", S_IFREG | 0644);
	assert_int_equal(fs_link(w->fs, NODE(intact.main, intact.linked),
	                         NODE(intact.main, INO_ROOT), "two", &e),
	                 0);
	intact.tagged = file_make(w, intact.dir, "tagged", S_IFREG | 0644);
	memset(value, 'x', sizeof(value));
	assert_int_equal(fs_setxattr(w->fs, NODE(intact.main, intact.tagged),
	                             "user.long", value, sizeof(value), 0),
	                 0);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		file_write(w, file_make(w, intact.dir, name, S_IFREG | 0644), 0,
		           (uint64_t)i, 100 + (size_t)i * 10);
	}
	assert_int_equal(store_sync(w->store), 0);
	state_make(w, "monday", true);
	file_write(w, intact.plain, 70000, 5, 100);
	assert_int_equal(
	        fs_unlink(w->fs, NODE(intact.main, intact.dir), "file-7"), 0);
	state_make(w, "fork", false);
	symlinks_make(w);
	file_write(w, intact.copy, 1000, 9, 100);
}

int intact_setup(void **state)
{
	static const struct store_params defaults;
	struct stat st;
	struct work w;
	int fd;

	scratch_init(&intact.scratch);
	snprintf(intact.file, sizeof(intact.file), "%s/data.mdb",
	         intact.scratch.store);
	work_init(&w, intact.scratch.store, 1, &defaults);
	intact_fill(&w);
	assert_int_equal(forest_drain(w.forest), 0);
	expect_clean(w.store);
	assert_int_equal(real_digest(w.fs, &intact.digest), 0);
	work_close(&w);
	work_release(&w);
	fd = open(intact.file, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	intact.len = (size_t)st.st_size;
	intact.bytes = malloc(intact.len);
	assert_int_equal(read(fd, intact.bytes, intact.len), intact.len);
	close(fd);
	return 0;
}

int intact_teardown(void **state)
{
	free(intact.bytes);
	scratch_release(&intact.scratch);
	return 0;
}

void intact_restore(void)
{
	int fd = open(intact.file, O_WRONLY | O_TRUNC);

	assert_int_equal(write(fd, intact.bytes, intact.len), intact.len);
	close(fd);
}

struct inode tree_inode_get(struct tree *tree, uint64_t ino)
{
	struct key key = {ino, ITEM_INODE, 0};
	struct inode inode;
	struct item item;

	assert_int_equal(tree_get(tree, &key, &item), 0);
	assert_int_equal(inode_decode(item.value, item.len, &inode), 0);
	return inode;
}

void tree_inode_set(struct tree *tree, uint64_t ino, const struct inode *inode)
{
	struct key key = {ino, ITEM_INODE, 0};
	uint8_t value[INODE_LEN_MAX];

	assert_int_equal(
	        tree_put(tree, &key, value, inode_encode(inode, value)), 0);
}

/* ---- Below the trees: through LMDB -------------------------------------- */

struct plant plant;

void plant_begin(const char *name, unsigned flags)
{
	intact_restore();
	plant_reopen(name, flags);
}

void plant_reopen(const char *name, unsigned flags)
{
	assert_int_equal(mdb_env_create(&plant.env), 0);
	mdb_env_set_maxdbs(plant.env, 16);
	mdb_env_set_mapsize(plant.env, 1 << 28);
	assert_int_equal(mdb_env_open(plant.env, intact.scratch.store, 0, 0600),
	                 0);
	assert_int_equal(mdb_txn_begin(plant.env, NULL, 0, &plant.txn), 0);
	assert_int_equal(mdb_dbi_open(plant.txn, name, flags, &plant.dbi), 0);
	assert_int_equal(mdb_cursor_open(plant.txn, plant.dbi, &plant.cursor),
	                 0);
	assert_int_equal(mdb_cursor_get(plant.cursor, &plant.key, &plant.value,
	                                MDB_FIRST),
	                 0);
}

void plant_end(void)
{
	mdb_cursor_close(plant.cursor);
	assert_int_equal(mdb_txn_commit(plant.txn), 0);
	mdb_env_close(plant.env);
}

bool plant_next(void)
{
	return !mdb_cursor_get(plant.cursor, &plant.key, &plant.value,
	                       MDB_NEXT);
}

uint64_t plant_number(void)
{
	uint64_t n;

	memcpy(&n, plant.key.mv_data, 8);
	return n;
}

/* The value where the cursor stands, with one byte changed. */
void plant_flip(size_t at, uint8_t bits)
{
	uint8_t bytes[4096], key[512];
	MDB_val k = {plant.key.mv_size, key}, v = {plant.value.mv_size, bytes};

	memcpy(key, plant.key.mv_data, k.mv_size);
	memcpy(bytes, plant.value.mv_data, v.mv_size);
	bytes[at % v.mv_size] ^= bits;
	assert_int_equal(mdb_cursor_put(plant.cursor, &k, &v, MDB_CURRENT), 0);
}

/* The same with all bytes zero. */
void plant_zero(void)
{
	uint8_t bytes[4096] = {0}, key[512];
	MDB_val k = {plant.key.mv_size, key}, v = {plant.value.mv_size, bytes};

	memcpy(key, plant.key.mv_data, k.mv_size);
	assert_int_equal(mdb_cursor_put(plant.cursor, &k, &v, MDB_CURRENT), 0);
}

void plant_put(uint64_t number, const void *data, size_t len)
{
	MDB_val k = {8, &number}, v = {len, (void *)data};

	assert_int_equal(mdb_put(plant.txn, plant.dbi, &k, &v, 0), 0);
}

static bool is_node(void)
{
	return block_tag_is_node(&plant.value) && !(plant_number() & 63);
}

/* To the n-th node, or the n-th first fragment of a chunk. */
bool plant_find(bool node, int n)
{
	do {
		if (!(plant_number() & 63) && is_node() == node && !n--)
			return true;
	} while (plant_next());
	return false;
}
