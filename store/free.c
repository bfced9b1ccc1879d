/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reference counts of stored blocks, and freeing them with the last reference.
 */
#include "free.h"

#include <errno.h>

#include "accounting.h"
#include "array.h"
#include "chunk_codec.h"
#include "codec.h"
#include "engine.h"
#include "node_codec.h"
#include "stored_block.h"

int refcount_up(struct store *store, MDB_txn *txn, uint64_t number)
{
	uint64_t count = 1;
	int r = disk_get_u64(txn, store->disk.refcounts, number, &count);

	if (r < 0 && r != -ENOENT)
		return r;
	return disk_put_u64(txn, store->disk.refcounts, number, count + 1);
}

static int fragments_delete(struct store *store, MDB_txn *txn, uint64_t number)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	MDB_cursor *cursor;
	int r;

	r = disk_error(disk_cursor_open(txn, store->disk.blocks, &cursor));
	if (r < 0)
		return r;
	r = disk_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (r == 0) {
		memcpy(&id, key.mv_data, sizeof(id));
		if (id >> DISK_FRAGMENT_BITS != number)
			break;
		sparse_add(&store->sparse, number, value.mv_size);
		r = disk_cursor_del(cursor, &key);
		/*
		 * After a deletion MDB_NEXT returns the entry that took its
		 * place.
		 */
		if (r == 0)
			r = disk_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : disk_error(r);
}

/* Drop a reference to the block `target`.  Return 1 if it was the last. */
static int count_down(struct store *store, MDB_txn *txn, uint64_t target)
{
	uint64_t count;
	int r = disk_get_u64(txn, store->disk.refcounts, target, &count);

	if (r < 0)
		return r == -ENOENT ? 1 : r;
	if (count > 2)
		return disk_put_u64(txn, store->disk.refcounts, target,
		                    count - 1);
	return disk_del_u64(txn, store->disk.refcounts, target);
}

/*
 * Read the header of a chunk; for a node, set only the base.  All is zero if
 * the block is damaged.  *ret_node: the length of a node, else 0.  Add the
 * block's size to *ret_bytes.
 */
static void stored_header(struct store *store, MDB_txn *txn, uint64_t number,
                          struct chunk_header *ret_header, size_t *ret_node,
                          uint64_t *ret_bytes)
{
	struct chunk_header h = {0};
	MDB_val value;

	*ret_node = 0;
	if (disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	             &value) == 0) {
		if (block_tag_is_node(&value)) {
			h.bases[0] = node_stored_base(&value);
			h.base_count = h.bases[0] != 0;
			*ret_node = value.mv_size;
			*ret_bytes += value.mv_size;
		} else if (!chunk_header_decode(value.mv_data, value.mv_size,
		                                &h)) {
			*ret_bytes += h.header_len + h.stored;
		}
	}
	*ret_header = h;
}

/* Delete a node, which has only one fragment. */
static int node_delete(struct store *store, MDB_txn *txn, uint64_t number,
                       size_t len)
{
	sparse_add(&store->sparse, number, len);
	return disk_del_u64(txn, store->disk.blocks,
	                    number << DISK_FRAGMENT_BITS);
}

/* Blocks that are yet to lose a reference each. */
struct pending {
	uint64_t *numbers;
	size_t len, capacity;
};

static int pending_add(struct pending *pending, uint64_t number)
{
	uint64_t *place =
	        array_add(&pending->numbers, &pending->len, &pending->capacity);

	if (!place)
		return -ENOMEM;
	*place = number;
	return 0;
}

/*
 * Drop a reference to the block.  If it was the last one, delete the block, set
 * *ret_next to its first base, and add the other bases to `pending`: all of
 * them are yet to lose a reference.  Else, or without a base, *ret_next is 0.
 */
static int block_free(struct store *store, MDB_txn *txn, uint64_t number,
                      struct pending *pending, uint64_t *ret_next,
                      uint64_t *ret_bytes)
{
	struct chunk_header h;
	uint64_t shared, hash64;
	size_t node;
	int r = count_down(store, txn, number);

	*ret_next = 0;
	if (r <= 0)
		return r;
	stored_header(store, txn, number, &h, &node, ret_bytes);
	hash64 = be64_get(h.hash);
	r = 0;
	if (h.len >= SHARE_MIN &&
	    !disk_get_u64(txn, store->disk.hashes, hash64, &shared) &&
	    shared == number)
		r = disk_del_u64(txn, store->disk.hashes, hash64);
	if (r == 0)
		r = node ? node_delete(store, txn, number, node)
		         : fragments_delete(store, txn, number);
	for (unsigned i = 1; r == 0 && i < h.base_count; i++)
		r = pending_add(pending, h.bases[i]);
	*ret_next = h.base_count ? h.bases[0] : 0;
	return r;
}

int stored_free(struct store *store, MDB_txn *txn, uint64_t number,
                uint64_t *ret_bytes)
{
	struct pending pending = {0};
	int r = 0;

	while (r == 0 && number) {
		r = block_free(store, txn, number, &pending, &number,
		               ret_bytes);
		if (!number && pending.len)
			number = pending.numbers[--pending.len];
	}
	free(pending.numbers);
	return r;
}

int name_free(struct store *store, MDB_txn *txn, uint64_t number,
              uint64_t owner, struct accounting *accounting,
              uint64_t *ret_target)
{
	struct stored_block b;
	int r = stored_block_get(store, txn, number, &b);

	if (r == -ENOENT)
		log_error("cannot free block %llu: it is missing",
		          (unsigned long long)number);
	if (r == -EUCLEAN) /* a chunk with a damaged header: free it, too */
		b = (struct stored_block){.target = number};
	else if (r < 0)
		return r;
	accounting_get(accounting, owner)->unique -= (int64_t)b.bytes;
	*ret_target = b.target;
	return b.is_dedup_ref
	               ? disk_del_u64(txn, store->disk.dedup_refs, number)
	               : 0;
}

int commit_free(struct store *store, MDB_txn *txn, uint64_t number,
                uint64_t owner, struct accounting *accounting,
                uint64_t *ret_bytes)
{
	uint64_t target;
	int r = name_free(store, txn, number, owner, accounting, &target);

	*ret_bytes = 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return stored_free(store, txn, target, ret_bytes);
}
