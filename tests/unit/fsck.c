/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads everything twice: raw from the file, and through the trees. */
#include "fsck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>

#include "engine.h"
#include "node_codec.h"
#include "forest.h"

/* ---- Sets of numbers ---------------------------------------------------- */

struct numbers {
	uint64_t *at;
	size_t len, capacity;
};

static void numbers_add(struct numbers *n, uint64_t number)
{
	if (n->len == n->capacity) {
		n->capacity = n->capacity ? n->capacity * 2 : 64;
		n->at = realloc(n->at, n->capacity * sizeof(*n->at));
		assert_non_null(n->at);
	}
	n->at[n->len++] = number;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void numbers_sort(struct numbers *n)
{
	size_t len = 0;

	if (!n->len)
		return;
	qsort(n->at, n->len, sizeof(*n->at), compare_u64);
	for (size_t i = 1; i < n->len; i++)
		if (n->at[i] != n->at[len])
			n->at[++len] = n->at[i];
	n->len = len + 1;
}

static bool numbers_have(const struct numbers *n, uint64_t number)
{
	return n->len &&
	       bsearch(&number, n->at, n->len, sizeof(*n->at), compare_u64);
}

static void numbers_equal(const struct numbers *a, const struct numbers *b,
                          const char *what, uint64_t id)
{
	for (size_t i = 0; i < a->len || i < b->len; i++) {
		uint64_t x = i < a->len ? a->at[i] : UINT64_MAX;
		uint64_t y = i < b->len ? b->at[i] : UINT64_MAX;

		if (x != y)
			fail_msg("%s (%llu): block %llu is %s", what,
			         (unsigned long long)id,
			         (unsigned long long)(x < y ? x : y),
			         x < y ? "missing" : "left over");
	}
}

/* ---- The file ----------------------------------------------------------- */

struct pair {
	uint64_t number, value;
};

struct pairs {
	struct pair *at;
	size_t len, capacity;
};

struct fsck {
	struct pairs blocks;  /* number, stored bytes; ascending */
	struct pairs aliases; /* number, target; ascending */
	struct pairs entries; /* list, number; ascending */
	struct pairs nodes;   /* number, its base or 0; ascending */
	struct pairs counts;  /* number, count; ascending */
};

static void pairs_add(struct pairs *p, uint64_t number, uint64_t value)
{
	if (p->len == p->capacity) {
		p->capacity = p->capacity ? p->capacity * 2 : 64;
		p->at = realloc(p->at, p->capacity * sizeof(*p->at));
		assert_non_null(p->at);
	}
	p->at[p->len++] = (struct pair){number, value};
}

static const struct pair *pairs_find(const struct pairs *p, uint64_t number)
{
	return p->len ? bsearch(&number, p->at, p->len, sizeof(*p->at),
	                        compare_u64)
	              : NULL;
}

static MDB_cursor *table_open(MDB_txn *txn, const char *name, unsigned flags)
{
	MDB_cursor *cursor;
	MDB_dbi dbi;

	assert_int_equal(mdb_dbi_open(txn, name, flags, &dbi), 0);
	assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
	return cursor;
}

static uint64_t native_u64(const MDB_val *v)
{
	uint64_t n;

	assert_int_equal(v->mv_size, sizeof(n));
	memcpy(&n, v->mv_data, sizeof(n));
	return n;
}

static void read_blocks(struct fsck *fsck, MDB_txn *txn)
{
	MDB_cursor *cursor = table_open(txn, "blocks", MDB_INTEGERKEY);
	struct pairs *p = &fsck->blocks;
	MDB_val k, v;

	while (!mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		uint64_t number = native_u64(&k) >> 6;

		if (!p->len || p->at[p->len - 1].number != number) {
			pairs_add(p, number, 0);
			if (block_tag_is_node(&v))
				pairs_add(&fsck->nodes, number,
				          node_stored_base(&v));
		}
		p->at[p->len - 1].value += v.mv_size;
	}
	mdb_cursor_close(cursor);
}

static void read_dedup_refs(struct fsck *fsck, MDB_txn *txn)
{
	MDB_cursor *cursor = table_open(txn, "aliases", MDB_INTEGERKEY);
	MDB_val k, v;

	while (!mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
		pairs_add(&fsck->aliases, native_u64(&k), be64_get(v.mv_data));
	mdb_cursor_close(cursor);
	cursor = table_open(txn, "counts", MDB_INTEGERKEY);
	while (!mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
		pairs_add(&fsck->counts, native_u64(&k), be64_get(v.mv_data));
	mdb_cursor_close(cursor);
}

static void read_lists(struct fsck *fsck, MDB_txn *txn)
{
	MDB_cursor *cursor = table_open(txn, "lists", 0);
	MDB_val k, v;

	while (!mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct reader r = reader_init(v.mv_data, v.mv_size);
		uint64_t list = be64_get(k.mv_data);
		uint64_t number = be64_get((const uint8_t *)k.mv_data + 8);
		uint64_t count;

		if (!number)
			continue; /* the usage record */
		count = get_varint(&r);
		get_varint(&r);
		for (uint64_t i = 0; i < count; i++) {
			number += get_varint(&r);
			get_varint(&r);
			pairs_add(&fsck->entries, list, number);
		}
		assert_true(reader_done(&r));
	}
	mdb_cursor_close(cursor);
}

struct fsck *fsck_read(const char *path)
{
	struct fsck *fsck = calloc(1, sizeof(*fsck));
	MDB_env *env;
	MDB_txn *txn;

	assert_non_null(fsck);
	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 8);
	mdb_env_set_mapsize(env, (size_t)1 << 36);
	assert_int_equal(mdb_env_open(env, path, MDB_RDONLY, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	read_blocks(fsck, txn);
	read_dedup_refs(fsck, txn);
	read_lists(fsck, txn);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	return fsck;
}

void fsck_destroy(struct fsck *fsck)
{
	if (!fsck)
		return;
	free(fsck->blocks.at);
	free(fsck->aliases.at);
	free(fsck->entries.at);
	free(fsck->nodes.at);
	free(fsck->counts.at);
	free(fsck);
}

uint64_t fsck_blocks(const struct fsck *fsck)
{
	return fsck->blocks.len;
}

uint64_t fsck_list_entries(const struct fsck *fsck)
{
	return fsck->entries.len;
}

uint64_t fsck_shared(const struct fsck *fsck)
{
	uint64_t shared = fsck->aliases.len;

	for (size_t i = 0; i < fsck->counts.len; i++)
		shared += !pairs_find(&fsck->nodes, fsck->counts.at[i].number);
	return shared;
}

/* ---- The lineage -------------------------------------------------------- */

struct node_of_lineage {
	struct version v; /* as its record has it */
	uint64_t children, children_xor, same, refs;
	struct numbers reach; /* blocks of its tree, chunks included */
};

struct lineage {
	struct forest *forest;
	struct node_of_lineage *at; /* by ascending id */
	size_t len, capacity;
};

static struct node_of_lineage *lineage_find(struct lineage *l, uint64_t id)
{
	size_t low = 0, high = l->len;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (l->at[mid].v.id < id)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == l->len || l->at[low].v.id != id)
		fail_msg("version %llu is named and not there",
		         (unsigned long long)id);
	return &l->at[low];
}

static bool reach_enter(void *arg, uint64_t number, int level, bool is_private)
{
	(void)level, (void)is_private;
	numbers_add(arg, number);
	return true;
}

static void reach_item(void *arg, uint64_t number, const struct item *item)
{
	uint64_t chunk = item_chunk(item);

	(void)number;
	if (chunk)
		numbers_add(arg, chunk);
}

static void reach_damage(void *arg, uint64_t number, int level,
                         const char *what)
{
	(void)arg;
	fail_msg("node %llu, level %d: %s", (unsigned long long)number, level,
	         what);
}

static void lineage_read(struct lineage *l)
{
	struct store *store = forest_store(l->forest);
	struct record record = {0};

	while (!table_next(store, TABLE_VERSION, record.key, record.key_len,
	                   &record)) {
		struct node_of_lineage n = {0};
		struct key from = {0};
		struct tree_checker checker = {reach_enter, reach_item,
		                               reach_damage, &n.reach};

		assert_int_equal(record.key_len, 8);
		n.v.id = be64_get(record.key);
		n.v.tree.store = store;
		n.v.tree.owner = n.v.id;
		assert_int_equal(version_decode(record.value, record.len, &n.v),
		                 0);
		assert_int_equal(tree_check(&n.v.tree, &from, 0, &checker), 0);
		numbers_sort(&n.reach);
		if (l->len == l->capacity) {
			l->capacity = l->capacity ? l->capacity * 2 : 64;
			l->at = realloc(l->at, l->capacity * sizeof(*l->at));
			assert_non_null(l->at);
		}
		l->at[l->len++] = n;
	}
}

/* Unchanged heads in the trash are not counted by their parents. */
static void trash_count(struct lineage *l)
{
	struct trash_walk walk = {0};
	struct state *s;

	while (!trash_next(l->forest, &walk, &s)) {
		const struct version *v = s->version;
		struct node_of_lineage *parent =
		        v->parent ? lineage_find(l, v->parent) : NULL;

		if (parent && !v->freeze && v->tree.root == parent->v.tree.root)
			parent->same--;
	}
}

/*
 * A hollow version has what is left for its children: what one of them has and
 * is not newer than it.  Children come behind their parents.
 */
static void hollow_reach(struct lineage *l)
{
	for (size_t i = l->len; i-- > 0;) {
		struct node_of_lineage *n = &l->at[i];

		for (size_t j = 0; n->v.hollow && j < l->len; j++) {
			const struct numbers *reach = &l->at[j].reach;

			if (l->at[j].v.parent != n->v.id)
				continue;
			for (size_t k = 0; k < reach->len; k++)
				if (reach->at[k] <= n->v.freeze)
					numbers_add(&n->reach, reach->at[k]);
		}
		if (n->v.hollow)
			numbers_sort(&n->reach);
	}
}

static void lineage_count(struct lineage *l)
{
	struct store *store = forest_store(l->forest);
	struct record record = {0};
	uint64_t states = 0;

	for (size_t i = 0; i < l->len; i++) {
		struct node_of_lineage *n = &l->at[i], *parent;

		if (!n->v.parent)
			continue;
		parent = lineage_find(l, n->v.parent);
		parent->children++;
		parent->children_xor ^= n->v.id;
		if (!n->v.freeze && n->v.tree.root == parent->v.tree.root)
			parent->same++;
	}
	trash_count(l);
	while (!table_next(store, TABLE_STATE, record.key, record.key_len,
	                   &record)) {
		struct state s = {0};
		uint64_t id;

		assert_int_equal(
		        state_decode(record.value, record.len, &s, &id), 0);
		assert_false(s.flags & STATE_DELETING);
		lineage_find(l, id)->refs++;
		states++;
	}
	assert_int_equal(states, forest_count(l->forest) +
	                                 l->forest->meta.trashed +
	                                 l->forest->meta.trashed_snapshots);
	assert_int_equal(forest_backlog(l->forest), 0);
	record.key_len = 0;
	assert_int_equal(table_next(store, TABLE_TASK, record.key, 0, &record),
	                 -ENOENT);
}

static void lineage_check(struct lineage *l)
{
	for (size_t i = 0; i < l->len; i++) {
		struct node_of_lineage *n = &l->at[i];
		uint64_t base = 0;

		assert_int_equal(n->v.children, n->children);
		assert_int_equal(n->v.children_xor, n->children_xor);
		assert_int_equal(n->v.same, n->same);
		assert_int_equal(n->v.refs, n->refs);
		/* Drained: what nobody names has several children. */
		if (!n->refs)
			assert_true(n->v.freeze && n->children > 1);
		if (!n->v.freeze)
			assert_int_equal(n->refs, 1);
		if (n->v.parent)
			base = lineage_find(l, n->v.parent)->v.freeze;
		assert_int_equal(n->v.tree.base, base);
	}
}

/* A version's list: what its parent's tree has and its own has not. */
static void lists_check(const struct fsck *fsck, struct lineage *l)
{
	uint64_t entries = 0;

	for (size_t i = 0; i < l->len; i++) {
		struct node_of_lineage *n = &l->at[i];
		struct numbers is = {0}, should = {0};
		struct list_info info;

		for (size_t j = 0; j < fsck->entries.len; j++)
			if (fsck->entries.at[j].number == n->v.tree.list)
				numbers_add(&is, fsck->entries.at[j].value);
		entries += is.len;
		assert_int_equal(list_info(forest_store(l->forest),
		                           n->v.tree.list, &info),
		                 0);
		assert_int_equal(info.entries, is.len);
		numbers_sort(&is);
		assert_int_equal(info.entries, is.len);
		if (n->v.parent) {
			struct numbers *above =
			        &lineage_find(l, n->v.parent)->reach;

			for (size_t j = 0; j < above->len; j++)
				if (!numbers_have(&n->reach, above->at[j]))
					numbers_add(&should, above->at[j]);
		}
		numbers_equal(&should, &is, "deadlist of version", n->v.id);
		free(is.at);
		free(should.at);
	}
	/* No lists but these. */
	assert_int_equal(entries, fsck->entries.len);
}

/* Nodes that others are packed with are there, too, and counted. */
static void bases_check(const struct fsck *fsck, const struct numbers *reach,
                        struct numbers *stored)
{
	const struct pairs *nodes = &fsck->nodes;
	uint64_t *needs = calloc(nodes->len + 1, sizeof(*needs));

	assert_non_null(needs);
	for (size_t i = 0; i < nodes->len; i++) {
		const struct pair *base = pairs_find(nodes, nodes->at[i].value);

		needs[i] += numbers_have(reach, nodes->at[i].number);
		if (!nodes->at[i].value)
			continue;
		assert_non_null(base);
		assert_int_equal(base->value, 0);
		assert_true(numbers_have(reach, nodes->at[i].number));
		numbers_add(stored, base->number);
		needs[base - nodes->at]++;
	}
	numbers_sort(stored);
	for (size_t i = 0; i < nodes->len; i++) {
		const struct pair *count =
		        pairs_find(&fsck->counts, nodes->at[i].number);

		assert_int_equal(needs[i], count ? count->value : 1);
	}
	free(needs);
}

/* Check that all blocks that can be reached are stored, and no others. */
static void blocks_check(const struct fsck *fsck, struct lineage *l)
{
	struct numbers reach = {0}, stored = {0}, is = {0};
	size_t aliases = 0;

	for (size_t i = 0; i < l->len; i++)
		for (size_t j = 0; j < l->at[i].reach.len; j++)
			numbers_add(&reach, l->at[i].reach.at[j]);
	numbers_sort(&reach);
	for (size_t i = 0; i < reach.len; i++) {
		const struct pair *alias =
		        pairs_find(&fsck->aliases, reach.at[i]);

		aliases += alias != NULL;
		numbers_add(&stored, alias ? alias->value : reach.at[i]);
	}
	numbers_sort(&stored);
	bases_check(fsck, &reach, &stored);
	for (size_t i = 0; i < fsck->blocks.len; i++)
		numbers_add(&is, fsck->blocks.at[i].number);
	numbers_equal(&stored, &is, "blocks", 0);
	assert_int_equal(aliases, fsck->aliases.len);
	free(reach.at);
	free(stored.at);
	free(is.at);
}

/* The bytes a version is charged with are those of the blocks it made. */
static void accounts_check(const struct fsck *fsck, struct lineage *l)
{
	if (fsck_shared(fsck))
		return; /* whose a shared chunk is depends on who came first */
	for (size_t i = 0; i < l->len; i++) {
		struct node_of_lineage *n = &l->at[i];
		struct list_info info;
		uint64_t bytes = 0;

		for (size_t j = 0; j < n->reach.len; j++)
			if (n->reach.at[j] > n->v.tree.base)
				bytes += pairs_find(&fsck->blocks,
				                    n->reach.at[j])
				                 ->value;
		assert_int_equal(
		        list_info(forest_store(l->forest), n->v.id, &info), 0);
		assert_int_equal(info.unique_bytes, bytes);
	}
}

void fsck_check(const struct fsck *fsck, struct forest *forest)
{
	struct lineage l = {.forest = forest};

	store_lock(forest_store(forest));
	lineage_read(&l);
	hollow_reach(&l);
	lineage_count(&l);
	lineage_check(&l);
	lists_check(fsck, &l);
	blocks_check(fsck, &l);
	accounts_check(fsck, &l);
	store_unlock(forest_store(forest));
	for (size_t i = 0; i < l.len; i++)
		free(l.at[i].reach.at);
	free(l.at);
}
