/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Databases that this version of the program does not know.  They are read page
 * by page, because LMDB has handles for the known ones only.
 */
#include <errno.h>

#include "disk_env.h"
#include "engine.h"
#include "view.h"
#include "view_page.h"

enum {
	NAMES = 1,       /* LMDB's database of databases */
	PIECE = 8 << 20, /* bytes that one transaction copies */
};

typedef int database_fn(void *arg, const char *name,
                        const struct page_tree *tree);

static bool is_known(const struct disk *disk, const MDB_val *name)
{
	const struct tables tables = tables_init(disk);

	for (size_t i = 0; i < TABLES; i++)
		if (strlen(tables.at[i].name) == name->mv_size &&
		    !memcmp(tables.at[i].name, name->mv_data, name->mv_size))
			return true;
	return false;
}

static int database_call(const MDB_val *key, const MDB_val *value,
                         database_fn *fn, void *arg)
{
	_cleanup_free_ char *name = strndup(key->mv_data, key->mv_size);
	struct page_tree tree;

	if (!name)
		return -ENOMEM;
	if (value->mv_size != DB_LEN)
		return -EUCLEAN;
	tree = page_tree_get(value->mv_data);
	return fn(arg, name, &tree);
}

static int each_unknown(struct view *view, database_fn *fn, void *arg)
{
	MDB_cursor_op op = MDB_FIRST;
	MDB_cursor *cursor;
	MDB_val key, value;
	int r = disk_error(disk_cursor_open(view->txn, NAMES, &cursor));

	if (r < 0)
		return r;
	while (!r) {
		r = disk_error(disk_cursor_get(cursor, &key, &value, op));
		op = MDB_NEXT;
		if (!r && !is_known(&view->store->disk, &key))
			r = database_call(&key, &value, fn, arg);
	}
	mdb_cursor_close(cursor);
	return r == -ENOENT ? 0 : r;
}

/* ---- Listing ------------------------------------------------------------ */

struct listing {
	int (*fn)(void *arg, const char *name);
	void *arg;
};

static int database_list(void *arg, const char *name,
                         const struct page_tree *tree)
{
	struct listing *listing = arg;

	return listing->fn(listing->arg, name);
}

int view_unknown_databases(struct view *view,
                           int (*fn)(void *arg, const char *name), void *arg)
{
	struct listing listing = {fn, arg};

	return each_unknown(view, database_list, &listing);
}

/* ---- Copying ------------------------------------------------------------ */

struct copying {
	struct view *view;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	size_t bytes; /* copied by the transaction */
};

static int copying_commit(struct copying *c)
{
	MDB_txn *txn = steal(&c->txn);

	c->bytes = 0;
	return disk_error(mdb_txn_commit(txn));
}

static int entry_copy(void *arg, const struct page_part *key,
                      const struct page_part *value)
{
	struct copying *c = arg;
	MDB_val k = {key->len, (void *)key->at};
	MDB_val v = {value->len, (void *)value->at};
	int r = disk_error(mdb_put(c->txn, c->dbi, &k, &v, MDB_APPEND));

	c->bytes += key->len + value->len;
	if (r || c->bytes < PIECE)
		return r;
	r = copying_commit(c);
	return r ? r : disk_error(mdb_txn_begin(c->env, NULL, 0, &c->txn));
}

static int database_copy(void *arg, const char *name,
                         const struct page_tree *tree)
{
	struct copying *c = arg;
	int r = disk_error(mdb_txn_begin(c->env, NULL, 0, &c->txn));

	if (!r)
		r = disk_error(mdb_dbi_open(c->txn, name,
		                            tree->flags | MDB_CREATE, &c->dbi));
	if (!r)
		r = view_each_entry(c->view, tree, entry_copy, c);
	return r ? r : copying_commit(c);
}

static int database_count(void *arg, const char *name,
                          const struct page_tree *tree)
{
	unsigned *count = arg;

	++*count;
	return 0;
}

int view_copy_unknown(struct view *view, const char *path)
{
	struct copying c = {.view = view};
	unsigned count = 0;
	int r = each_unknown(view, database_count, &count);

	if (r || !count)
		return r;
	r = disk_error(mdb_env_create(&c.env));
	if (r)
		return r;
	mdb_env_set_maxdbs(c.env, count);
	r = disk_error(mdb_env_set_mapsize(c.env, view->store->disk.map_size));
	/* No other process has the store at the path open. */
	if (!r)
		r = disk_error(mdb_env_open(c.env, path, MDB_NOLOCK, 0600));
	if (!r)
		r = each_unknown(view, database_copy, &c);
	if (c.txn)
		mdb_txn_abort(c.txn);
	mdb_env_close(c.env);
	return r;
}
