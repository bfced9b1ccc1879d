/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a frozen set: the order matters.
 *
 *   1. nodes and chunks, in the order of their numbers, so that the new ones
 *      are appended; a chunk whose content is there already becomes an alias
 *   2. aliases that copies made
 *   3. frees: after 1 and 2, so that what a copy shares is counted first
 *   4. additions to kill lists: after 1, for the sizes
 *   5. the list job, the accounts, the taking up of an account
 *   6. records, counters
 *
 * Nothing in memory changes on the way, so a failed try can be repeated.
 */
#include <errno.h>

#include "codec.h"
#include "engine.h"
#include "fault.h"

enum {
	HALVED_MAX = 3300, /* a last fragment that is put in two */
	PIECE_MIN = 128,   /* the least of a chunk that fills up a page */
	/* what LMDB needs of a page, and for an item besides its value */
	PAGE_HEAD = 16,
	ITEM_HEAD = 18,
};

struct writing {
	struct store *store;
	struct disk *disk;
	MDB_txn *txn;
	MDB_cursor *blocks;
	struct set *set;
	struct encoder *encoder;
	struct packer *packer;
	struct ledger ledger;
	uint64_t last_key; /* highest in blocks */
	size_t leaves;     /* pages with items that blocks has */
	size_t tail;       /* bytes that are free in the last; 0: not known */
};

static size_t leaves_count(struct writing *w)
{
	MDB_stat stat;

	return disk_stat(w->txn, w->disk->blocks, &stat) ? 0
	                                                 : stat.ms_leaf_pages;
}

/* An item has been appended: how much room does that leave in its page? */
static void tail_follow(struct writing *w, size_t len)
{
	size_t leaves = leaves_count(w), item;

	/* What is large lies elsewhere, and a page's number stands for it. */
	item = ITEM_HEAD +
	       (len > DISK_LEAF_MAX ? sizeof(size_t) : len + len % 2);
	if (leaves != w->leaves)
		w->tail = DISK_PAGE - PAGE_HEAD - item;
	else
		w->tail -= MIN(w->tail, item);
	w->leaves = leaves;
}

static int block_put(struct writing *w, uint64_t key, const void *data,
                     size_t len)
{
	MDB_val k = {sizeof(key), &key}, v = {len, (void *)data};
	bool append = key > w->last_key;
	int r;

	r = disk_error(
	        disk_cursor_put(w->blocks, &k, &v, append ? MDB_APPEND : 0));
	if (r == 0 && append) {
		w->last_key = key;
		tail_follow(w, len);
	} else if (r == 0) {
		w->leaves = leaves_count(w);
	}
	return r;
}

static bool is_freed(const struct writing *w, uint64_t number);

/* A node's base is another one than before: 0 stands for none. */
static int node_rebase(struct writing *w, uint64_t old, uint64_t base)
{
	uint64_t bytes = 0;
	int r = 0;

	if (old == base)
		return 0;
	if (base)
		r = count_up(w->store, w->txn, base);
	if (r == 0 && old)
		r = stored_free(w->store, w->txn, old, &bytes);
	w->leaves = leaves_count(w);
	return r;
}

static int node_write(struct writing *w, struct node *node)
{
	uint64_t key = node->block.number << DISK_FRAGMENT_BITS;
	uint64_t base, old_base = 0, copied = node->copied;
	uint8_t data[DISK_VALUE_MAX];
	const uint8_t *packed;
	struct account *account;
	size_t len, old = 0;
	MDB_val value;
	int r;

	/* Others read the node meanwhile: the checksum goes into a copy. */
	memcpy(data, node->data, w->store->geometry.node_size);
	len = node_seal(w->store, node->block.number, data);
	if (node->stored && !disk_get(w->txn, w->disk->blocks, key, &value)) {
		old = value.mv_size;
		old_base = node_stored_base(&value);
	}
	/* What goes now is not to stay for this. */
	if (is_freed(w, copied))
		copied = old_base;
	base = packer_run(w->packer, w->store, w->txn, copied, data, len,
	                  &packed, &len);
	r = block_put(w, key, packed, len);
	if (r == 0)
		r = node_rebase(w, old_base, base);
	if (r < 0)
		return r;
	account = ledger_account(&w->ledger, node->block.owner);
	account->own += (int64_t)len - (int64_t)old;
	return 0;
}

static bool chunk_same(const struct chunk *a, const struct chunk *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* The chunk has the content of the stored one: 1, or an error. */
static int chunk_alias(struct writing *w, const struct chunk *chunk,
                       uint64_t target)
{
	int r = disk_put_u64(w->txn, w->disk->aliases, chunk->block.number,
	                     target);

	if (r == 0)
		r = count_up(w->store, w->txn, target);
	return r < 0 ? r : 1;
}

/* Where the content that a chunk replaces is stored, and how. */
struct replaced {
	uint64_t number; /* 0: it replaces none that can be read */
	struct chunk_header header;
};

static int replaced_get(struct writing *w, const struct chunk *chunk,
                        struct replaced *ret)
{
	uint64_t number = chunk->replaces;
	int r;

	*ret = (struct replaced){0};
	if (!number || w->store->options.delta_depth <= 0)
		return 0;
	r = disk_get_u64(w->txn, w->disk->aliases, number, &number);
	if (r == 0 || r == -ENOENT)
		r = chunk_header_get(w->store, w->txn, number, &ret->header);
	if (r == 0)
		ret->number = number;
	return r == -EUCLEAN || r == -ENOENT ? 0 : r;
}

/*
 * Is the same content stored already, as what the chunk replaces or elsewhere?
 * A hash finds a candidate, its bytes decide.  1: yes, and the chunk has become
 * an alias of it.
 */
static int chunk_share(struct writing *w, const struct chunk *chunk,
                       const struct replaced *replaced, const uint8_t hash[16])
{
	struct chunk *other = NULL;
	uint64_t target = replaced->number;
	bool same;
	int r = 0;

	if (!target ||
	    memcmp(replaced->header.hash, hash, sizeof(replaced->header.hash)))
		r = -ENOENT;
	if (r == -ENOENT && chunk->len >= SHARE_MIN)
		r = disk_get_u64(w->txn, w->disk->hashes, be64_get(hash),
		                 &target);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = chunk_decode(w->store, w->txn, target, &other);
	if (r < 0) /* damaged: not to be relied on */
		return r == -ENOMEM ? r : 0;
	same = chunk_same(other, chunk);
	chunk_unref(other);
	return same ? chunk_alias(w, chunk, target) : 0;
}

/* qsort() that takes an array that was never made. */
static void sort(void *array, size_t len, size_t item,
                 int (*compare)(const void *, const void *))
{
	if (len > 1)
		qsort(array, len, item, compare);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_nodes(const void *a, const void *b)
{
	return compare_numbers((*(struct node *const *)a)->block.number,
	                       (*(struct node *const *)b)->block.number);
}

static int compare_chunks(const void *a, const void *b)
{
	return compare_numbers((*(struct chunk *const *)a)->block.number,
	                       (*(struct chunk *const *)b)->block.number);
}

static int compare_frees(const void *a, const void *b)
{
	return compare_numbers(((const struct freed *)a)->number,
	                       ((const struct freed *)b)->number);
}

static bool is_freed(const struct writing *w, uint64_t number)
{
	struct freed key = {.number = number};

	return w->set->frees_len &&
	       bsearch(&key, w->set->frees, w->set->frees_len, sizeof(key),
	               compare_frees);
}

/*
 * Is little of the chunk unlike what it replaces?  1: it is, *ret_data and
 * *ret_len are the form that says what; the other one stays for its sake, even
 * if nothing else keeps it: to write the rest of it again would cost as much.
 */
static int chunk_patch(struct writing *w, const struct chunk *chunk,
                       const struct replaced *replaced, const uint8_t hash[16],
                       const uint8_t **ret_data, size_t *ret_len)
{
	int r;

	if (!chunk_is_patch(chunk) || !replaced->number ||
	    replaced->header.depth >= w->store->options.delta_depth)
		return 0;
	encoder_run_patch(w->encoder, chunk, hash, replaced->number,
	                  replaced->header.depth + 1u, ret_data, ret_len);
	r = count_up(w->store, w->txn, replaced->number);
	return r < 0 ? r : 1;
}

/* Does more than one thing name or need the content under this number? */
static bool is_counted(const struct writing *w, uint64_t number)
{
	uint64_t count;

	return !disk_get_u64(w->txn, w->disk->counts, number, &count);
}

/*
 * The stored chunk to make a delta of: what the chunk replaces, if some other
 * version keeps that; else the nearest of what that was a delta of itself which
 * something keeps.  A chain that is as long as may be is not gone on with, but
 * begun anew at its root.  -ENOENT: there is none.
 */
static int delta_base(struct writing *w, const struct chunk *chunk,
                      const struct replaced *replaced, uint64_t *ret_number,
                      unsigned *ret_depth)
{
	uint64_t number = replaced->number;
	struct chunk_header h = replaced->header;
	int r = number ? 0 : -ENOENT;

	if (r == 0 && is_freed(w, chunk->replaces)) {
		while (r == 0 && !is_counted(w, number)) {
			if (!h.base)
				return -ENOENT;
			number = h.base;
			r = chunk_header_get(w->store, w->txn, number, &h);
		}
	}
	while (r == 0 && h.depth >= w->store->options.delta_depth) {
		do {
			number = h.base;
			r = chunk_header_get(w->store, w->txn, number, &h);
		} while (r == 0 && h.depth);
	}
	if (r < 0)
		return r == -EUCLEAN ? -ENOENT : r;
	*ret_number = number;
	*ret_depth = h.depth + 1u;
	return 0;
}

/* Content that does not compress is only like other content where it lies. */
static bool chunk_resembles(const struct chunk *a, const struct chunk *b)
{
	uint32_t len = MIN(a->len, b->len);
	uint64_t x, y;

	for (uint32_t i = 0; i + sizeof(x) <= len; i += sizeof(x)) {
		memcpy(&x, a->data + i, sizeof(x));
		memcpy(&y, b->data + i, sizeof(y));
		if (x == y)
			return true;
	}
	return false;
}

enum delta { DELTA_NONE, DELTA_MADE, DELTA_SAME };

/*
 * Can the chunk be kept as a delta of what it replaces?  *ret_data and
 * *ret_len are its plain form, and the delta if one is made, and its base
 * counted; if the content is the same, the chunk has become an alias.
 */
static int chunk_delta(struct writing *w, struct chunk *chunk,
                       const struct replaced *replaced, const uint8_t hash[16],
                       const uint8_t **ret_data, size_t *ret_len)
{
	struct chunk *base;
	uint64_t number;
	unsigned depth;
	int r = delta_base(w, chunk, replaced, &number, &depth);

	if (r == 0)
		r = chunk_decode(w->store, w->txn, number, &base);
	if (r < 0)
		return r == -ENOENT || r == -EUCLEAN ? DELTA_NONE : r;
	if (chunk_same(base, chunk)) {
		r = chunk_alias(w, chunk, number);
		r = r < 0 ? r : DELTA_SAME;
	} else if (*ret_len > chunk->len && !chunk_resembles(base, chunk)) {
		r = DELTA_NONE;
	} else if (encoder_run_delta(w->encoder, chunk, hash, base, number,
	                             depth, *ret_len, ret_data, ret_len)) {
		r = count_up(w->store, w->txn, number);
		r = r < 0 ? r : DELTA_MADE;
	}
	chunk_unref(base);
	return r;
}

/*
 * How much of `len` bytes goes into the next fragment.  A rest that has no room
 * in the last page fills it up; one that would take the better part of a page
 * of its own, but not all of it, is halved: the halves share their pages with
 * others.
 */
static size_t fragment_len(const struct writing *w, size_t len)
{
	size_t room = w->tail - MIN(w->tail, (size_t)ITEM_HEAD);

	room = MIN(room - room % 2, (size_t)DISK_LEAF_MAX);
	if (len <= HALVED_MAX && len > room && room >= PIECE_MIN)
		return room;
	if (len > DISK_LEAF_MAX && len <= HALVED_MAX)
		return (len + 1) / 2;
	return MIN(len, (size_t)DISK_VALUE_MAX);
}

static int fragments_put(struct writing *w, uint64_t number,
                         const uint8_t *data, size_t len)
{
	uint64_t key = number << DISK_FRAGMENT_BITS;

	for (; len; key++) {
		size_t n = fragment_len(w, len);
		int r = block_put(w, key, data, n);

		if (r < 0)
			return r;
		data += n;
		len -= n;
	}
	return 0;
}

static int chunk_write(struct writing *w, struct chunk *chunk)
{
	struct replaced replaced;
	uint8_t hash[16];
	const uint8_t *data;
	bool patch;
	size_t len;
	int r;

	chunk_hash(chunk, hash);
	r = replaced_get(w, chunk, &replaced);
	if (r == 0)
		r = chunk_share(w, chunk, &replaced, hash);
	if (r)
		return r < 0 ? r : 0;
	r = chunk_patch(w, chunk, &replaced, hash, &data, &len);
	patch = r > 0;
	if (r == 0)
		r = encoder_run(w->encoder, chunk, hash, &data, &len);
	if (r == 0)
		r = chunk_delta(w, chunk, &replaced, hash, &data, &len);
	if (r == DELTA_SAME)
		return 0;
	if (r >= 0)
		r = fragments_put(w, chunk->block.number, data, len);
	/* A patch is small, and soon patched again: not worth two entries. */
	if (r == 0 && chunk->len >= SHARE_MIN && !patch)
		r = disk_put_u64(w->txn, w->disk->hashes, be64_get(hash),
		                 chunk->block.number);
	ledger_account(&w->ledger, chunk->block.owner)->own += (int64_t)len;
	return r;
}

static int blocks_write(struct writing *w)
{
	struct set *set = w->set;
	size_t i = 0, j = 0;
	MDB_val key, value;
	int r;

	r = disk_cursor_get(w->blocks, &key, &value, MDB_LAST);
	if (r == 0)
		memcpy(&w->last_key, key.mv_data, sizeof(w->last_key));
	else if (r != MDB_NOTFOUND)
		return disk_error(r);
	w->leaves = leaves_count(w);
	while (i < set->nodes_len || j < set->chunks_len) {
		if (j == set->chunks_len ||
		    (i < set->nodes_len &&
		     set->nodes[i]->block.number <
		             set->chunks[j]->block.number)) {
			r = node_write(w, set->nodes[i++]);
		} else if (set->chunks[j]->block.kind == BLOCK_ALIAS) {
			r = 0;
			j++;
		} else {
			r = chunk_write(w, set->chunks[j++]);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int aliases_write(struct writing *w)
{
	for (size_t i = 0; i < w->set->chunks_len; i++) {
		struct chunk *alias = w->set->chunks[i];
		uint64_t target = alias->alias_of;
		int r;

		if (alias->block.kind != BLOCK_ALIAS)
			continue;
		r = disk_get_u64(w->txn, w->disk->aliases, target, &target);
		if (r < 0 && r != -ENOENT)
			return r;
		r = disk_put_u64(w->txn, w->disk->aliases, alias->block.number,
		                 target);
		if (r == 0)
			r = count_up(w->store, w->txn, target);
		if (r < 0)
			return r;
	}
	return 0;
}

static int frees_write(struct writing *w)
{
	struct set *set = w->set;
	uint64_t bytes;

	for (size_t i = 0; i < set->frees_len; i++) {
		int r = commit_free(w->store, w->txn, set->frees[i].number,
		                    set->frees[i].owner, &w->ledger, &bytes);

		if (r < 0)
			return r;
	}
	return 0;
}

static int records_write(struct writing *w)
{
	struct overlay_entry *entry = w->set->records.head[0];

	for (; entry; entry = entry->next[0]) {
		MDB_val k = {entry->key_len, (void *)overlay_key(entry)};
		MDB_val v = {entry->len, entry->value};
		int r;

		if (entry->value)
			r = disk_error(
			        disk_put(w->txn, w->disk->records, &k, &v));
		else
			r = disk_error(disk_del(w->txn, w->disk->records, &k));
		if (r < 0 && (r != -ENOENT || entry->value))
			return r;
	}
	return 0;
}

static int lists_write(struct writing *w)
{
	struct set *set = w->set;
	int r;

	r = list_commit(w->store, w->txn, set, &w->ledger);
	for (struct list_job *job = set->job; r == 0 && job; job = job->next)
		r = list_commit_job(w->store, w->txn, job, &w->ledger);
	if (r == 0)
		r = ledger_apply(w->store, w->txn, &w->ledger);
	ledger_release(&w->ledger);
	if (r < 0 || !set->has_absorb)
		return r;
	r = list_commit_absorb(w->store, w->txn, &set->absorb, &w->ledger);
	if (r == 0)
		r = ledger_apply(w->store, w->txn, &w->ledger);
	return r;
}

static int set_write(void *arg)
{
	struct writing *w = arg;
	struct set *set = w->set;
	int r;

	sort(set->nodes, set->nodes_len, sizeof(*set->nodes), compare_nodes);
	sort(set->chunks, set->chunks_len, sizeof(*set->chunks),
	     compare_chunks);
	sort(set->frees, set->frees_len, sizeof(*set->frees), compare_frees);
	r = disk_write_begin(w->disk, &w->txn);
	if (r < 0)
		return r;
	r = disk_error(disk_cursor_open(w->txn, w->disk->blocks, &w->blocks));
	if (r == 0) {
		r = blocks_write(w);
		mdb_cursor_close(w->blocks);
	}
	if (r == 0)
		r = aliases_write(w);
	if (r == 0)
		r = frees_write(w);
	if (r == 0)
		r = lists_write(w);
	if (r == 0)
		r = records_write(w);
	if (r < 0) {
		mdb_txn_abort(w->txn);
		return r;
	}
	return disk_error(mdb_txn_commit(w->txn));
}

int commit_write(struct store *store, struct set *set)
{
	struct writing w = {.store = store, .disk = &store->disk, .set = set};
	int r;

	r = encoder_create(store, &w.encoder);
	if (r == 0)
		r = packer_create(&w.packer);
	if (r == 0)
		r = fault_guard(set_write, &w);
	/* Its transaction never was, but what is in memory may be anything. */
	if (r == FAULT) {
		log_error("pages of '%s/data.mdb' are damaged, which came out "
		          "in the middle of a commit; stopping",
		          store->path);
		abort();
	}
	packer_destroy(w.packer);
	encoder_destroy(w.encoder);
	ledger_release(&w.ledger);
	return r;
}
