/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing the entries of leaf pages that are repacked: see repack.c.
 *
 * If a page overflows at its end, LMDB splits it before its last entry.  Large
 * entries would thus leave a third of the page empty.  So this file chooses the
 * end of a page, and a filler makes the page overflow there.  The key of the
 * filler is that of fragment 63 of a block: no block has that many.
 */
#include "refill.h"

#include <errno.h>

#include "engine.h"
#include "page.h"
#include "write.h"

enum {
	LEAF_ROOM = DISK_PAGE - PAGE_HEADER,
	LEAF_LOW = LEAF_ROOM / 4 + 1, /* LMDB joins those below */
	BYTE_SIZE = ITEM_HEAD + 2,    /* an entry with one byte */
	PIECE_MIN = 128,   /* least piece of a chunk that fills up a page */
	PIECES_MAX = 3300, /* bytes; longer chunks keep their fragments */
};

struct entry {
	uint64_t key;
	uint32_t len;
	const uint8_t *data;
};

/* A run being written back, in the order of its keys. */
struct refill {
	struct writing *w;
	MDB_cursor *cursor;
	struct entry *entries;
	size_t entries_len;
	bool cut_off;    /* the last block continues after the run */
	uint8_t *data;   /* of the entries, one after the other */
	size_t leaves;   /* of the table */
	size_t space;    /* bytes left in the page that is being filled */
	bool known;      /* `space` is right */
	size_t last;     /* bytes that the last entry takes; 0: not known */
	uint64_t filler; /* its key; 0: none */
};

static size_t leaves_of(const struct writing *w)
{
	MDB_stat stat;

	return disk_stat(w->txn, w->disk->blocks, &stat) ? 0
	                                                 : stat.ms_leaf_pages;
}

/* Read the run again.  Return 1; 0: it is larger than planned, or gone. */
static int refill_read(struct refill *f, const struct repack *run)
{
	size_t used = 0, most = (size_t)run->bytes + DISK_PAGE * run->large;
	uint64_t first = run->first, number;
	MDB_val key = {sizeof(first), &first}, value;
	int r = disk_cursor_get(f->cursor, &key, &value, MDB_SET_RANGE);

	f->entries_len = 0;
	while (r == 0 && key_number(&key) <= run->last) {
		if (f->entries_len == run->entries ||
		    used + value.mv_size > most)
			return 0;
		memcpy(f->data + used, value.mv_data, value.mv_size);
		f->entries[f->entries_len++] =
		        (struct entry){key_number(&key),
		                       (uint32_t)value.mv_size, f->data + used};
		used += value.mv_size;
		r = disk_cursor_get(f->cursor, &key, &value, MDB_NEXT);
	}
	if ((r && r != MDB_NOTFOUND) || !f->entries_len)
		return r == MDB_NOTFOUND ? 0 : disk_error(r);
	number = f->entries[f->entries_len - 1].key >> DISK_FRAGMENT_BITS;
	f->cut_off = r == 0 && key_number(&key) >> DISK_FRAGMENT_BITS == number;
	return 1;
}

static int key_remove(struct refill *f, uint64_t number)
{
	MDB_val key = {sizeof(number), &number}, value;
	int r = disk_cursor_get(f->cursor, &key, &value, MDB_SET);

	return disk_error(r ? r : disk_cursor_del(f->cursor, &key));
}

static int key_put(struct refill *f, uint64_t number, const void *data,
                   size_t len)
{
	MDB_val key = {sizeof(number), &number}, value = {len, (void *)data};

	return disk_error(disk_cursor_put(f->cursor, &key, &value, 0));
}

/*
 * Make the entry with this key the first of a page: put it last in the page,
 * with one byte as its value, and make the page overflow by a filler after it.
 */
static int page_break(struct refill *f, uint64_t key)
{
	static const uint8_t zeroes[DISK_LEAF_MAX];
	size_t len = f->space - MIN(f->space, (size_t)BYTE_SIZE);
	int r = key_put(f, key, zeroes, 1);

	len = MAX(len, (size_t)ITEM_HEAD) - ITEM_HEAD + 2;
	f->filler = key | (DISK_FRAGMENTS - 1);
	if (r == 0)
		r = key_put(f, f->filler, zeroes,
		            MIN(len, (size_t)DISK_LEAF_MAX));
	if (r == 0)
		r = key_put(f, f->filler, zeroes, 1);
	f->known = leaves_of(f->w) == f->leaves + 1;
	f->leaves = leaves_of(f->w);
	f->space = LEAF_ROOM - BYTE_SIZE;
	return r;
}

/*
 * Remove the filler if the page is full enough for LMDB not to join it with the
 * one before, or `always`.
 */
static int filler_remove(struct refill *f, bool always)
{
	int r;

	if (!f->filler ||
	    (!always && LEAF_ROOM - f->space < LEAF_LOW + BYTE_SIZE))
		return 0;
	r = key_remove(f, f->filler);
	f->filler = 0;
	f->space += BYTE_SIZE;
	return r;
}

static int refill_put(struct refill *f, uint64_t key, const void *data,
                      size_t len)
{
	size_t size = item_size(len), leaves;
	int r = 0;

	if (f->known && size + BYTE_SIZE > f->space && f->space >= BYTE_SIZE) {
		r = filler_remove(f, true);
		if (r == 0)
			r = page_break(f, key);
	}
	if (r == 0)
		r = key_put(f, key, data, len);
	if (r < 0)
		return r;
	leaves = leaves_of(f->w);
	if (leaves != f->leaves) {
		f->known = leaves == f->leaves + 1 && f->last;
		f->space = LEAF_ROOM - MIN(f->last, (size_t)LEAF_ROOM);
	}
	f->leaves = leaves;
	f->last = size;
	f->space -= MIN(f->space, size);
	return filler_remove(f, false);
}

/* Return the bytes of a chunk to put into the next fragment. */
static size_t piece_len(const struct refill *f, size_t len)
{
	size_t space =
	        f->space - MIN(f->space, (size_t)(ITEM_HEAD + BYTE_SIZE));

	space = MIN(space - space % 2, (size_t)DISK_LEAF_MAX);
	if (f->known && len > space && space >= PIECE_MIN)
		return space;
	return len > DISK_LEAF_MAX ? (len + 1) / 2 : len;
}

/*
 * Put a block back: `count` entries from i on.  A small chunk is cut into
 * fragments again, so that pages are full.
 */
static int refill_block(struct refill *f, size_t i, size_t count)
{
	const struct entry *e = &f->entries[i];
	uint64_t key = e->key;
	MDB_val value = {e->len, (void *)e->data};
	size_t bytes = 0;
	int r = 0;

	for (size_t j = 0; j < count; j++)
		bytes += e[j].len;
	if (key & (DISK_FRAGMENTS - 1) || bytes > PIECES_MAX ||
	    block_tag_is_node(&value) ||
	    (f->cut_off && i + count == f->entries_len)) {
		for (size_t j = 0; r == 0 && j < count; j++)
			r = refill_put(f, e[j].key, e[j].data, e[j].len);
		return r;
	}
	for (const uint8_t *data = e->data; r == 0 && bytes; key++) {
		size_t n = piece_len(f, bytes);

		r = refill_put(f, key, data, n);
		data += n;
		bytes -= n;
	}
	return r;
}

static int refill_run(struct refill *f, const struct repack *run)
{
	int r = refill_read(f, run);

	if (r <= 0)
		return r;
	r = 0;
	for (size_t i = 0; r == 0 && i < f->entries_len; i++)
		r = key_remove(f, f->entries[i].key);
	f->leaves = leaves_of(f->w);
	f->known = false;
	f->last = 0;
	for (size_t i = 0, n; r == 0 && i < f->entries_len; i += n) {
		uint64_t number = f->entries[i].key >> DISK_FRAGMENT_BITS;

		for (n = 1; i + n < f->entries_len; n++)
			if (f->entries[i + n].key >> DISK_FRAGMENT_BITS !=
			    number)
				break;
		r = refill_block(f, i, n);
	}
	return r ? r : filler_remove(f, true);
}

int repacks_write(struct writing *w)
{
	const struct txg *txg = w->txg;
	struct refill f = {.w = w};
	_cleanup_free_ struct entry *entries = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	size_t most = 0, bytes = 0;
	int r = 0;

	if (!txg->repacks_len)
		return 0;
	for (size_t i = 0; i < txg->repacks_len; i++) {
		const struct repack *run = &txg->repacks[i];

		most = MAX(most, run->entries);
		bytes = MAX(bytes, run->bytes + (size_t)DISK_PAGE * run->large);
	}
	f.entries = entries = calloc(most, sizeof(*entries));
	f.data = data = malloc(bytes);
	if (!entries || !data)
		return -ENOMEM;
	r = disk_error(disk_cursor_open(w->txn, w->disk->blocks, &f.cursor));
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < txg->repacks_len; i++)
		r = refill_run(&f, &txg->repacks[i]);
	mdb_cursor_close(f.cursor);
	return r;
}
