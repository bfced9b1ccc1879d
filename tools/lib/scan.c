/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listing a directory.  The entries are copied a piece at a time; a sorted scan
 * copies all of them when it is opened.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "handle.h"
#include "util.h"

enum { PIECE = 256 }; /* entries read in one hold of the lock */

struct scanned {
	uint64_t ino;
	uint8_t type; /* DT_* */
	char *name;
};

struct coppice_scan {
	struct coppice_state *state;
	char *prefix;
	uint64_t dir;   /* inode number */
	uint64_t after; /* slot of the last entry that was copied */
	bool at_end;    /* no entry is left to be copied */
	struct scanned *entries;
	size_t len, room, next;
};

static void entries_clear(struct coppice_scan *scan)
{
	for (size_t i = 0; i < scan->len; i++)
		free(scan->entries[i].name);
	scan->len = scan->next = 0;
}

void coppice_scan_close(struct coppice_scan *scan)
{
	if (!scan)
		return;
	entries_clear(scan);
	free(scan->entries);
	free(scan->prefix);
	free(scan);
}

static int entry_add(struct coppice_scan *scan, const struct dirent_item *d)
{
	size_t prefix = strlen(scan->prefix);
	struct scanned *entry;

	if (d->name_len < prefix || memcmp(d->name, scan->prefix, prefix) != 0)
		return 0;
	entry = array_add(&scan->entries, &scan->len, &scan->room);
	if (!entry)
		return -ENOMEM;
	entry->ino = d->ino;
	entry->type = d->type;
	entry->name = strndup(d->name, d->name_len);
	return entry->name ? 0 : -ENOMEM;
}

/* Copy the next entries of the tree.  Lock held. */
static int piece_copy(struct coppice_scan *scan, struct tree *tree)
{
	const struct key key = {scan->dir, ITEM_DIRENT, scan->after + 1};
	struct cursor cursor;
	struct dirent_item d;
	struct item item;
	int err = cursor_seek(&cursor, tree, &key, &item);

	for (int i = 0; !err && i < PIECE; i++) {
		if (item.key.ino != scan->dir || item.key.kind != ITEM_DIRENT)
			err = -ENOENT;
		if (!err)
			err = dirent_decode(item.value, item.len, &d);
		if (!err)
			err = entry_add(scan, &d);
		if (err)
			break;
		scan->after = item.key.off;
		err = cursor_next(&cursor, &item);
	}
	if (err != -ENOENT)
		return err;
	scan->at_end = true;
	return 0;
}

static int piece_read(struct coppice_scan *scan)
{
	struct store *store = scan->state->store->store;
	struct tree *tree;
	int err;

	store_lock(store);
	err = state_tree_now(scan->state, &tree);
	if (!err)
		err = piece_copy(scan, tree);
	store_unlock(store);
	if (!err)
		err = store_yield(store);
	return err;
}

static int by_name(const void *a, const void *b)
{
	const struct scanned *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Copy all entries: as of one instant, if the tree can be held. */
static int all_read(struct coppice_scan *scan)
{
	struct coppice *c = scan->state->store;
	struct state_hold hold;
	int err;

	store_lock(c->store);
	err = state_hold_now(scan->state, &hold);
	while (!err && !scan->at_end) {
		struct tree *tree = NULL;

		if (hold.version)
			tree = hold_tree(&hold);
		else
			err = state_tree_now(scan->state, &tree);
		if (!err)
			err = piece_copy(scan, tree);
		store_unlock(c->store);
		if (!err)
			err = store_yield(c->store);
		store_lock(c->store);
	}
	hold_release(c->forest, &hold);
	store_unlock(c->store);
	if (!err)
		array_sort(scan->entries, scan->len, by_name);
	return err;
}

static int scan_begin(struct coppice_scan *scan, const char *path)
{
	struct store *store = scan->state->store->store;
	struct tree *tree;
	uint8_t type;
	int err;

	store_lock(store);
	err = state_tree_now(scan->state, &tree);
	if (!err)
		err = state_path(scan->state, tree, path, &scan->dir, &type);
	if (!err && type != DT_DIR)
		err = -ENOTDIR;
	store_unlock(store);
	return err;
}

int coppice_scan_open(struct coppice_state *state, const char *path,
                      const char *prefix, unsigned flags,
                      struct coppice_scan **ret_scan)
{
	struct coppice_scan *scan;
	int err = store_check(state->store);

	if (!err)
		err = flags_check(flags, COPPICE_SORTED);
	if (err)
		return err;
	scan = calloc(1, sizeof(*scan));
	if (scan)
		scan->prefix = strdup(prefix ? prefix : "");
	if (!scan || !scan->prefix) {
		coppice_scan_close(scan);
		return fail_text(-ENOMEM, "out of memory");
	}
	scan->state = state;
	err = scan_begin(scan, path);
	if (!err && flags & COPPICE_SORTED)
		err = all_read(scan);
	if (err) {
		coppice_scan_close(scan);
		return fail_path(err, "list", state, path, strlen(path));
	}
	*ret_scan = scan;
	return 0;
}

static enum coppice_type entry_type(uint8_t type)
{
	return mode_type(DTTOIF(type));
}

int coppice_scan_next(struct coppice_scan *scan,
                      struct coppice_entry *ret_entry)
{
	struct coppice_entry entry = {0};
	const struct scanned *found;
	int err = store_check(scan->state->store);

	while (!err && scan->next == scan->len && !scan->at_end) {
		entries_clear(scan);
		err = piece_read(scan);
		if (err)
			return fail_text(err, "cannot list a directory: %s",
			                 error_reason(err));
	}
	if (err || scan->next == scan->len)
		return err;
	found = &scan->entries[scan->next++];
	entry.type = entry_type(found->type);
	entry.number = found->ino;
	entry.name = found->name;
	err = STRUCT_RETURN(ret_entry, entry);
	return err ? err : 1;
}
