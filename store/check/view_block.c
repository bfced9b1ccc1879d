/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of the blocks one by one, and of the tables of chunks with the same
 * content: dedup references, hashes, reference counts.
 */
#include <errno.h>

#include "chunk_codec.h"
#include "free.h"
#include "node_codec.h"
#include "view.h"

enum { PROGRESS_STEP = 1 << 14 };

/* ---- Numbers ------------------------------------------------------------ */

/* Append a number, which is higher than those before. */
static bool number_add(struct view *view, uint64_t number, uint8_t marks)
{
	size_t capacity = view->capacity, i = view->len;

	if (!view_grow(view, (void **)&view->numbers, sizeof(uint64_t), i,
	               &capacity))
		return false;
	capacity = view->capacity;
	if (!view_grow(view, (void **)&view->marks, sizeof(uint8_t), i,
	               &capacity))
		return false;
	if (!view_grow(view, (void **)&view->names, sizeof(uint32_t), i,
	               &view->capacity))
		return false;
	view->numbers[i] = number;
	view->marks[i] = marks;
	view->names[i] = 0;
	view->len++;
	return true;
}

/* ---- Blocks ------------------------------------------------------------- */

/* A block whose fragments are being read. */
struct passing {
	uint64_t number;
	bool node;
	const char *fault; /* the first one found, or NULL */
	uint64_t fragments, bytes;
	uint64_t expected; /* bytes of a chunk with its header */
	unsigned base_count;
	uint64_t bases[SPLICE_BASES]; /* of a delta, splice or node */
};

static const char *node_check(const struct view *view, uint64_t number,
                              const MDB_val *value)
{
	uint8_t buffer[NODE_SIZE_MAX];
	const uint8_t *data = value->mv_data;
	uint32_t len = (uint32_t)value->mv_size;

	if (*data == BLOCK_TAG_NODE_DELTA)
		return node_decode(view->store, view->txn, number, value,
		                   buffer, &data, &len)
		               ? "bad content"
		               : NULL;
	if (len < NODE_HEADER || len > store_node_size(view->store))
		return "bad length";
	if (be64_get(data + NODE_SUM) != node_sum(number, data, len))
		return "bad checksum";
	return node_fault(data, len);
}

static void passing_begin(const struct view *view, struct passing *p,
                          uint64_t number, uint64_t fragment,
                          const MDB_val *value)
{
	struct chunk_header h;

	*p = (struct passing){.number = number};
	if (fragment) {
		p->fault = "its beginning is missing";
		return;
	}
	p->node = block_tag_is_node(value);
	if (p->node) {
		p->fault = node_check(view, number, value);
		p->bases[0] = node_stored_base(value);
		p->base_count = p->bases[0] != 0;
	} else if (chunk_header_decode(value->mv_data, value->mv_size, &h)) {
		p->fault = "bad header";
	} else {
		p->expected = h.header_len + h.stored;
		p->base_count = h.base_count;
		memcpy(p->bases, h.bases, sizeof(p->bases));
		if (h.len > store_chunk_size(view->store))
			p->fault = "too long";
	}
}

static void passing_add(struct passing *p, uint64_t fragment,
                        const MDB_val *value)
{
	if (!p->fault && fragment != p->fragments)
		p->fault = "a part is missing";
	if (!p->fault && p->fragments && p->node)
		p->fault = "more than a node";
	if (!p->fault && (!value->mv_size || value->mv_size > DISK_VALUE_MAX))
		p->fault = "a part has a bad length";
	p->fragments++;
	p->bytes += value->mv_size;
}

/* A base has a lower number, so it has been read before. */
static void base_check(struct view *view, const struct passing *p,
                       uint64_t base)
{
	size_t i = view_index(view, base);
	const char *what = p->node ? "node" : "chunk";

	if (i == NO_INDEX ||
	    !(view->marks[i] & (p->node ? MARK_NODE : MARK_CHUNK)))
		view_report(view, what, p->number, NULL,
		            "%s %llu is a delta of %llu, which is %s%s", what,
		            (unsigned long long)p->number,
		            (unsigned long long)base,
		            i == NO_INDEX ? "missing" : "no ",
		            i == NO_INDEX ? "" : what);
	else
		view->names[i]++;
}

static bool passing_end(struct view *view, struct passing *p)
{
	bool chunk = !p->node;
	struct chunk *content;
	uint8_t marks;
	int r = 0;

	if (!p->fragments)
		return true;
	if (!p->fault && chunk && p->bytes != p->expected)
		p->fault = p->bytes < p->expected ? "its end is missing"
		                                  : "more than a chunk";
	if (!p->fault && chunk && view->options.data) {
		r = chunk_decode(view->store, view->txn, p->number, &content);
		if (r == -EUCLEAN)
			p->fault = "bad content";
		else if (r < 0)
			view->stopped = r;
		else
			chunk_unref(content);
	}
	for (unsigned i = 0; i < p->base_count; i++)
		base_check(view, p, p->bases[i]);
	/* Without a header, the trees that name the block decide its type. */
	marks = p->node                    ? MARK_NODE
	        : p->fault && !p->expected ? MARK_NODE | MARK_CHUNK
	                                   : MARK_CHUNK;
	if (p->fault)
		marks |= MARK_BAD;
	return number_add(view, p->number, marks) && !view->stopped;
}

int view_scan_blocks(struct view *view)
{
	struct passing p = {0};
	uint64_t id, done = 0;
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_stat stat;
	int r;

	r = disk_error(disk_stat(view->txn, view->store->disk.blocks, &stat));
	if (r == 0)
		r = disk_error(disk_cursor_open(
		        view->txn, view->store->disk.blocks, &cursor));
	if (r < 0)
		return r;
	while (!view_stopped(view) &&
	       (r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (!p.fragments || id >> DISK_FRAGMENT_BITS != p.number) {
			if (!passing_end(view, &p))
				break;
			passing_begin(view, &p, id >> DISK_FRAGMENT_BITS,
			              id & (DISK_FRAGMENTS - 1), &value);
		}
		passing_add(&p, id & (DISK_FRAGMENTS - 1), &value);
		if (!(done++ % PROGRESS_STEP))
			view_progress(view, "blocks", done - 1,
			              stat.ms_entries);
	}
	mdb_cursor_close(cursor);
	if (!view->stopped && r == MDB_NOTFOUND)
		passing_end(view, &p);
	if (view->stopped)
		return view->stopped;
	return r == MDB_NOTFOUND ? 0 : disk_error(r);
}

const char *view_block_fault(struct view *view, uint64_t number)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	struct passing p = {0};
	MDB_cursor *cursor;
	int r;

	if (disk_cursor_open(view->txn, view->store->disk.blocks, &cursor))
		return "unreadable";
	r = disk_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (; !r; r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (id >> DISK_FRAGMENT_BITS != number)
			break;
		if (!p.fragments)
			passing_begin(view, &p, number,
			              id & (DISK_FRAGMENTS - 1), &value);
		passing_add(&p, id & (DISK_FRAGMENTS - 1), &value);
	}
	mdb_cursor_close(cursor);
	if (!p.fault && p.expected && p.bytes != p.expected)
		p.fault = p.bytes < p.expected ? "its end is missing"
		                               : "more than a chunk";
	return p.fault ? p.fault : "bad content";
}

/* ---- Databases of numbers ----------------------------------------------- */

/* Call fn for each pair of a database that maps numbers to numbers. */
static int pairs_each(struct view *view, MDB_dbi dbi, const char *kind,
                      void (*fn)(struct view *view, uint64_t from, uint64_t to))
{
	MDB_val key, value;
	MDB_cursor *cursor;
	uint64_t from;
	int r;

	r = disk_error(disk_cursor_open(view->txn, dbi, &cursor));
	if (r < 0)
		return r;
	while (!view_stopped(view) &&
	       (r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&from, key.mv_data, sizeof(from));
		if (value.mv_size != 8)
			view_report(view, kind, from, NULL,
			            "the %s of %llu has a bad length", kind,
			            (unsigned long long)from);
		else
			fn(view, from, be64_get(value.mv_data));
	}
	mdb_cursor_close(cursor);
	if (view->stopped)
		return view->stopped;
	return r == MDB_NOTFOUND ? 0 : disk_error(r);
}

/* ---- Dedup references --------------------------------------------------- */

static void dedup_ref_check(struct view *view, uint64_t number, uint64_t target)
{
	size_t i = view_index(view, target);

	if (i == NO_INDEX || !(view->marks[i] & MARK_CHUNK))
		view_report(view, "dedup", number, NULL,
		            "chunk %llu has the content of %llu, which %s",
		            (unsigned long long)number,
		            (unsigned long long)target,
		            i == NO_INDEX ? "is missing" : "is no chunk");
	else
		view->names[i]++;
}

/*
 * Merge the numbers of dedup references into the others, in place, from the
 * end.
 */
static void numbers_merge(struct view *view, const uint64_t *refs, size_t count)
{
	size_t from = view->len - count, to = view->len;

	while (count) {
		if (from && view->numbers[from - 1] > refs[count - 1]) {
			from--;
			to--;
			view->numbers[to] = view->numbers[from];
			view->marks[to] = view->marks[from];
			view->names[to] = view->names[from];
			continue;
		}
		to--;
		view->numbers[to] = refs[--count];
		view->marks[to] = MARK_DEDUP_REF;
		view->names[to] = 0;
	}
}

static int dedup_refs_load(struct view *view, uint64_t **ret_dedup_refs,
                           size_t *ret_count)
{
	_cleanup_free_ uint64_t *refs = NULL;
	size_t count = 0, capacity = 0;
	MDB_val key, value;
	MDB_cursor *cursor;
	uint64_t number;
	int r;

	r = disk_error(disk_cursor_open(view->txn, view->store->disk.dedup_refs,
	                                &cursor));
	if (r < 0)
		return r;
	while ((r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&number, key.mv_data, sizeof(number));
		if (view_index(view, number) != NO_INDEX) {
			view_report(view, "dedup", number, NULL,
			            "block %llu is a dedup reference, and "
			            "stored, too",
			            (unsigned long long)number);
			continue;
		}
		if (!view_grow(view, (void **)&refs, sizeof(*refs), count,
		               &capacity))
			break;
		refs[count++] = number;
	}
	mdb_cursor_close(cursor);
	if (view->stopped)
		return view->stopped;
	if (r != MDB_NOTFOUND)
		return disk_error(r);
	*ret_dedup_refs = steal(&refs);
	*ret_count = count;
	return 0;
}

int view_scan_dedup_refs(struct view *view)
{
	_cleanup_free_ uint64_t *refs = NULL;
	size_t count = 0;
	int r = dedup_refs_load(view, &refs, &count);

	if (r)
		return r;
	for (size_t i = 0; i < count; i++)
		if (!number_add(view, 0, 0))
			return view->stopped;
	numbers_merge(view, refs, count);
	return pairs_each(view, view->store->disk.dedup_refs, "dedup",
	                  dedup_ref_check);
}

/* ---- Hashes ------------------------------------------------------------- */

static void hash_check(struct view *view, uint64_t hash, uint64_t number)
{
	size_t i = view_index(view, number);
	struct chunk_header h;
	MDB_val value;

	if (i == NO_INDEX || !(view->marks[i] & MARK_CHUNK)) {
		view_report(view, "hash", number, NULL,
		            "hash %016llx names chunk %llu, which %s",
		            (unsigned long long)hash,
		            (unsigned long long)number,
		            i == NO_INDEX ? "is missing" : "is no chunk");
		return;
	}
	if (view->marks[i] & MARK_BAD)
		return;
	if (disk_get(view->txn, view->store->disk.blocks,
	             number << DISK_FRAGMENT_BITS, &value) ||
	    chunk_header_decode(value.mv_data, value.mv_size, &h) ||
	    be64_get(h.hash) != hash)
		view_report(view, "hash", number, NULL,
		            "hash %016llx names chunk %llu, which has another",
		            (unsigned long long)hash,
		            (unsigned long long)number);
}

int view_scan_hashes(struct view *view)
{
	return pairs_each(view, view->store->disk.hashes, "hash", hash_check);
}

/* ---- Counts ------------------------------------------------------------- */

/*
 * Return the number of references to a stored block: dedup references, deltas,
 * and its own number if that is in use.
 */
static uint64_t names_of(const struct view *view, size_t i)
{
	return view->names[i] + !!(view->marks[i] & MARK_USED);
}

static void count_check(struct view *view, uint64_t number, uint64_t count)
{
	size_t i = view_index(view, number);

	if (i == NO_INDEX || view->marks[i] & MARK_DEDUP_REF) {
		view_report(view, "count", number, NULL,
		            "block %llu has a reference count, and %s",
		            (unsigned long long)number,
		            i == NO_INDEX ? "is missing"
		                          : "is a dedup reference");
		return;
	}
	view->marks[i] |= MARK_MET;
	if (count != names_of(view, i))
		view_report(view, "count", number, NULL,
		            "block %llu has a reference count of %llu, and "
		            "%llu references",
		            (unsigned long long)number,
		            (unsigned long long)count,
		            (unsigned long long)names_of(view, i));
}

int view_finish_counts(struct view *view)
{
	int r = pairs_each(view, view->store->disk.refcounts, "count",
	                   count_check);

	for (size_t i = 0; !r && i < view->len; i++) {
		bool counted = view->marks[i] & MARK_MET;

		view->marks[i] &= (uint8_t)~MARK_MET;
		if (!counted && !(view->marks[i] & MARK_DEDUP_REF) &&
		    names_of(view, i) > 1)
			view_report(
			        view, "count", view->numbers[i], NULL,
			        "block %llu has %llu references, and no count",
			        (unsigned long long)view->numbers[i],
			        (unsigned long long)names_of(view, i));
		r = view->stopped;
	}
	return r;
}
