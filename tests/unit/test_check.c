/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The check: nothing is found in a store that was used in every way, and
 * everything in one where something was damaged on purpose.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "intact.h"
#include "util.h"

/* ---- Clean -------------------------------------------------------------- */

/* While it is in use, after a commit, after all was given back, and closed. */
static void test_clean(void **state)
{
	uint64_t seed = scratch_seed(), steps = scratch_ops(3000);
	struct scratch scratch;
	struct work w;

	for (int round = 0; round < 3; round++) {
		scratch_init(&scratch);
		work_init(&w, scratch.store, seed + (uint64_t)round, NULL);
		expect_clean(w.store);
		for (uint64_t i = 1; i <= steps; i++) {
			work_step(&w);
			if (i % 151 == 0)
				expect_clean(w.store);
			if (i % 257 == 0)
				work_compare(&w);
			if (i % 397 == 0) {
				assert_int_equal(forest_drain(w.forest), 0);
				expect_clean(w.store);
			}
			if (i % 500 == 0) {
				work_close(&w);
				work_open(&w, scratch.store);
				work_compare(&w);
				expect_clean(w.store);
			}
		}
		work_compare(&w);
		work_close(&w);
		work_release(&w);
		scratch_release(&scratch);
	}
}

/* Check the store as it is now; return the findings. */
static struct found look_at_it(bool data)
{
	struct store_options options = {.readonly = true};
	struct store *store;
	struct found found;

	assert_int_equal(store_open(intact.scratch.store, &options, &store), 0);
	found = check_store(store, data, getenv("COPPICE_VERBOSE") != NULL);
	store_close(store);
	return found;
}

static void expect_found(const char *what, bool data, const char *kind)
{
	struct found found = look_at_it(data);
	char padded[40];

	snprintf(padded, sizeof(padded), " %s ", kind);
	if (!strstr(found.kinds, padded))
		fail_msg("%s: no '%s' among %zu findings (%s)", what, kind,
		         found.count, found.first);
}

/* ---- Below the trees: through LMDB -------------------------------------- */

static void test_nodes(void **state)
{
	for (int n = 0;; n++) {
		plant_begin("blocks", MDB_INTEGERKEY);
		if (!plant_find(true, n)) {
			plant_end();
			assert_true(n > 10);
			break;
		}
		if (n % 3 == 2)
			assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
		else
			plant_flip((size_t)n * 37 + 1, 1u << n % 8);
		plant_end();
		expect_found(n % 3 == 2 ? "a node deleted" : "a node damaged",
		             false, "node");
	}
}

static void test_chunks(void **state)
{
	for (int n = 0; n < 12; n++) {
		plant_begin("blocks", MDB_INTEGERKEY);
		assert_true(plant_find(false, n));
		plant_flip(plant.value.mv_size - 1, 0x40);
		plant_end();
		/* Only reading the bytes finds that they are damaged. */
		expect_found("a chunk's bytes damaged", true, "chunk");

		plant_begin("blocks", MDB_INTEGERKEY);
		assert_true(plant_find(false, n));
		plant_flip(0, 0x80);
		plant_end();
		expect_found("a chunk's header damaged", false, "chunk");

		plant_begin("blocks", MDB_INTEGERKEY);
		assert_true(plant_find(false, n));
		assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
		plant_end();
		expect_found("a chunk's beginning deleted", false, "chunk");
	}
	plant_begin("blocks", MDB_INTEGERKEY);
	while ((plant_number() & 63) != 2)
		assert_true(plant_next());
	assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
	plant_end();
	expect_found("a part of a chunk deleted", false, "chunk");
}

static void test_leaks(void **state)
{
	uint8_t chunk[40] = {0x10, 1, 1};
	uint8_t target[8] = {0};

	plant_begin("blocks", MDB_INTEGERKEY);
	plant_put(UINT64_C(5000000) << 6, chunk, 20);
	plant_end();
	expect_found("a chunk too many", false, "leak");

	plant_begin("aliases", MDB_INTEGERKEY);
	memcpy(target, plant.value.mv_data, 8);
	plant_put(5000000, target, 8);
	plant_end();
	expect_found("a dedup reference too many", false, "leak");
	expect_found("a dedup reference too many", false, "count");
}

static void test_aliases(void **state)
{
	plant_begin("aliases", MDB_INTEGERKEY);
	plant_flip(7, 0x01);
	plant_end();
	expect_found("a dedup reference to another", false, "count");

	plant_begin("aliases", MDB_INTEGERKEY);
	plant_flip(0, 0x01);
	plant_end();
	expect_found("a dedup reference to nothing", false, "dedup");

	plant_begin("aliases", MDB_INTEGERKEY);
	assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
	plant_end();
	expect_found("a dedup reference deleted", false, "chunk");

	plant_begin("counts", MDB_INTEGERKEY);
	plant_flip(7, 0x04);
	plant_end();
	expect_found("a wrong count", false, "count");

	plant_begin("counts", MDB_INTEGERKEY);
	assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
	plant_end();
	expect_found("a count deleted", false, "count");

	plant_begin("hashes", MDB_INTEGERKEY);
	plant_flip(7, 0x01);
	plant_end();
	expect_found("a hash of another", false, "hash");
}

static void test_lists(void **state)
{
	bool account = false, run = false;
	uint8_t key[16] = {0, 0, 0, 0, 0, 0, 9, 9}, value[3] = {2, 2, 0};
	MDB_val k = {16, key}, v = {3, value};

	for (int n = 0; n < 40; n++) {
		bool is_account;

		plant_begin("lists", 0);
		for (int i = 0; i < n && plant_next(); i++)
			;
		is_account = !be64_get((uint8_t *)plant.key.mv_data + 8);
		account |= is_account;
		run |= !is_account;
		plant_flip(is_account ? 0 : plant.value.mv_size / 2, 0x02);
		plant_end();
		if (!look_at_it(false).count)
			fail_msg("entry %d of the lists damaged: not found", n);

		plant_begin("lists", 0);
		for (int i = 0; i < n && plant_next(); i++)
			;
		assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
		plant_end();
		if (!look_at_it(false).count)
			fail_msg("entry %d of the lists gone: not found", n);
	}
	assert_true(account && run);

	plant_begin("lists", 0);
	assert_int_equal(mdb_put(plant.txn, plant.dbi, &k, &v, 0), 0);
	plant_end();
	expect_found("a list of nobody", false, "list");
}

/*
 * Any record but the store's own and that of the forks' directory.  Counters
 * that are too high harm nobody; nothing else names a property that is gone.
 */
static void test_records(void **state)
{
	for (int n = 0;; n++) {
		uint8_t table;
		bool end = false;

		plant_begin("records", 0);
		for (int i = 0; i < n && !end; i++)
			end = !plant_next();
		table = *(uint8_t *)plant.key.mv_data;
		if (end) {
			plant_end();
			assert_true(n > 8);
			break;
		}
		if (plant.key.mv_size == 6 &&
		    (!memcmp(plant.key.mv_data, "\1forks", 6) ||
		     !memcmp(plant.key.mv_data, "\1store", 6))) {
			plant_end();
			continue;
		}
		if (!plant.value.mv_size) {
			plant_end();
			continue;
		}
		if (plant.key.mv_size == 9 &&
		    !memcmp(plant.key.mv_data, "\1counters", 9))
			plant_zero();
		else
			plant_flip(0, 0x01);
		plant_end();
		if (!look_at_it(false).count)
			fail_msg("record %d, of table %u, damaged: not found",
			         n, table);

		plant_begin("records", 0);
		for (int i = 0; i < n; i++)
			plant_next();
		assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
		plant_end();
		if (table != TABLE_PROPERTY && !look_at_it(false).count)
			fail_msg("record %d, of table %u, gone: not found", n,
			         table);
	}
}

/* ---- In the trees: through the store ------------------------------------ */

/* A way to damage an item of a file. */
struct wrong {
	const char *what, *kind;
	void (*plant)(struct tree *tree);
};

#define INODE_PLANT(name, ino, change)                                         \
	static void name(struct tree *tree)                                    \
	{                                                                      \
		struct inode inode = tree_inode_get(tree, ino);                \
                                                                               \
		change;                                                        \
		tree_inode_set(tree, ino, &inode);                             \
	}
INODE_PLANT(plant_nlink, intact.linked, inode.nlink++)
INODE_PLANT(plant_subdirs, INO_ROOT, inode.nlink--)
INODE_PLANT(plant_no_name, intact.linked, inode.nlink = 0)
INODE_PLANT(plant_entries, intact.dir, inode.size--)
INODE_PLANT(plant_blocks, intact.plain, inode.blocks += 8)
INODE_PLANT(plant_xattrs, intact.tagged, inode.xattrs = 0)
INODE_PLANT(plant_size, intact.plain, inode.size = 10)
INODE_PLANT(plant_type, intact.linked,
            inode.mode = (inode.mode & 07777) | S_IFIFO)

/* Remove the first item of a kind; whatever it names is not dropped. */
static void kind_remove(struct tree *tree, uint64_t ino, uint8_t kind)
{
	struct key key = {ino, kind, 0};
	struct item item;

	assert_int_equal(tree_seek(tree, &key, &item), 0);
	assert_int_equal(item.key.kind, kind);
	key = item.key;
	assert_int_equal(tree_del(tree, &key), 0);
}

static void plant_no_inode(struct tree *tree)
{
	kind_remove(tree, intact.linked, ITEM_INODE);
}

static void plant_no_backref(struct tree *tree)
{
	kind_remove(tree, intact.linked, ITEM_BACKREF);
}

static void plant_no_dirent(struct tree *tree)
{
	kind_remove(tree, intact.dir, ITEM_DIRENT);
}

static void plant_no_extent(struct tree *tree)
{
	kind_remove(tree, intact.copy, ITEM_EXTENT);
}

static void plant_no_xattr(struct tree *tree)
{
	kind_remove(tree, intact.tagged, ITEM_XATTR);
}

/* An entry, its value changed. */
static void plant_other_ino(struct tree *tree)
{
	struct key key = {intact.dir, ITEM_DIRENT, 0};
	uint8_t value[TREE_VALUE_MAX];
	struct dirent_item d;
	struct item item;
	size_t len;

	assert_int_equal(tree_seek(tree, &key, &item), 0);
	assert_int_equal(dirent_decode(item.value, item.len, &d), 0);
	d.ino = d.ino == intact.linked ? intact.tagged : intact.linked;
	len = dirent_encode(&d, value);
	key = item.key;
	assert_int_equal(tree_put(tree, &key, value, len), 0);
}

static void plant_garbage(struct tree *tree)
{
	struct key key = {intact.dir, ITEM_DIRENT, 12345 << 4};

	assert_int_equal(tree_put(tree, &key, "\xff\xff\xff", 3), 0);
}

static void plant_kind(struct tree *tree)
{
	struct key key = {intact.dir, 13, 0};

	assert_int_equal(tree_put(tree, &key, "x", 1), 0);
}

static void plant_orphan(struct tree *tree)
{
	struct key key = {0, ITEM_ORPHAN, 999};

	assert_int_equal(tree_put(tree, &key, "", 0), 0);
}

/* An extent that names a chunk that is another file's. */
static void plant_shared_chunk(struct tree *tree)
{
	struct key key = {intact.copy, ITEM_EXTENT, 1};
	uint8_t value[TREE_VALUE_MAX];
	struct item item;

	assert_int_equal(tree_get(tree, &key, &item), 0);
	memcpy(value, item.value, item.len);
	key.ino = intact.linked;
	assert_int_equal(tree_put(tree, &key, value, item.len), 0);
}

static void plant_dropped(struct tree *tree)
{
	struct key key = {intact.copy, ITEM_EXTENT, 0};
	struct item item;

	assert_int_equal(tree_get(tree, &key, &item), 0);
	tree_drop(tree, item_chunk(&item));
}

static void test_items(void **state)
{
	static const struct wrong wrongs[] = {
	        {"a link too many", "nlink", plant_nlink},
	        {"a directory too few", "nlink", plant_subdirs},
	        {"no links", "orphan", plant_no_name},
	        {"an entry too few", "size", plant_entries},
	        {"blocks too many", "blocks", plant_blocks},
	        {"xattrs too few", "xattr", plant_xattrs},
	        {"content behind the end", "size", plant_size},
	        {"another type", "inode", plant_type},
	        {"no inode", "inode", plant_no_inode},
	        {"no back reference", "backref", plant_no_backref},
	        {"no entry", "dirent", plant_no_dirent},
	        {"no extent", "blocks", plant_no_extent},
	        {"no extent", "leak", plant_no_extent},
	        {"no xattr", "xattr", plant_no_xattr},
	        {"an entry of another", "backref", plant_other_ino},
	        {"garbage", "item", plant_garbage},
	        {"an item of no kind", "item", plant_kind},
	        {"an orphan of nothing", "orphan", plant_orphan},
	        {"a chunk of two files", "shared", plant_shared_chunk},
	        {"a chunk freed", "chunk", plant_dropped},
	};

	/* Once where all is the tree's own, once where it is shared. */
	for (size_t i = 0; i < 2 * ARRAY_SIZE(wrongs); i++) {
		const struct wrong *wrong = &wrongs[i / 2];
		const char *kind = wrong->kind;
		struct work w = {0};
		struct state *s;
		struct tree *tree;

		intact_restore();
		work_open(&w, intact.scratch.store);
		if (i % 2)
			state_make(&w, "tuesday", true);
		store_lock(w.store);
		assert_int_equal(state_get(w.forest, intact.main, &s), 0);
		assert_int_equal(state_edit(s, &tree), 0);
		wrong->plant(tree);
		store_unlock(w.store);
		work_close(&w);
		/*
		 * A block of its parent that it no longer names, or names
		 * though it is on the deadlist, is the fault of the list.
		 */
		if (i % 2 && (!strcmp(kind, "leak") || !strcmp(kind, "chunk")))
			kind = "list";
		expect_found(wrong->what, false, kind);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_clean),   cmocka_unit_test(test_nodes),
	        cmocka_unit_test(test_chunks),  cmocka_unit_test(test_leaks),
	        cmocka_unit_test(test_aliases), cmocka_unit_test(test_lists),
	        cmocka_unit_test(test_records), cmocka_unit_test(test_items),
	};

	/* Reserving a smaller map is quicker. */
	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, intact_setup, intact_teardown);
}
