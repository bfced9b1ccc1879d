/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stored forms: a chunk whole, compressed, a delta of another; a packed node.
 */
#include <unistd.h>

#include "chunk_codec.h"
#include "chunk_encoder.h"
#include "engine.h"
#include "node_codec.h"
#include "fuzz.h"
#include "node.h"
#include "scratch.h"
#include "stored_block.h"

static struct scratch scratch;
static struct store *store;

static void at_end(void)
{
	store_close(store);
	scratch_release(&scratch);
}

static void begin(void)
{
	struct store_params params = {0};
	struct store_options options = {.readonly = true};

	fuzz_quiet();
	scratch_init(&scratch);
	fuzz_assert(!store_create(scratch.store, &params));
	fuzz_assert(!store_open(scratch.store, &options, &store));
	store_close(store);
	options.readonly = false;
	fuzz_assert(!store_open(scratch.store, &options, &store));
	atexit(at_end);
}

static void put(MDB_txn *txn, uint64_t number, const uint8_t *data, size_t len)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;

	for (size_t at = 0; at < len || !at; at += DISK_VALUE_MAX, id++) {
		MDB_val key = {sizeof(id), &id};
		MDB_val value = {MIN(len - at, (size_t)DISK_VALUE_MAX),
		                 (void *)(data + at)};

		fuzz_assert(!mdb_put(txn, store->disk.blocks, &key, &value, 0));
	}
}

/* A chunk for deltas to hang on. */
static void put_base(MDB_txn *txn)
{
	struct chunk *base = chunk_alloc(store, 4000);
	struct encoder *encoder;
	struct form form;
	uint8_t hash[16];

	fuzz_assert(base && !encoder_create(store, &encoder));
	fuzz_assert(!chunk_resize(base, 4000));
	for (int i = 0; i < 4000; i++)
		chunk_data(base)[i] = (uint8_t)(i * i >> 5);
	chunk_hash(base, hash);
	encoder_run(encoder, base, hash, &form);
	put(txn, 1, form.data, form.len);
	encoder_destroy(encoder);
	chunk_unref(base);
}

/* Packed alone or, being its own base, with another. */
static void try_node(MDB_txn *txn, const MDB_val *value)
{
	uint8_t room[NODE_SIZE_MAX];
	const uint8_t *node;
	uint32_t node_len;

	put(txn, node_stored_base(value), value->mv_data, value->mv_size);
	for (uint64_t number = 2; number < 4; number++)
		if (!node_decode(store, txn, number, value, room, &node,
		                 &node_len))
			fuzz_assert(!node_fault(node, node_len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stored_block block;
	struct chunk *chunk = NULL;
	MDB_val value = {len, (void *)data};
	MDB_txn *txn;

	if (!store)
		begin();
	if (len > 140000)
		return 0;
	fuzz_assert(!disk_write_begin(&store->disk, &txn));
	put_base(txn);
	put(txn, 2, data, len);
	if (!chunk_decode(store, txn, 2, &chunk)) {
		fuzz_assert(chunk->len <= 1 << 17);
		chunk_unref(chunk);
	}
	if (!stored_block_get(store, txn, 2, &block))
		fuzz_assert(!block.is_dedup_ref);
	if (len <= DISK_VALUE_MAX && block_tag_is_node(&value))
		try_node(txn, &value);
	mdb_txn_abort(txn);
	return 0;
}
