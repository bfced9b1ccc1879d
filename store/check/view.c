/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Views: opening them, their records and nodes, and the reports of damage. */
#include "view.h"

#include <errno.h>
#include <stdarg.h>

#include "array.h"
#include "chunk_codec.h"
#include "node_codec.h"

enum { TEXT_MAX = 300 };

/* ---- Reports ------------------------------------------------------------ */

void view_report(struct view *view, const char *kind, uint64_t block,
                 const struct key *key, const char *format, ...)
{
	struct damage damage = {.kind = kind, .block = block, .key = key};
	char text[TEXT_MAX];
	va_list args;
	int r;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	damage.text = text;
	if (view->tree)
		damage.version = view->tree->version;
	if (view->stopped)
		return;
	r = view->options.found(view->options.arg, &damage);
	if (r)
		view->stopped = r;
}

int view_stopped(struct view *view)
{
	if (!view->stopped && disk_read_outdated(&view->store->disk, view->txn))
		view->stopped = -EIO;
	return view->stopped;
}

int view_progress(struct view *view, const char *what, uint64_t done,
                  uint64_t all)
{
	if (!view->stopped && view->options.progress)
		view->stopped = view->options.progress(view->options.arg, what,
		                                       done, all);
	return view->stopped;
}

bool view_grow(struct view *view, void **array, size_t item, size_t len,
               size_t *capacity)
{
	int r = array_grow_items(array, item, len, capacity);

	if (r)
		view->stopped = r;
	return !r;
}

/* ---- Opening ------------------------------------------------------------ */

int view_open(struct store *store, const struct view_options *options,
              struct view **ret_view)
{
	struct view *view = calloc(1, sizeof(*view));
	int r;

	if (!view)
		return -ENOMEM;
	view->store = store;
	view->options = *options;
	r = disk_read_begin(&store->disk, &view->txn);
	if (r == 0)
		r = view_scan_pages(view);
	if (r < 0) {
		view_close(view);
		return r;
	}
	*ret_view = view;
	return 0;
}

void view_close(struct view *view)
{
	if (!view)
		return;
	if (view->txn)
		disk_read_end(&view->store->disk, view->txn);
	free(view->numbers);
	free(view->marks);
	free(view->names);
	free(view->lists);
	free(view->shared.at);
	free(view->dead.at);
	free(view->unreadable);
	free(view);
}

int view_scan(struct view *view)
{
	int r = view_scan_blocks(view);

	if (!r)
		r = view_scan_dedup_refs(view);
	if (!r)
		r = view_scan_hashes(view);
	if (!r)
		r = view_scan_lists(view);
	return r ? r : view->stopped;
}

/* ---- Records ------------------------------------------------------------ */

int view_record(struct view *view, enum table table, const void *key,
                size_t key_len, bool after, struct record *ret_record)
{
	uint8_t full[TABLE_KEY_MAX + 1];
	MDB_val k = {key_len + 1, full}, v;
	MDB_cursor *cursor;
	int r;

	if (key_len > TABLE_KEY_MAX)
		return -EINVAL;
	full[0] = (uint8_t)table;
	memcpy(full + 1, key, key_len);
	r = disk_error(disk_cursor_open(view->txn, view->store->disk.records,
	                                &cursor));
	if (r < 0)
		return r;
	r = disk_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	if (!r && after && k.mv_size == key_len + 1 &&
	    !memcmp(k.mv_data, full, key_len + 1))
		r = disk_cursor_get(cursor, &k, &v, MDB_NEXT);
	mdb_cursor_close(cursor);
	if (r)
		return disk_error(r);
	if (*(const uint8_t *)k.mv_data != table)
		return -ENOENT;
	ret_record->key_len = (uint32_t)k.mv_size - 1;
	ret_record->len = (uint32_t)MIN(v.mv_size, (size_t)TABLE_VALUE_MAX);
	if (ret_record->key_len > TABLE_KEY_MAX)
		return -EUCLEAN;
	memcpy(ret_record->key, (const uint8_t *)k.mv_data + 1,
	       ret_record->key_len);
	memcpy(ret_record->value, v.mv_data, ret_record->len);
	return 0;
}

int view_counters(struct view *view, uint64_t *ret_seq,
                  uint64_t ret_counters[COUNTER_COUNT])
{
	static const char key[] = "counters";
	struct record record;
	struct reader r;
	uint64_t seq, counters[COUNTER_COUNT];
	int err = view_record(view, TABLE_META, key, sizeof(key) - 1, false,
	                      &record);

	if (err < 0 && err != -ENOENT)
		return err;
	if (err || record.key_len != sizeof(key) - 1 ||
	    memcmp(record.key, key, sizeof(key) - 1))
		return -EUCLEAN;
	r = reader_init(record.value, record.len);
	seq = get_u64(&r);
	for (int i = 0; i < COUNTER_COUNT; i++)
		counters[i] = get_u64(&r);
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret_seq = seq;
	memcpy(ret_counters, counters, sizeof(counters));
	return 0;
}

bool view_has_feature(struct view *view, enum store_feature feature)
{
	static const char key[] = "store";
	struct record record;
	struct geometry g;

	return !view_record(view, TABLE_META, key, sizeof(key) - 1, false,
	                    &record) &&
	       !geometry_decode(record.value, record.len, true, &g) &&
	       g.incompat & (uint64_t)feature;
}

/* ---- Blocks and nodes --------------------------------------------------- */

size_t view_index(const struct view *view, uint64_t number)
{
	size_t i = array_lower_bound(view->numbers, view->len, number);

	return i < view->len && view->numbers[i] == number ? i : NO_INDEX;
}

/*
 * Return true if node_find() reads only the node's page: the file may end with
 * it.
 */
static bool is_within_page(const uint8_t *node, uint32_t len)
{
	return (uintptr_t)node % DISK_PAGE + len + NODE_FIND_BEHIND <=
	       DISK_PAGE;
}

const uint8_t *view_node(struct view *view, uint64_t number,
                         uint8_t buffer[NODE_SIZE_MAX])
{
	size_t slot =
	        (size_t)(number * 0x9e3779b97f4a7c15 >> 32) & (VIEW_CACHE - 1);
	const uint8_t *data;
	size_t i;
	uint32_t len;
	MDB_val value;

	if (view->cache[slot].number == number && number)
		return view->cache[slot].data;
	i = view_index(view, number);
	if (i == NO_INDEX ||
	    (view->marks[i] & (MARK_NODE | MARK_BAD)) != MARK_NODE ||
	    view_stopped(view) ||
	    disk_get(view->txn, view->store->disk.blocks,
	             number << DISK_FRAGMENT_BITS, &value) ||
	    node_decode(view->store, view->txn, number, &value, buffer, &data,
	                &len))
		return NULL;
	if (data == buffer)
		return buffer;
	if (!is_within_page(data, len)) {
		memcpy(buffer, data, len);
		return buffer;
	}
	view->cache[slot].number = number;
	view->cache[slot].data = data;
	return data;
}

/* ---- Items -------------------------------------------------------------- */

static void item_get(struct view *view, const uint8_t *data, uint32_t slot,
                     struct item *ret_item)
{
	node_get(data, slot, ret_item);
	memcpy(view->value, ret_item->value, ret_item->len);
	ret_item->value = view->value;
}

/*
 * Find the first item below the node with this key or a higher one.  -ENOENT:
 * there is none.  The level falls at every step, so damage cannot make the
 * descent endless.
 */
static int node_seek(struct view *view, uint64_t number, int level, packed key,
                     struct item *ret_item)
{
	uint8_t buffer[NODE_SIZE_MAX];
	const uint8_t *data = view_node(view, number, buffer);
	uint32_t slot;
	bool exact;
	int r = -ENOENT;

	if (!data || (level >= 0 && (int)node_level(data) != level))
		return -EUCLEAN;
	if (!node_level(data)) {
		slot = node_find(data, key, &exact);
		if (slot == node_count(data))
			return -ENOENT;
		item_get(view, data, slot, ret_item);
		return 0;
	}
	for (slot = node_route(data, key);
	     r == -ENOENT && slot < node_count(data); slot++)
		r = node_seek(view, node_child(data, slot),
		              (int)node_level(data) - 1, key, ret_item);
	return r;
}

int view_seek(struct view *view, uint64_t root, const struct key *key,
              struct item *ret_item)
{
	if (!root)
		return -ENOENT;
	return node_seek(view, root, -1, key_pack(key), ret_item);
}

int view_get(struct view *view, uint64_t root, const struct key *key,
             struct item *ret_item)
{
	uint8_t buffer[NODE_SIZE_MAX];
	packed want = key_pack(key);
	const uint8_t *data;
	uint64_t number = root;
	int level = -1;
	uint32_t slot;
	bool exact;

	if (!root)
		return -ENOENT;
	for (;;) {
		data = view_node(view, number, buffer);
		if (!data || (level >= 0 && (int)node_level(data) != level))
			return -EUCLEAN;
		level = (int)node_level(data) - 1;
		if (level < 0)
			break;
		number = node_child(data, node_route(data, want));
	}
	slot = node_find(data, want, &exact);
	if (!exact)
		return -ENOENT;
	item_get(view, data, slot, ret_item);
	return 0;
}
