/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking blocks one by one, and the tables that say which chunks have the
 * same content: aliases, hashes, counts.
 */
#include "image.h"

#include <errno.h>

enum { PROGRESS_STEP = 1 << 14 };

/* ---- Numbers ------------------------------------------------------------ */

/* Takes numbers in ascending order. */
static bool number_add(struct image *image, uint64_t number, uint8_t marks)
{
	size_t capacity = image->capacity, i = image->len;

	if (!image_grow(image, (void **)&image->numbers, sizeof(uint64_t), i,
	                &capacity))
		return false;
	capacity = image->capacity;
	if (!image_grow(image, (void **)&image->marks, sizeof(uint8_t), i,
	                &capacity))
		return false;
	if (!image_grow(image, (void **)&image->names, sizeof(uint32_t), i,
	                &image->capacity))
		return false;
	image->numbers[i] = number;
	image->marks[i] = marks;
	image->names[i] = 0;
	image->len++;
	return true;
}

/* ---- Blocks ------------------------------------------------------------- */

/* A block while its fragments pass by. */
struct passing {
	uint64_t number;
	bool node;
	const char *fault; /* the first found */
	uint64_t fragments, bytes;
	uint64_t expected; /* bytes of a chunk with its header */
	uint64_t base;     /* of a delta or a packed node; 0: none */
};

static const char *node_check(const struct image *image, uint64_t number,
                              const MDB_val *value)
{
	uint8_t room[NODE_SIZE_MAX];
	const uint8_t *data = value->mv_data;
	uint32_t len = (uint32_t)value->mv_size;

	if (*data == BLOCK_TAG_PACKED)
		return node_decode(image->store, image->txn, number, value,
		                   room, &data, &len)
		               ? "bad content"
		               : NULL;
	if (len < NODE_HEADER || len > store_node_size(image->store))
		return "bad length";
	if (be64_get(data + NODE_SUM) != node_sum(number, data, len))
		return "bad checksum";
	return node_fault(data, len);
}

static void passing_begin(const struct image *image, struct passing *p,
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
		p->fault = node_check(image, number, value);
		p->base = node_stored_base(value);
	} else if (chunk_header_decode(value->mv_data, value->mv_size, &h)) {
		p->fault = "bad header";
	} else {
		p->expected = h.header_len + h.stored;
		p->base = h.base;
		if (h.len > store_chunk_size(image->store))
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

/* A base has a lower number: it has passed already. */
static void base_check(struct image *image, const struct passing *p)
{
	size_t i = image_index(image, p->base);
	const char *what = p->node ? "node" : "chunk";

	if (i == NO_INDEX ||
	    !(image->marks[i] & (p->node ? MARK_NODE : MARK_CHUNK)))
		image_report(image, what, p->number, NULL,
		             "%s %llu is a delta of %llu, which is %s%s", what,
		             (unsigned long long)p->number,
		             (unsigned long long)p->base,
		             i == NO_INDEX ? "missing" : "no ",
		             i == NO_INDEX ? "" : what);
	else
		image->names[i]++;
}

static bool passing_end(struct image *image, struct passing *p)
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
	if (!p->fault && chunk && image->options.data) {
		r = chunk_decode(image->store, image->txn, p->number, &content);
		if (r == -EUCLEAN)
			p->fault = "bad content";
		else if (r < 0)
			image->stopped = r;
		else
			chunk_unref(content);
	}
	if (p->base)
		base_check(image, p);
	/* What a damaged block was is for those who name it to say. */
	marks = p->node                    ? MARK_NODE
	        : p->fault && !p->expected ? MARK_NODE | MARK_CHUNK
	                                   : MARK_CHUNK;
	if (p->fault)
		marks |= MARK_BAD;
	return number_add(image, p->number, marks) && !image->stopped;
}

int image_scan_blocks(struct image *image)
{
	struct passing p = {0};
	uint64_t id, done = 0;
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_stat stat;
	int r;

	r = disk_error(disk_stat(image->txn, image->store->disk.blocks, &stat));
	if (r == 0)
		r = disk_error(disk_cursor_open(
		        image->txn, image->store->disk.blocks, &cursor));
	if (r < 0)
		return r;
	while (!image_stopped(image) &&
	       (r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (!p.fragments || id >> DISK_FRAGMENT_BITS != p.number) {
			if (!passing_end(image, &p))
				break;
			passing_begin(image, &p, id >> DISK_FRAGMENT_BITS,
			              id & (DISK_FRAGMENTS - 1), &value);
		}
		passing_add(&p, id & (DISK_FRAGMENTS - 1), &value);
		if (!(done++ % PROGRESS_STEP))
			image_progress(image, "blocks", done - 1,
			               stat.ms_entries);
	}
	mdb_cursor_close(cursor);
	if (!image->stopped && r == MDB_NOTFOUND)
		passing_end(image, &p);
	if (image->stopped)
		return image->stopped;
	return r == MDB_NOTFOUND ? 0 : disk_error(r);
}

const char *image_block_fault(struct image *image, uint64_t number)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	struct passing p = {0};
	MDB_cursor *cursor;
	int r;

	if (disk_cursor_open(image->txn, image->store->disk.blocks, &cursor))
		return "unreadable";
	r = disk_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (; !r; r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (id >> DISK_FRAGMENT_BITS != number)
			break;
		if (!p.fragments)
			passing_begin(image, &p, number,
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

/* Calls fn for each pair of a database that maps numbers to numbers. */
static int pairs_each(struct image *image, MDB_dbi dbi, const char *kind,
                      void (*fn)(struct image *image, uint64_t from,
                                 uint64_t to))
{
	MDB_val key, value;
	MDB_cursor *cursor;
	uint64_t from;
	int r;

	r = disk_error(disk_cursor_open(image->txn, dbi, &cursor));
	if (r < 0)
		return r;
	while (!image_stopped(image) &&
	       (r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&from, key.mv_data, sizeof(from));
		if (value.mv_size != 8)
			image_report(image, kind, from, NULL,
			             "the %s of %llu has a bad length", kind,
			             (unsigned long long)from);
		else
			fn(image, from, be64_get(value.mv_data));
	}
	mdb_cursor_close(cursor);
	if (image->stopped)
		return image->stopped;
	return r == MDB_NOTFOUND ? 0 : disk_error(r);
}

/* ---- Aliases ------------------------------------------------------------ */

static void alias_check(struct image *image, uint64_t number, uint64_t target)
{
	size_t i = image_index(image, target);

	if (i == NO_INDEX || !(image->marks[i] & MARK_CHUNK))
		image_report(image, "alias", number, NULL,
		             "chunk %llu has the content of %llu, which %s",
		             (unsigned long long)number,
		             (unsigned long long)target,
		             i == NO_INDEX ? "is missing" : "is no chunk");
	else
		image->names[i]++;
}

/* The numbers of aliases are put among the others: from the end, in place. */
static void numbers_merge(struct image *image, const uint64_t *aliases,
                          size_t count)
{
	size_t from = image->len - count, to = image->len;

	while (count) {
		if (from && image->numbers[from - 1] > aliases[count - 1]) {
			from--;
			to--;
			image->numbers[to] = image->numbers[from];
			image->marks[to] = image->marks[from];
			image->names[to] = image->names[from];
			continue;
		}
		to--;
		image->numbers[to] = aliases[--count];
		image->marks[to] = MARK_ALIAS;
		image->names[to] = 0;
	}
}

static int aliases_load(struct image *image, uint64_t **ret_aliases,
                        size_t *ret_count)
{
	_cleanup_free_ uint64_t *aliases = NULL;
	size_t count = 0, capacity = 0;
	MDB_val key, value;
	MDB_cursor *cursor;
	uint64_t number;
	int r;

	r = disk_error(disk_cursor_open(image->txn, image->store->disk.aliases,
	                                &cursor));
	if (r < 0)
		return r;
	while ((r = disk_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		memcpy(&number, key.mv_data, sizeof(number));
		/* Then it is among the numbers already. */
		if (image_index(image, number) != NO_INDEX) {
			image_report(image, "alias", number, NULL,
			             "block %llu is an alias, and stored, too",
			             (unsigned long long)number);
			continue;
		}
		if (!image_grow(image, (void **)&aliases, sizeof(*aliases),
		                count, &capacity))
			break;
		aliases[count++] = number;
	}
	mdb_cursor_close(cursor);
	if (image->stopped)
		return image->stopped;
	if (r != MDB_NOTFOUND)
		return disk_error(r);
	*ret_aliases = steal(&aliases);
	*ret_count = count;
	return 0;
}

int image_scan_aliases(struct image *image)
{
	_cleanup_free_ uint64_t *aliases = NULL;
	size_t count = 0;
	int r = aliases_load(image, &aliases, &count);

	if (r)
		return r;
	for (size_t i = 0; i < count; i++)
		if (!number_add(image, 0, 0))
			return image->stopped;
	numbers_merge(image, aliases, count);
	return pairs_each(image, image->store->disk.aliases, "alias",
	                  alias_check);
}

/* ---- Hashes ------------------------------------------------------------- */

static void hash_check(struct image *image, uint64_t hash, uint64_t number)
{
	size_t i = image_index(image, number);
	struct chunk_header h;
	MDB_val value;

	if (i == NO_INDEX || !(image->marks[i] & MARK_CHUNK)) {
		image_report(image, "hash", number, NULL,
		             "hash %016llx names chunk %llu, which %s",
		             (unsigned long long)hash,
		             (unsigned long long)number,
		             i == NO_INDEX ? "is missing" : "is no chunk");
		return;
	}
	if (image->marks[i] & MARK_BAD)
		return;
	if (disk_get(image->txn, image->store->disk.blocks,
	             number << DISK_FRAGMENT_BITS, &value) ||
	    chunk_header_decode(value.mv_data, value.mv_size, &h) ||
	    be64_get(h.hash) != hash)
		image_report(image, "hash", number, NULL,
		             "hash %016llx names chunk %llu, which has another",
		             (unsigned long long)hash,
		             (unsigned long long)number);
}

int image_scan_hashes(struct image *image)
{
	return pairs_each(image, image->store->disk.hashes, "hash", hash_check);
}

/* ---- Counts ------------------------------------------------------------- */

/* How much needs what is under this number: aliases, deltas, its own name. */
static uint64_t names_of(const struct image *image, size_t i)
{
	return image->names[i] + !!(image->marks[i] & MARK_USED);
}

static void count_check(struct image *image, uint64_t number, uint64_t count)
{
	size_t i = image_index(image, number);

	if (i == NO_INDEX || image->marks[i] & MARK_ALIAS) {
		image_report(image, "count", number, NULL,
		             "block %llu has a count of names, and %s",
		             (unsigned long long)number,
		             i == NO_INDEX ? "is missing" : "is an alias");
		return;
	}
	image->marks[i] |= MARK_MET;
	if (count != names_of(image, i))
		image_report(image, "count", number, NULL,
		             "block %llu is counted %llu times, and has %llu "
		             "names",
		             (unsigned long long)number,
		             (unsigned long long)count,
		             (unsigned long long)names_of(image, i));
}

int image_finish_counts(struct image *image)
{
	int r = pairs_each(image, image->store->disk.counts, "count",
	                   count_check);

	for (size_t i = 0; !r && i < image->len; i++) {
		bool counted = image->marks[i] & MARK_MET;

		image->marks[i] &= (uint8_t)~MARK_MET;
		if (!counted && !(image->marks[i] & MARK_ALIAS) &&
		    names_of(image, i) > 1)
			image_report(image, "count", image->numbers[i], NULL,
			             "block %llu has %llu names, and no count",
			             (unsigned long long)image->numbers[i],
			             (unsigned long long)names_of(image, i));
		r = image->stopped;
	}
	return r;
}
