/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stored_block.h"

#include <errno.h>

#include "chunk_codec.h"
#include "codec.h"
#include "engine.h"
#include "node_codec.h"

int stored_block_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct stored_block *ret_block)
{
	struct stored_block b = {.target = number};
	struct chunk_header h;
	MDB_val value;
	int r;

	r = disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	             &value);
	/*
	 * The content of a freed chunk may remain under its number, but then no
	 * tree refers to the number and it is not looked up.
	 */
	if (r == -ENOENT) {
		r = disk_get_u64(txn, store->disk.dedup_refs, number,
		                 &b.target);
		b.is_chunk = b.is_dedup_ref = true;
	} else if (r == 0 && value.mv_size && !block_tag_is_node(&value)) {
		r = chunk_header_decode(value.mv_data, value.mv_size, &h);
		b.is_chunk = true;
		b.bytes = r < 0 ? 0 : h.header_len + h.stored;
		b.hash64 = r < 0 ? 0 : be64_get(h.hash);
	} else if (r == 0) {
		b.bytes = value.mv_size;
	}
	if (r < 0)
		return r;
	*ret_block = b;
	return 0;
}
