/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repairing: afterwards the check finds nothing, each file that was not damaged
 * is unchanged in each state, and each other file was reported.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "range.h"
#include "intact.h"
#include "manifest.h"
#include "util.h"

/* ---- Repairing ---------------------------------------------------------- */

static struct manifest before;

struct rows {
	struct found found;
	size_t len;
	struct {
		char kind[16], path[1024];
		uint64_t ino;
	} at[2000];
};
static struct rows rows;

static int on_done(void *arg, const struct finding *f)
{
	if (getenv("COPPICE_VERBOSE"))
		print_message("# %s: %s:%s ino %llu: %s\n", f->kind,
		              f->state ? f->state : "-",
		              f->path ? f->path : "-",
		              (unsigned long long)f->ino, f->text);
	assert_uint_in_range(rows.len, 0, ARRAY_SIZE(rows.at) - 1);
	snprintf(rows.at[rows.len].kind, sizeof(rows.at->kind), "%s", f->kind);
	snprintf(rows.at[rows.len].path, sizeof(rows.at->path), "%s",
	         f->path ? f->path : "");
	rows.at[rows.len++].ino = f->ino;
	return 0;
}

static int repair(bool dry_run, struct repair_result *ret)
{
	struct store_options options = {.readonly = true};
	struct repair_options repair_options = {.dry_run = dry_run,
	                                        .found = found_add,
	                                        .done = on_done,
	                                        .arg = &rows.found};
	struct store *store;
	int r;

	rows = (struct rows){.found.print = getenv("COPPICE_VERBOSE")};
	assert_int_equal(store_open(intact.scratch.store, &options, &store), 0);
	r = forest_repair(store, &repair_options, ret);
	store_close(store);
	return r;
}

/* Return true if a loss of this file, or of a directory above it, was reported.
 */
static bool was_reported(const struct manifest_entry *e)
{
	const char *path = strchr(e->name, ':') + 1;

	for (size_t i = 0; i < rows.len; i++) {
		size_t len = strlen(rows.at[i].path);

		if (rows.at[i].ino == e->ino && e->ino)
			return true;
		/* The inodes of lost nodes are not known. */
		if (!strcmp(rows.at[i].kind, "lost"))
			return true;
		if (len && !strncmp(rows.at[i].path, path, len) &&
		    (!path[len] || path[len] == '/'))
			return true;
	}
	return false;
}

static bool is_state_reported(const char *kind)
{
	for (size_t i = 0; i < rows.len; i++)
		if (!rows.at[i].ino && !strcmp(rows.at[i].kind, kind))
			return true;
	return false;
}

static void compare(const char *what, size_t *ret_lost)
{
	struct manifest after = manifest_read(intact.scratch.store);

	*ret_lost = 0;
	for (size_t i = 0; i < before.len; i++) {
		const struct manifest_entry *e = &before.entries[i];
		const struct manifest_entry *now =
		        manifest_find(&after, e->name);

		if (now && now->ino == e->ino && now->digest == e->digest)
			continue;
		++*ret_lost;
		if (!was_reported(e) && !is_state_reported("removed") &&
		    !is_state_reported("doubtful") &&
		    !is_state_reported("restored"))
			fail_msg("%s: %s is %s, and nothing was reported", what,
			         e->name, now ? "not what it was" : "gone");
	}
	manifest_release(&after);
}

static uint64_t file_digest_of(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint8_t *bytes = malloc(intact.len * 2);
	ssize_t len = read(fd, bytes, intact.len * 2);
	uint64_t digest = XXH3_64bits(bytes, (size_t)len);

	close(fd);
	free(bytes);
	return digest;
}

static void expect_intact(const char *what)
{
	struct store_options options = {.readonly = true};
	struct store *store;
	struct found found;

	assert_int_equal(store_open(intact.scratch.store, &options, &store), 0);
	found = check_store(store, true, true);
	store_close(store);
	if (found.count)
		fail_msg("%s: %zu findings after the repair; %s", what,
		         found.count, found.first);
}

/* The number of files that are not what they were. */
static size_t expect_repaired(const char *what, bool dry_run)
{
	struct repair_result result;
	uint64_t digest;
	size_t lost, reported;
	int r;

	if (getenv("COPPICE_VERBOSE"))
		print_message("# -- %s\n", what);
	if (dry_run) {
		digest = file_digest_of(intact.file);
		r = repair(true, &result);
		if (r)
			fail_msg("%s: %s", what, strerror(-r));
		assert_int_equal(digest, file_digest_of(intact.file));
		assert_null(result.kept);
		reported = rows.len;
	}
	r = repair(false, &result);
	if (r)
		fail_msg("%s: %s", what, strerror(-r));
	if (dry_run)
		assert_int_equal(reported, rows.len);
	if (result.found) {
		assert_non_null(result.kept);
		assert_int_equal(unlink(result.kept), 0);
		free(result.kept);
	}
	expect_intact(what);
	compare(what, &lost);
	return lost;
}

/* ---- Below the trees ---------------------------------------------------- */

static void test_nothing(void **state)
{
	uint64_t digest;
	struct repair_result result;

	intact_restore();
	digest = file_digest_of(intact.file);
	assert_int_equal(repair(false, &result), 0);
	assert_int_equal(result.found, 0);
	assert_int_equal(digest, file_digest_of(intact.file));
}

static void test_nodes(void **state)
{
	for (int n = 0;; n++) {
		char what[40];

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
		snprintf(what, sizeof(what), "node %d", n);
		expect_repaired(what, n % 4 == 0);
	}
}

static void test_chunks(void **state)
{
	for (int n = 0; n < 12; n++) {
		for (int kind = 0; kind < 3; kind++) {
			size_t lost;

			plant_begin("blocks", MDB_INTEGERKEY);
			assert_true(plant_find(false, n));
			if (kind == 2)
				assert_int_equal(
				        mdb_cursor_del(plant.cursor, 0), 0);
			else
				plant_flip(kind ? 0 : plant.value.mv_size - 1,
				           0x80);
			plant_end();
			lost = expect_repaired("a chunk", n == 0);
			assert_uint_in_range(lost, 1, 30);
		}
	}
}

static void test_others(void **state)
{
	uint8_t chunk[40] = {0x10, 1, 1}, target[8] = {0};
	static const char *const names[] = {"hashes", "counts", "aliases"};

	plant_begin("blocks", MDB_INTEGERKEY);
	plant_put(UINT64_C(5000000) << 6, chunk, 20);
	plant_end();
	assert_int_equal(expect_repaired("a chunk too many", true), 0);

	plant_begin("aliases", MDB_INTEGERKEY);
	memcpy(target, plant.value.mv_data, 8);
	plant_put(5000000, target, 8);
	plant_end();
	assert_int_equal(expect_repaired("a dedup reference too many", false),
	                 0);

	for (size_t i = 0; i < 2; i++) {
		plant_begin(names[i], MDB_INTEGERKEY);
		plant_flip(7, 0x04);
		plant_end();
		assert_int_equal(expect_repaired(names[i], false), 0);
		plant_begin(names[i], MDB_INTEGERKEY);
		assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
		plant_end();
		assert_int_equal(expect_repaired(names[i], false), 0);
	}
	for (int kind = 0; kind < 3; kind++) {
		plant_begin("aliases", MDB_INTEGERKEY);
		if (kind == 2)
			assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
		else
			plant_flip(kind ? 0 : 7, 0x01);
		plant_end();
		expect_repaired("a dedup reference", false);
	}
}

static void test_lists(void **state)
{
	for (int n = 0; n < 12; n++) {
		for (int kind = 0; kind < 2; kind++) {
			plant_begin("lists", 0);
			for (int i = 0; i < n && plant_next(); i++)
				;
			if (kind)
				assert_int_equal(
				        mdb_cursor_del(plant.cursor, 0), 0);
			else
				plant_flip(plant.value.mv_size / 2, 0x02);
			plant_end();
			assert_int_equal(expect_repaired("a list", false), 0);
		}
	}
}

/* Any record but the store's own. */
static void test_records(void **state)
{
	for (int n = 0;; n++) {
		for (int kind = 0; kind < 4; kind++) {
			bool end = false;
			char what[40];

			plant_begin("records", 0);
			for (int i = 0; i < n && !end; i++)
				end = !plant_next();
			if (end) {
				plant_end();
				assert_true(n > 8);
				return;
			}
			snprintf(what, sizeof(what), "record %d, table %u", n,
			         *(uint8_t *)plant.key.mv_data);
			if ((plant.key.mv_size == 6 &&
			     !memcmp(plant.key.mv_data, "\1store", 6)) ||
			    (kind < 3 && !plant.value.mv_size)) {
				plant_end();
				continue;
			}
			if (kind == 3)
				assert_int_equal(
				        mdb_cursor_del(plant.cursor, 0), 0);
			else if (kind == 2)
				plant_zero();
			else
				plant_flip(kind ? 1 : 0, 0x01);
			plant_end();
			expect_repaired(what, false);
		}
	}
}

/* Only the version of a fork is left, and all numbers were given out. */
static void test_numbers_used_up(void **state)
{
	static const char counters[] = "\1counters", name[] = "fork";
	const uint64_t next = UINT64_C(1) << 27;
	const size_t name_len = sizeof(name) - 1;
	uint8_t value[24], number = 0;
	unsigned changed = 0;
	MDB_val k = {sizeof(counters) - 1, (void *)counters}, v;

	plant_begin("records", 0);
	assert_int_equal(mdb_get(plant.txn, plant.dbi, &k, &v), 0);
	assert_int_equal(v.mv_size, sizeof(value));
	memcpy(value, v.mv_data, sizeof(value));
	be64_put(value + 16, next + 5);
	v.mv_data = value;
	assert_int_equal(mdb_put(plant.txn, plant.dbi, &k, &v, 0), 0);
	for (uint8_t table = TABLE_NAME; table >= TABLE_STATE; table--) {
		k = (MDB_val){1, &table};
		plant.key = k;
		assert_int_equal(mdb_cursor_get(plant.cursor, &plant.key,
		                                &plant.value, MDB_SET_RANGE),
		                 0);
		do {
			const uint8_t *key = plant.key.mv_data;

			if (table == TABLE_NAME &&
			    (plant.key.mv_size != 9 + name_len ||
			     memcmp(key + 9, name, name_len) != 0))
				continue;
			if (table == TABLE_STATE && key[8] != number)
				continue;
			if (table == TABLE_NAME)
				number = *(uint8_t *)plant.value.mv_data;
			assert_int_equal(mdb_cursor_del(plant.cursor, 0), 0);
			changed++;
			break;
		} while (plant_next());
	}
	plant_end();
	assert_int_equal(changed, 2);
	expect_repaired("used up", false);
	plant_reopen("records", 0);
	k = (MDB_val){sizeof(counters) - 1, (void *)counters};
	assert_int_equal(mdb_get(plant.txn, plant.dbi, &k, &v), 0);
	assert_true(be64_get((uint8_t *)v.mv_data + 16) >= next);
	plant_end();
}

/* ---- In the trees ------------------------------------------------------- */

static void kind_remove(struct tree *tree, uint64_t ino, uint8_t kind)
{
	struct key key = {ino, kind, 0};
	struct item item;

	assert_int_equal(tree_seek(tree, &key, &item), 0);
	assert_int_equal(item.key.kind, kind);
	key = item.key;
	assert_int_equal(tree_del(tree, &key), 0);
}

static void plant_item(struct tree *tree, int n)
{
	struct inode linked = tree_inode_get(tree, intact.linked);
	struct inode plain = tree_inode_get(tree, intact.plain);
	struct inode dir = tree_inode_get(tree, intact.dir);
	struct key orphan = {0, ITEM_ORPHAN, 999};
	struct key garbage = {intact.dir, ITEM_DIRENT, 12345 << 4};
	struct key kind = {intact.dir, 13, 0}, extent = {intact.copy, 0, 0};
	struct item item;

	switch (n) {
	case 0:
		linked.nlink++;
		tree_inode_set(tree, intact.linked, &linked);
		break;
	case 1:
		linked.nlink = 0;
		tree_inode_set(tree, intact.linked, &linked);
		break;
	case 2:
		dir.size--;
		tree_inode_set(tree, intact.dir, &dir);
		break;
	case 3:
		plain.size = 10;
		plain.blocks += 8;
		tree_inode_set(tree, intact.plain, &plain);
		break;
	case 4:
		linked.mode = (linked.mode & 07777) | S_IFIFO;
		tree_inode_set(tree, intact.linked, &linked);
		break;
	case 5:
		kind_remove(tree, intact.linked, ITEM_INODE);
		break;
	case 6:
		kind_remove(tree, intact.linked, ITEM_BACKREF);
		break;
	case 7:
		kind_remove(tree, intact.dir, ITEM_DIRENT);
		break;
	case 8:
		kind_remove(tree, intact.copy, ITEM_EXTENT);
		break;
	case 9:
		kind_remove(tree, intact.tagged, ITEM_XATTR);
		break;
	case 10:
		assert_int_equal(tree_put(tree, &garbage, "\xff\xff", 2), 0);
		break;
	case 11:
		assert_int_equal(tree_put(tree, &kind, "x", 1), 0);
		break;
	case 12:
		assert_int_equal(tree_put(tree, &orphan, "", 0), 0);
		break;
	case 13: /* a directory that only its entries are left of */
		kind_remove(tree, intact.dir, ITEM_INODE);
		break;
	case 14:
		kind_remove(tree, INO_ROOT, ITEM_INODE);
		break;
	case 15:
		extent.kind = ITEM_EXTENT;
		assert_int_equal(tree_seek(tree, &extent, &item), 0);
		tree_drop(tree, item_chunk(&item));
		break;
	case 16: /* a file without any name: both ends */
		kind_remove(tree, intact.tagged, ITEM_BACKREF);
		garbage = (struct key){intact.dir, ITEM_DIRENT, 0};
		while (!tree_seek(tree, &garbage, &item) &&
		       item.key.ino == intact.dir) {
			struct dirent_item d;

			garbage = item.key;
			assert_int_equal(
			        dirent_decode(item.value, item.len, &d), 0);
			if (d.ino == intact.tagged) {
				assert_int_equal(tree_del(tree, &garbage), 0);
				break;
			}
			garbage.off++;
		}
		break;
	}
}

static void test_items(void **state)
{
	/* Once where all is the tree's own, once where it is shared. */
	for (int i = 0; i < 2 * 17; i++) {
		char what[40];
		struct work w = {0};
		struct state *s;
		struct tree *tree;
		bool found = false;

		intact_restore();
		work_open(&w, intact.scratch.store);
		if (i % 2)
			state_make(&w, "tuesday", true);
		store_lock(w.store);
		assert_int_equal(state_get(w.forest, intact.main, &s), 0);
		assert_int_equal(state_edit(s, &tree), 0);
		plant_item(tree, i / 2);
		store_unlock(w.store);
		work_close(&w);
		snprintf(what, sizeof(what), "item %d", i);
		expect_repaired(what, i % 5 == 0);
		if (i / 2 != 16)
			continue;
		for (size_t j = 0; j < rows.len; j++)
			found |= !strcmp(rows.at[j].kind, "moved") &&
			         !strncmp(rows.at[j].path, "/lost+found/#", 13);
		assert_true(found);
	}
}

/* ---- Too much of it ----------------------------------------------------- */

/* Many nodes at once, at random: what can be kept is, and all is clean. */
static void test_many(void **state)
{
	uint64_t random = scratch_seed();
	uint64_t rounds = scratch_ops(20);

	for (uint64_t i = 0; i < rounds; i++) {
		struct repair_result result;
		int n = 0, hit = 1 + (int)(scratch_random(&random) % 8);
		int r;

		plant_begin("blocks", MDB_INTEGERKEY);
		do {
			if (plant_number() & 63 ||
			    scratch_random(&random) % 100 >= (unsigned)hit)
				continue;
			plant_flip(plant.value.mv_size / 2, 0x10);
			n++;
		} while (plant_next());
		plant_end();
		r = repair(false, &result);
		if (r)
			fail_msg("%d blocks damaged: %s", n, strerror(-r));
		if (result.kept)
			unlink(result.kept);
		free(result.kept);
		expect_intact("many");
	}
}

/* The same of stores with many states, that were used in every way. */
static void test_worked(void **state)
{
	uint64_t random = scratch_seed(), rounds = scratch_ops(3);
	uint8_t *bytes = intact.bytes;
	size_t len = intact.len;

	for (uint64_t i = 0; i < rounds; i++) {
		struct scratch scratch;
		struct work w;
		char path[120];
		struct stat st;
		int fd;

		scratch_init(&scratch);
		work_init(&w, scratch.store, random + i, NULL);
		for (int step = 0; step < 1500; step++)
			work_step(&w);
		work_close(&w);
		work_release(&w);
		snprintf(path, sizeof(path), "%s/data.mdb", scratch.store);
		fd = open(path, O_RDONLY);
		assert_int_equal(fstat(fd, &st), 0);
		intact.len = (size_t)st.st_size;
		intact.bytes = malloc(intact.len);
		assert_int_equal(read(fd, intact.bytes, intact.len),
		                 intact.len);
		close(fd);
		test_many(NULL);
		free(intact.bytes);
		scratch_release(&scratch);
	}
	intact.bytes = bytes;
	intact.len = len;
}

static int setup(void **state)
{
	int r = intact_setup(state);

	intact_restore();
	before = manifest_read(intact.scratch.store);
	return r;
}

static int teardown(void **state)
{
	manifest_release(&before);
	return intact_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nothing),
	        cmocka_unit_test(test_nodes),
	        cmocka_unit_test(test_chunks),
	        cmocka_unit_test(test_others),
	        cmocka_unit_test(test_lists),
	        cmocka_unit_test(test_records),
	        cmocka_unit_test(test_numbers_used_up),
	        cmocka_unit_test(test_items),
	        cmocka_unit_test(test_many),
	        cmocka_unit_test(test_worked),
	};

	/* Reserving a smaller map is quicker. */
	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
