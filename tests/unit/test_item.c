/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Items to bytes and back: every value there is comes back, no bytes confuse
 * the decoders, and names that collide find their places.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "item.h"
#include "range.h"
#include "scratch.h"
#include "util.h"

/* ---- In place of the store: a sorted row of items, and a poor hash ------- */

enum { ROW_MAX = 64 };
static struct {
	struct key key;
	uint8_t value[TREE_VALUE_MAX];
	uint32_t len;
} row[ROW_MAX];
static size_t row_len;
static uint64_t hash_result;

uint64_t store_hash(const struct store *store, const void *data, size_t len)
{
	(void)store, (void)data, (void)len;
	return hash_result;
}

static int order(const struct key *a, const struct key *b)
{
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->off < b->off ? -1 : a->off > b->off;
}

static int row_item(struct cursor *cursor, struct item *ret_item)
{
	size_t at = (size_t)cursor->depth;

	if (at >= row_len)
		return -ENOENT;
	*ret_item = (struct item){row[at].key, row[at].value, row[at].len};
	return 0;
}

int cursor_seek(struct cursor *cursor, struct tree *tree, const struct key *key,
                struct item *ret_item)
{
	(void)tree;
	cursor->depth = 0;
	while ((size_t)cursor->depth < row_len &&
	       order(&row[cursor->depth].key, key) < 0)
		cursor->depth++;
	return row_item(cursor, ret_item);
}

int cursor_next(struct cursor *cursor, struct item *ret_item)
{
	cursor->depth++;
	return row_item(cursor, ret_item);
}

static void row_put(uint64_t ino, uint8_t kind, uint64_t off, const void *value,
                    size_t len)
{
	struct key key = {ino, kind, off};
	size_t at = 0;

	assert_true(row_len < ROW_MAX);
	while (at < row_len && order(&row[at].key, &key) < 0)
		at++;
	memmove(&row[at + 1], &row[at], (row_len - at) * sizeof(row[0]));
	row[at].key = key;
	row[at].len = (uint32_t)len;
	memcpy(row[at].value, value, len);
	row_len++;
}

static void row_del(size_t at)
{
	row_len--;
	memmove(&row[at], &row[at + 1], (row_len - at) * sizeof(row[0]));
}

/* ---- Random values ------------------------------------------------------ */

static uint64_t rng;

static uint64_t below(uint64_t n)
{
	return scratch_random(&rng) % n;
}

/* Any number of bits, and the edges more often than not. */
static uint64_t any(unsigned bits)
{
	uint64_t max = UINT64_MAX >> (64 - bits);

	switch (below(6)) {
	case 0:
		return 0;
	case 1:
		return max;
	case 2:
		return below(3);
	default:
		return scratch_random(&rng) & max >> below(bits);
	}
}

static struct timestamp any_time(void)
{
	static const int64_t edges[] = {0, -1, INT64_MIN, INT64_MAX, 1};
	struct timestamp t = {(int64_t)any(64), (uint32_t)below(1000000000)};

	if (!below(3))
		t.sec = edges[below(ARRAY_SIZE(edges))];
	if (!below(4))
		t.nsec = below(2) ? 0 : 999999999;
	return t;
}

static struct inode any_inode(void)
{
	struct inode i = {
	        .mode = (uint32_t)any(32),
	        .nlink = (uint32_t)any(32),
	        .uid = (uint32_t)any(32),
	        .gid = (uint32_t)any(32),
	        .size = any(64),
	        .blocks = any(64),
	        .rdev = any(64),
	        .xattrs = (uint32_t)any(32),
	        .btime = any_time(),
	};

	if (below(2))
		i.mode = (below(2) ? S_IFREG : S_IFDIR) | 0644;
	if (below(2))
		i.gid = i.uid;
	if (below(2))
		i.nlink = 1;
	if (below(2))
		i.blocks = (i.size + 511) / 512;
	i.mtime = below(2) ? i.btime : any_time();
	i.ctime = below(2) ? i.mtime : any_time();
	i.atime = below(3) ? below(2) ? i.btime : i.mtime : any_time();
	return i;
}

static void assert_time(const struct timestamp *a, const struct timestamp *b)
{
	assert_true(a->sec == b->sec);
	assert_int_equal(a->nsec, b->nsec);
}

static void assert_inode(const struct inode *a, const struct inode *b)
{
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->nlink, b->nlink);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_true(a->size == b->size);
	assert_true(a->blocks == b->blocks);
	assert_true(a->rdev == b->rdev);
	assert_int_equal(a->xattrs, b->xattrs);
	assert_time(&a->atime, &b->atime);
	assert_time(&a->mtime, &b->mtime);
	assert_time(&a->ctime, &b->ctime);
	assert_time(&a->btime, &b->btime);
}

/* ---- Inodes ------------------------------------------------------------- */

static void test_inode_round_trip(void **state)
{
	(void)state;
	for (int n = 0; n < 200000; n++) {
		uint8_t bytes[INODE_LEN_MAX + 1] = {0};
		struct inode in = any_inode(), out;
		size_t len = inode_encode(&in, bytes);

		assert_uint_in_range(len, 1, INODE_LEN_MAX);
		assert_int_equal(inode_decode(bytes, len, &out), 0);
		assert_inode(&in, &out);
		/* Exactly one inode: no more, no less. */
		assert_int_equal(inode_decode(bytes, len + 1, &out), -EUCLEAN);
		assert_int_equal(inode_decode(bytes, below(len), &out),
		                 -EUCLEAN);
	}
}

static void test_inode_is_small(void **state)
{
	uint8_t bytes[INODE_LEN_MAX];
	struct timestamp made = {1700000000, 123456789};
	struct timestamp written = {1700000000, 987654321};
	struct inode i = {
	        .mode = S_IFREG | 0644,
	        .nlink = 1,
	        .uid = 1000,
	        .gid = 1000,
	        .size = 1000,
	        .blocks = 2,
	        .btime = made,
	        .atime = made,
	        .mtime = made,
	        .ctime = made,
	};

	(void)state;
	assert_uint_in_range(inode_encode(&i, bytes), 1, 18);
	i.mtime = i.ctime = written;
	assert_uint_in_range(inode_encode(&i, bytes), 1, 23);
	i.uid = i.gid = 0;
	assert_uint_in_range(inode_encode(&i, bytes), 1, 22);
}

static void test_inode_refuses(void **state)
{
	uint8_t bytes[INODE_LEN_MAX];
	struct inode i = {.mode = S_IFREG, .nlink = 1};
	size_t len = inode_encode(&i, bytes);

	(void)state;
	bytes[0] |= 0x80;
	assert_int_equal(inode_decode(bytes, len, &i), -EUCLEAN);
	bytes[0] &= 0x7f;
	bytes[1] |= 0x10;
	assert_int_equal(inode_decode(bytes, len, &i), -EUCLEAN);
	bytes[1] = 0;
	/* A thousand million nanoseconds. */
	be32_put(bytes + len - 4, 1000000000);
	assert_int_equal(inode_decode(bytes, len, &i), -EUCLEAN);
	be32_put(bytes + len - 4, 999999999);
	assert_int_equal(inode_decode(bytes, len, &i), 0);
}

/* ---- The others --------------------------------------------------------- */

static const char *any_name(uint8_t *ret_len)
{
	static char name[NAME_LEN_MAX];
	size_t len = below(4) ? 1 + below(20) : 1 + below(NAME_LEN_MAX);

	for (size_t i = 0; i < len; i++)
		do
			name[i] = (char)below(256);
		while (!name[i] || name[i] == '/');
	if (name[0] == '.')
		name[0] = 'x';
	*ret_len = (uint8_t)len;
	return name;
}

static void test_dirent_round_trip(void **state)
{
	(void)state;
	for (int n = 0; n < 50000; n++) {
		uint8_t bytes[TREE_VALUE_MAX];
		struct dirent_item in = {.ino = any(36),
		                         .type = (uint8_t)below(16)};
		struct dirent_item out;
		size_t len;

		in.name = any_name(&in.name_len);
		len = dirent_encode(&in, bytes);
		if (!in.ino) {
			assert_int_equal(len, 0);
			continue;
		}
		assert_int_equal(dirent_decode(bytes, len, &out), 0);
		assert_true(out.ino == in.ino);
		assert_int_equal(out.type, in.type);
		assert_int_equal(out.name_len, in.name_len);
		assert_memory_equal(out.name, in.name, in.name_len);
	}
}

static void test_backref_round_trip(void **state)
{
	(void)state;
	for (int n = 0; n < 50000; n++) {
		uint8_t bytes[TREE_VALUE_MAX];
		struct backref_item in = {.parent = any(36)}, out;
		size_t len;

		in.name = any_name(&in.name_len);
		len = backref_encode(&in, bytes);
		if (!in.parent) {
			assert_int_equal(len, 0);
			continue;
		}
		assert_int_equal(backref_decode(bytes, len, &out), 0);
		assert_true(out.parent == in.parent);
		assert_int_equal(out.name_len, in.name_len);
		assert_memory_equal(out.name, in.name, in.name_len);
	}
}

static void test_xattr_round_trip(void **state)
{
	static uint8_t value[XATTR_INLINE_MAX];

	(void)state;
	for (int n = 0; n < 50000; n++) {
		uint8_t bytes[TREE_VALUE_MAX];
		struct xattr_item in = {.chunk = any(58)}, out;
		struct item item = {{16, ITEM_XATTR, 16}, bytes, 0};
		size_t len;

		in.name = any_name(&in.name_len);
		in.len = (uint32_t)below(
		        (in.chunk ? XATTR_VALUE_MAX : XATTR_INLINE_MAX) + 1);
		in.value = value;
		for (size_t i = 0; i < sizeof(value); i++)
			value[i] = (uint8_t)below(256);
		len = xattr_encode(&in, bytes);
		item.len = (uint32_t)len;
		assert_int_equal(xattr_decode(bytes, len, &out), 0);
		assert_true(item_chunk(&item) == in.chunk);
		assert_int_equal(out.name_len, in.name_len);
		assert_memory_equal(out.name, in.name, in.name_len);
		assert_int_equal(out.len, in.len);
		assert_true(out.chunk == in.chunk);
		if (!in.chunk)
			assert_memory_equal(out.value, in.value, in.len);
	}
}

static void test_extent_round_trip(void **state)
{
	static uint8_t data[EXTENT_INLINE_MAX];

	(void)state;
	for (int n = 0; n < 50000; n++) {
		uint8_t bytes[TREE_VALUE_MAX];
		struct extent in = {.kind = (uint8_t)(1 + below(3)),
		                    .data = data};
		struct item item = {{16, ITEM_EXTENT, 0}, bytes, 0};
		struct extent out;
		size_t len;

		in.len = (uint32_t)(in.kind == EXTENT_INLINE
		                            ? below(EXTENT_INLINE_MAX + 1)
		                            : below((1 << 17) + 1));
		if (in.kind == EXTENT_CHUNK)
			in.chunk = 1 + any(57);
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)below(256);
		len = extent_encode(&in, bytes);
		item.len = (uint32_t)len;
		assert_int_equal(extent_decode(bytes, len, &out), 0);
		assert_int_equal(out.kind, in.kind);
		assert_int_equal(out.len, in.len);
		assert_true(out.chunk == in.chunk);
		assert_true(item_chunk(&item) == in.chunk);
		if (in.kind == EXTENT_INLINE)
			assert_memory_equal(out.data, data, in.len);
	}
}

static void test_encoders_refuse(void **state)
{
	uint8_t bytes[TREE_VALUE_MAX];
	struct dirent_item d = {
	        .ino = UINT64_C(1) << 36, .name = "a", .name_len = 1};
	struct xattr_item x = {.name = "a",
	                       .name_len = 1,
	                       .len = XATTR_INLINE_MAX + 1,
	                       .value = bytes};
	struct extent e = {.kind = EXTENT_INLINE,
	                   .len = EXTENT_INLINE_MAX + 1,
	                   .data = bytes};

	(void)state;
	assert_int_equal(dirent_encode(&d, bytes), 0);
	d.ino = 1;
	d.name_len = 0;
	assert_int_equal(dirent_encode(&d, bytes), 0);
	assert_int_equal(xattr_encode(&x, bytes), 0);
	x.chunk = 7;
	x.len = XATTR_VALUE_MAX + 1;
	assert_int_equal(xattr_encode(&x, bytes), 0);
	assert_int_equal(extent_encode(&e, bytes), 0);
	e.kind = EXTENT_CHUNK;
	e.len = 1;
	assert_int_equal(extent_encode(&e, bytes), 0);
	e.kind = 0;
	assert_int_equal(extent_encode(&e, bytes), 0);
}

/* Names that would mislead the kernel are damage. */
static void test_bad_names(void **state)
{
	static const struct {
		const char *name;
		uint8_t len;
		bool file, xattr;
	} names[] = {
	        {"a", 1, true, true},      {"a/b", 3, false, true},
	        {"a\0b", 3, false, false}, {".", 1, false, true},
	        {"..", 2, false, true},    {"...", 3, true, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint8_t bytes[TREE_VALUE_MAX];
		struct dirent_item d = {.ino = 20,
		                        .name = names[i].name,
		                        .name_len = names[i].len};
		struct backref_item b = {.parent = 20,
		                         .name = names[i].name,
		                         .name_len = names[i].len};
		struct xattr_item x = {.name = names[i].name,
		                       .name_len = names[i].len};
		int file = names[i].file ? 0 : -EUCLEAN;
		int xattr = names[i].xattr ? 0 : -EUCLEAN;
		size_t len = dirent_encode(&d, bytes);

		assert_int_equal(dirent_decode(bytes, len, &d), file);
		len = backref_encode(&b, bytes);
		assert_int_equal(backref_decode(bytes, len, &b), file);
		len = xattr_encode(&x, bytes);
		assert_int_equal(xattr_decode(bytes, len, &x), xattr);
	}
}

/* Any bytes are answered, within their bounds (the sanitizers look). */
static void test_garbage(void **state)
{
	(void)state;
	for (int n = 0; n < 300000; n++) {
		size_t len = below(8) ? below(40) : below(TREE_VALUE_MAX + 1);
		_cleanup_free_ uint8_t *bytes = malloc(len ? len : 1);
		struct inode inode;
		struct dirent_item d;
		struct backref_item b;
		struct xattr_item x;
		struct extent e;
		int r;

		assert_non_null(bytes);
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)(below(3) ? below(8) : below(256));
		r = inode_decode(bytes, len, &inode);
		assert_true(!r || r == -EUCLEAN);
		r = dirent_decode(bytes, len, &d);
		assert_true(!r || r == -EUCLEAN);
		if (!r)
			assert_true((const uint8_t *)d.name + d.name_len ==
			            bytes + len);
		r = backref_decode(bytes, len, &b);
		assert_true(!r || r == -EUCLEAN);
		r = xattr_decode(bytes, len, &x);
		assert_true(!r || r == -EUCLEAN);
		if (!r && !x.chunk)
			assert_true(x.value + x.len == bytes + len);
		r = extent_decode(bytes, len, &e);
		assert_true(!r || r == -EUCLEAN);
		if (!r && e.kind == EXTENT_INLINE)
			assert_true(e.data + e.len == bytes + len);
	}
}

/* ---- Places of names ---------------------------------------------------- */

static uint64_t slot_put(uint64_t ino, const char *name)
{
	uint8_t bytes[TREE_VALUE_MAX];
	struct dirent_item d = {.ino = 99,
	                        .type = 8,
	                        .name = name,
	                        .name_len = (uint8_t)strlen(name)};
	struct tree tree = {0};
	uint64_t off;

	assert_int_equal(
	        slot_free(&tree, ino, ITEM_DIRENT, 0, name, strlen(name), &off),
	        0);
	row_put(ino, ITEM_DIRENT, off, bytes, dirent_encode(&d, bytes));
	return off;
}

static int slot_get(uint64_t ino, const char *name, uint64_t *ret_off)
{
	struct tree tree = {0};
	struct item item;
	int r = slot_find(&tree, ino, ITEM_DIRENT, 0, name, strlen(name),
	                  &item);

	if (!r)
		*ret_off = item.key.off;
	return r;
}

static void test_slots_collide(void **state)
{
	static const uint64_t hashes[] = {0, 15, 16, UINT64_MAX,
	                                  0x123456789abcdef0};
	struct tree tree = {0};
	uint64_t off, first;
	char name[16];

	(void)state;
	for (size_t h = 0; h < ARRAY_SIZE(hashes); h++) {
		hash_result = hashes[h];
		row_len = 0;
		first = slot_put(20, "n0");
		assert_true(first >= 16 && first % 16 == 0);
		assert_true(first < UINT64_C(1) << 63);
		/* Neighbours that are no places of the name. */
		row_put(20, ITEM_DIRENT, first + 16, "\x11x", 2);
		row_put(20, ITEM_EXTENT, first, "", 0);
		row_put(21, ITEM_DIRENT, first, "\x11x", 2);
		for (int i = 1; i < SLOT_PROBES; i++) {
			snprintf(name, sizeof(name), "n%d", i);
			assert_int_equal(slot_put(20, name), first + i);
		}
		assert_int_equal(
		        slot_free(&tree, 20, ITEM_DIRENT, 0, "more", 4, &off),
		        -ENOSPC);
		for (int i = 0; i < SLOT_PROBES; i++) {
			snprintf(name, sizeof(name), "n%d", i);
			assert_int_equal(slot_get(20, name, &off), 0);
			assert_int_equal(off, first + i);
		}
		assert_int_equal(slot_get(20, "more", &off), -ENOENT);
		assert_int_equal(slot_get(22, "n0", &off), -ENOENT);
		assert_int_equal(
		        slot_free(&tree, 20, ITEM_DIRENT, 0, "n7", 2, &off),
		        -EEXIST);
		/* A place in the middle comes free: those behind stay found. */
		row_del(5);
		assert_int_equal(slot_get(20, "n5", &off), -ENOENT);
		assert_int_equal(slot_get(20, "n9", &off), 0);
		assert_int_equal(slot_put(20, "again"), first + 5);
	}
}

static void test_slots_of_backrefs(void **state)
{
	uint8_t bytes[TREE_VALUE_MAX];
	struct backref_item b = {.parent = 30, .name = "a", .name_len = 1};
	struct tree tree = {0};
	struct item item;
	uint64_t off;

	(void)state;
	row_len = 0;
	hash_result = 1024;
	row_put(20, ITEM_BACKREF, 1024, bytes, backref_encode(&b, bytes));
	assert_int_equal(slot_find(&tree, 20, ITEM_BACKREF, 30, "a", 1, &item),
	                 0);
	assert_int_equal(slot_find(&tree, 20, ITEM_BACKREF, 31, "a", 1, &item),
	                 -ENOENT);
	assert_int_equal(slot_free(&tree, 20, ITEM_BACKREF, 31, "a", 1, &off),
	                 0);
	assert_int_equal(off, 1025);
	/* Damage is not passed over: the name may be behind it. */
	row[0].len = 0;
	assert_int_equal(slot_find(&tree, 20, ITEM_BACKREF, 30, "a", 1, &item),
	                 -EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_inode_round_trip),
	        cmocka_unit_test(test_inode_is_small),
	        cmocka_unit_test(test_inode_refuses),
	        cmocka_unit_test(test_dirent_round_trip),
	        cmocka_unit_test(test_backref_round_trip),
	        cmocka_unit_test(test_xattr_round_trip),
	        cmocka_unit_test(test_extent_round_trip),
	        cmocka_unit_test(test_encoders_refuse),
	        cmocka_unit_test(test_bad_names),
	        cmocka_unit_test(test_garbage),
	        cmocka_unit_test(test_slots_collide),
	        cmocka_unit_test(test_slots_of_backrefs),
	};

	rng = scratch_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
