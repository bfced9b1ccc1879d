/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of the deadlists and the usage records, each by itself. */
#include <errno.h>

#include "array.h"
#include "view.h"

enum { LIST_KEY_LEN = 16, ENTRIES_MAX = 4096 };

struct list_entry {
	uint64_t number;
	uint32_t bytes;
};

struct run {
	uint64_t first;
	size_t count;
	uint64_t bytes;
	struct list_entry entries[ENTRIES_MAX];
};

/* Decode a run.  Return NULL, or its fault. */
static const char *run_decode(const MDB_val *value, struct run *run)
{
	struct reader r = reader_init(value->mv_data, value->mv_size);
	uint64_t number = run->first, sum = 0;
	uint64_t count = get_varint(&r);

	run->bytes = get_varint(&r);
	if (r.bad || !count || count > ENTRIES_MAX)
		return "bad count";
	for (uint64_t i = 0; i < count; i++) {
		uint64_t step = get_varint(&r), bytes = get_varint(&r);

		if (r.bad || bytes > UINT32_MAX)
			return "bad entry";
		if (i ? !step || number + step < number : step != 0)
			return "numbers do not ascend";
		number += step;
		run->entries[i] = (struct list_entry){number, (uint32_t)bytes};
		sum += bytes;
	}
	run->count = count;
	if (!reader_done(&r))
		return "bytes left over";
	return sum == run->bytes ? NULL : "sizes do not add up";
}

static struct view_list *list_begin(struct view *view, uint64_t list)
{
	struct view_list *l;

	if (view->lists_len && view->lists[view->lists_len - 1].list == list)
		return &view->lists[view->lists_len - 1];
	if (!view_grow(view, (void **)&view->lists, sizeof(*view->lists),
	               view->lists_len, &view->lists_capacity))
		return NULL;
	l = &view->lists[view->lists_len++];
	*l = (struct view_list){.list = list};
	return l;
}

struct view_list *view_list_find(struct view *view, uint64_t list)
{
	return array_find(view->lists, view->lists_len, list);
}

void view_list_known(struct view *view, uint64_t list)
{
	struct view_list *l = view_list_find(view, list);

	if (l)
		l->known = true;
}

/* ---- The scan ----------------------------------------------------------- */

/* The scan: list by list, the usage record of each first. */
struct scan {
	struct view *view;
	struct view_list *list;
	int64_t entries, bytes; /* by the list's usage record */
	uint64_t last;          /* last number seen in the list */
	struct run run;
};

static void scan_bad(struct scan *scan, const char *what)
{
	scan->list->bad = true;
	view_report(scan->view, "list", 0, NULL, "deadlist %llu: %s",
	            (unsigned long long)scan->list->list, what);
}

static void scan_list_end(struct scan *scan)
{
	struct view_list *list = scan->list;

	if (!list || list->bad)
		return;
	if (list->entries != scan->entries || list->bytes != scan->bytes)
		view_report(scan->view, "accounting", 0, NULL,
		            "deadlist %llu has %lld entries of %lld bytes; "
		            "its usage record has %lld of %lld",
		            (unsigned long long)list->list,
		            (long long)list->entries, (long long)list->bytes,
		            (long long)scan->entries, (long long)scan->bytes);
}

static void scan_usage(struct scan *scan, const MDB_val *value)
{
	struct reader r = reader_init(value->mv_data, value->mv_size);

	scan->entries = get_svarint(&r);
	scan->bytes = get_svarint(&r);
	scan->list->unique = get_svarint(&r);
	if (!reader_done(&r) || scan->entries < 0 || scan->bytes < 0 ||
	    scan->list->unique < 0)
		scan_bad(scan, "damaged usage record");
}

static void scan_run(struct scan *scan, const MDB_val *value)
{
	const char *fault = run_decode(value, &scan->run);

	if (!fault && scan->run.first <= scan->last)
		fault = "runs overlap";
	if (fault) {
		scan_bad(scan, fault);
		return;
	}
	scan->last = scan->run.entries[scan->run.count - 1].number;
	scan->list->entries += (int64_t)scan->run.count;
	scan->list->bytes += (int64_t)scan->run.bytes;
}

static bool scan_value(struct scan *scan, const MDB_val *key,
                       const MDB_val *value)
{
	uint64_t list;

	if (key->mv_size != LIST_KEY_LEN) {
		view_report(scan->view, "list", 0, NULL,
		            "an entry among the deadlists has a bad key");
		return true;
	}
	list = be64_get(key->mv_data);
	scan->run.first = be64_get((const uint8_t *)key->mv_data + 8);
	if (!scan->list || scan->list->list != list) {
		scan_list_end(scan);
		scan->entries = scan->bytes = 0;
		scan->last = 0;
		scan->list = list_begin(scan->view, list);
		if (!scan->list)
			return false;
	}
	if (scan->run.first)
		scan_run(scan, value);
	else
		scan_usage(scan, value);
	return true;
}

int view_scan_lists(struct view *view)
{
	_cleanup_free_ struct scan *scan = calloc(1, sizeof(*scan));
	MDB_val key, value;
	MDB_cursor *cursor;
	int r;

	if (!scan)
		return -ENOMEM;
	scan->view = view;
	r = disk_error(
	        disk_cursor_open(view->txn, view->store->disk.lists, &cursor));
	if (r < 0)
		return r;
	while (!view_stopped(view) &&
	       (r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		if (!scan_value(scan, &key, &value))
			break;
	mdb_cursor_close(cursor);
	if (view->stopped)
		return view->stopped;
	scan_list_end(scan);
	return r == MDB_NOTFOUND ? view->stopped : disk_error(r);
}

/* ---- Reading one list --------------------------------------------------- */

int view_list_each(struct view *view, uint64_t list,
                   void (*fn)(struct view *view, uint64_t number,
                              uint32_t bytes))
{
	_cleanup_free_ struct run *run = calloc(1, sizeof(*run));
	uint8_t bytes[LIST_KEY_LEN];
	MDB_val key = {sizeof(bytes), bytes}, value;
	MDB_cursor *cursor;
	int r;

	if (!run)
		return -ENOMEM;
	be64_put(bytes, list);
	be64_put(bytes + 8, 1);
	r = disk_error(
	        disk_cursor_open(view->txn, view->store->disk.lists, &cursor));
	if (r < 0)
		return r;
	r = disk_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (; !r && !view_stopped(view);
	     r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		if (key.mv_size != LIST_KEY_LEN ||
		    be64_get(key.mv_data) != list)
			break;
		run->first = be64_get((const uint8_t *)key.mv_data + 8);
		if (run_decode(&value, run))
			continue;
		for (size_t i = 0; i < run->count; i++)
			fn(view, run->entries[i].number, run->entries[i].bytes);
	}
	mdb_cursor_close(cursor);
	if (view->stopped)
		return view->stopped;
	return !r || r == MDB_NOTFOUND ? 0 : disk_error(r);
}
