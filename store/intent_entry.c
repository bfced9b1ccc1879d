/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Encoding and decoding the changes of a transaction group.
 *
 * A change has the new content of a node, a record or a range of a chunk.  So
 * a block or record may have several changes, and the last one decides.  Frees,
 * additions to deadlists and operations on lists are logged once each.
 */
#include "intent_entry.h"

#include <errno.h>
#include <xxhash.h>

#include "chunk_header.h"
#include "codec.h"
#include "engine.h"
#include "list.h"
#include "node.h"
#include "parts.h"
#include "patch.h"

/* Numbers of the format. */
enum change {
	CHANGE_NODE = 1,
	CHANGE_CHUNK,
	CHANGE_PART,
	CHANGE_DEDUP,
	CHANGE_GONE,
	CHANGE_FREE,
	CHANGE_LIST,
	CHANGE_PUT,
	CHANGE_DELETE,
	CHANGE_COUNTERS, /* the last one of an entry */
	CHANGE_PATCH,
	CHANGE_MERGE, /* these only in a large log */
	CHANGE_DROP,
};

/* ---- Encoding ----------------------------------------------------------- */

static bool encode_node(struct store *store, struct node *node,
                        struct writer *w)
{
	uint8_t data[DISK_VALUE_MAX];
	uint64_t sum;
	uint32_t len;

	memcpy(data, node->data, store->geometry.node_size);
	len = node_seal(store, node->block.number, data);
	/* All nodes of a path are tracked, but often only its leaf changed. */
	sum = XXH3_64bits(data, len);
	if (node->block.logged && node->logged_sum == sum)
		return false;
	node->logged_sum = sum;
	put_u8(w, CHANGE_NODE);
	put_varint(w, node->block.number);
	put_varint(w, node->block.owner);
	put_varint(w, node->copied);
	put_u8(w, node->stored);
	put_varint(w, len);
	put_bytes(w, data, len);
	return true;
}

static void encode_patch(const struct chunk *patch, struct writer *w)
{
	put_u8(w, CHANGE_PATCH);
	put_varint(w, patch->block.number);
	put_varint(w, patch->block.owner);
	put_varint(w, patch->replaces);
	put_u64(w, patch->same);
	put_varint(w, patch->len);
	put_u8(w, patch->depth);
	put_bytes(w, patch->data,
	          parts_len(patch->store, patch->len, ~patch->same));
}

static void encode_chunk(struct chunk *chunk, struct writer *w)
{
	const struct block *block = &chunk->block;
	bool part = block->logged && !chunk->logged_patch;
	uint32_t from = 0, to = chunk->len;

	chunk->logged_patch = false;
	put_u8(w, part ? CHANGE_PART : CHANGE_CHUNK);
	put_varint(w, block->number);
	put_varint(w, block->owner);
	put_varint(w, chunk->replaces);
	put_u64(w, chunk->same);
	put_varint(w, chunk->len);
	if (part) {
		from = MIN(chunk->unlogged_from, to);
		to = MAX(from, MIN(chunk->unlogged_to, to));
		put_varint(w, from);
		put_varint(w, to - from);
	}
	put_bytes(w, chunk->data + from, to - from);
}

static void encode_dedup(const struct chunk *ref, struct writer *w)
{
	put_u8(w, CHANGE_DEDUP);
	put_varint(w, ref->block.number);
	put_varint(w, ref->block.owner);
	put_varint(w, ref->dedup_of);
}

static bool encode_block(struct store *store, struct block *block,
                         struct writer *w)
{
	struct chunk *chunk = (struct chunk *)block;

	switch ((enum block_kind)block->kind) {
	case BLOCK_NODE:
		return encode_node(store, (struct node *)block, w);
	case BLOCK_CHUNK:
		encode_chunk(chunk, w);
		break;
	case BLOCK_PATCH:
		encode_patch(chunk, w);
		break;
	case BLOCK_DEDUP:
		encode_dedup(chunk, w);
		break;
	}
	return true;
}

/* CHANGE_HEAD: bytes of a change besides those that it copies, at most. */
enum {
	CHANGE_HEAD = 96,
	VARINT_MAX = 10,
	COUNTERS_LEN = 1 + 8 * (1 + COUNTER_COUNT),
};

/* Return true if a change that copies so many bytes fits. */
static bool has_room(const struct writer *w, size_t bytes)
{
	return (size_t)(w->end - w->at) >= CHANGE_HEAD + bytes + COUNTERS_LEN;
}

/* Return the bytes that the change of a block copies, at most. */
static size_t block_copied(const struct store *store, const struct block *block)
{
	if (block->kind == BLOCK_NODE)
		return store->geometry.node_size;
	return block->kind == BLOCK_DEDUP ? 0
	                                  : ((const struct chunk *)block)->len;
}

/* The next functions encode the changes that fit, and untrack them. */

static bool encode_gone(struct intent_track *track, struct writer *w)
{
	bool any = false;

	for (; track->gone_len && has_room(w, 0); any = true) {
		put_u8(w, CHANGE_GONE);
		put_varint(w, track->gone[--track->gone_len]);
	}
	return any;
}

static bool encode_blocks(struct store *store, struct txg *txg,
                          struct writer *w)
{
	struct intent_track *track = &txg->intent;
	bool any = encode_gone(track, w);

	while (track->blocks_len && !track->gone_len) {
		struct block *block = track->blocks[track->blocks_len - 1];

		if (!has_room(w, block_copied(store, block)))
			break;
		any |= encode_block(store, block, w);
		block->logged = true;
		block->unlogged = 0;
		track->blocks_len--;
	}
	return any;
}

static bool encode_frees(struct txg *txg, struct writer *w)
{
	size_t *at = &txg->intent.frees;
	bool any = false;

	for (; *at < txg->frees_len && has_room(w, 0); any = true) {
		put_u8(w, CHANGE_FREE);
		put_varint(w, txg->frees[*at].number);
		put_varint(w, txg->frees[(*at)++].owner);
	}
	return any;
}

static bool encode_list(struct pending_list *list, struct writer *w)
{
	size_t room = (size_t)(w->end - w->at) - CHANGE_HEAD - COUNTERS_LEN;
	size_t count = MIN(list->len - list->logged, room / VARINT_MAX);

	if (!count)
		return false;
	put_u8(w, CHANGE_LIST);
	put_varint(w, list->list);
	put_varint(w, count);
	while (count--)
		put_varint(w, list->numbers[list->logged++]);
	return true;
}

static bool encode_lists(struct txg *txg, struct writer *w, bool *ret_left)
{
	bool any = false;

	for (size_t i = 0; i < txg->lists_len; i++) {
		struct pending_list *list = &txg->lists[i];

		if (list->logged < list->len && has_room(w, VARINT_MAX))
			any |= encode_list(list, w);
		*ret_left |= list->logged < list->len;
	}
	return any;
}

static void encode_merge(const struct list_merge *merge, struct writer *w)
{
	put_u8(w, CHANGE_MERGE);
	put_varint(w, merge->from_owner);
	put_varint(w, merge->owner);
	put_varint(w, merge->old_list);
	put_varint(w, merge->above);
	put_varint(w, merge->from);
	put_varint(w, merge->to);
	put_varint(w, merge->moved);
	put_varint(w, merge->entries);
}

static bool encode_ops(struct txg *txg, struct writer *w)
{
	size_t *at = &txg->intent.ops;
	bool any = false;

	for (; *at < txg->ops_len && has_room(w, 0); ++*at, any = true) {
		const struct list_op *op = &txg->ops[*at];

		if (op->sweep) {
			w->bad = true;
		} else if (op->is_merge) {
			encode_merge(&op->merge, w);
		} else {
			put_u8(w, CHANGE_DROP);
			put_varint(w, op->list);
			put_varint(w, op->entries);
		}
	}
	return any;
}

static bool encode_records(struct memtable *records, struct writer *w)
{
	bool any = false;

	for (; records->unlogged_len; records->unlogged_len--, any = true) {
		struct memtable_entry *entry =
		        records->unlogged[records->unlogged_len - 1];

		if (!has_room(w, (size_t)entry->key_len + entry->len))
			break;
		put_u8(w, entry->value ? CHANGE_PUT : CHANGE_DELETE);
		put_varint(w, entry->key_len);
		put_bytes(w, memtable_key(entry), entry->key_len);
		if (entry->value) {
			put_varint(w, entry->len);
			put_bytes(w, entry->value, entry->len);
		}
		entry->logged = true;
		entry->unlogged = 0;
	}
	return any;
}

bool intent_encode(struct store *store, struct txg *txg, struct writer *w,
                   bool *ret_more)
{
	const struct intent_track *track = &txg->intent;
	bool any = encode_blocks(store, txg, w), more = false;

	any |= encode_frees(txg, w);
	any |= encode_lists(txg, w, &more);
	any |= encode_ops(txg, w);
	any |= encode_records(&txg->records, w);
	more |= track->gone_len || track->blocks_len ||
	        track->frees < txg->frees_len || track->ops < txg->ops_len ||
	        txg->records.unlogged_len;
	put_u8(w, CHANGE_COUNTERS);
	put_u64(w, store->seq);
	for (int i = 0; i < COUNTER_COUNT; i++)
		put_u64(w, store->counters[i]);
	if (ret_more)
		*ret_more = more;
	/* Without any: a change does not even fit an empty entry. */
	w->bad |= more && (!ret_more || !any);
	if (w->bad)
		intent_track_stop(txg);
	return any;
}

/* ---- Decoding ----------------------------------------------------------- */

/* Return the group's block of this number and kind, or NULL. */
static struct block *block_of(struct store *store, uint64_t number,
                              enum block_kind kind)
{
	struct block *block = block_find(store, number);

	return block && block->state == BLOCK_NEW && block->kind == kind ? block
	                                                                 : NULL;
}

/* Return true if a block may be added under the number. */
static bool number_is_open(struct store *store, uint64_t number)
{
	return number && !block_find(store, number);
}

static int decode_node(struct store *store, struct reader *r)
{
	uint64_t number = get_varint(r), owner = get_varint(r),
	         copied = get_varint(r);
	uint8_t stored = get_u8(r);
	uint64_t len = get_varint(r);
	const uint8_t *data = reader_take(r, len);
	struct node *node;

	if (!data || stored > 1 || node_verify(store, number, data, len) < 0)
		return -EUCLEAN;
	node = (struct node *)block_of(store, number, BLOCK_NODE);
	if (!node) {
		if (!number_is_open(store, number))
			return -EUCLEAN;
		node = calloc(1, sizeof(*node) + store->geometry.node_size);
		if (!node)
			return -ENOMEM;
		node->block.number = number;
		node->block.kind = BLOCK_NODE;
		block_insert(store, &node->block);
		txg_add_node(store, node);
	}
	node->block.owner = owner;
	node->copied = copied;
	node->stored = stored;
	memset(node->data, 0, store->geometry.node_size);
	memcpy(node->data, data, len);
	return 0;
}

static int chunk_new(struct store *store, uint64_t number, uint64_t len,
                     struct chunk **ret_chunk)
{
	struct chunk *chunk;

	if (!number_is_open(store, number) || len > store_chunk_size(store))
		return -EUCLEAN;
	chunk = chunk_alloc(store, len);
	if (!chunk)
		return -ENOMEM;
	chunk->block.number = number;
	block_insert(store, &chunk->block);
	txg_add_chunk(store, chunk);
	*ret_chunk = chunk;
	return 0;
}

/* Remove a block from the group. */
static void block_take_out(struct store *store, struct block *block)
{
	txg_take_out(store, block);
	block_unhash(store, block);
	if (block->kind == BLOCK_NODE)
		free(block);
	else
		chunk_unref((struct chunk *)block);
}

/* Remove the patch that an earlier entry added under the number, if any. */
static void patch_take_out(struct store *store, uint64_t number)
{
	struct block *patch = block_of(store, number, BLOCK_PATCH);

	if (patch)
		block_take_out(store, patch);
}

static int decode_patch(struct store *store, struct reader *r)
{
	uint64_t number = get_varint(r), owner = get_varint(r),
	         replaces = get_varint(r), same = get_u64(r),
	         len = get_varint(r);
	uint8_t depth = get_u8(r);
	const uint8_t *data;
	struct chunk *patch;
	uint64_t parts;

	if (r->bad || len > store_chunk_size(store) || !replaces ||
	    replaces >= number || !depth || depth > CHUNK_DEPTH_MAX)
		return -EUCLEAN;
	parts = parts_of(store, 0, (uint32_t)len) & ~same;
	data = reader_take(r, parts_len(store, (uint32_t)len, parts));
	patch_take_out(store, number);
	if (!data || !parts || !number_is_open(store, number))
		return -EUCLEAN;
	patch = patch_alloc(store, (uint32_t)len, parts, depth);
	if (!patch)
		return -ENOMEM;
	memcpy(patch->data, data, patch->capacity);
	patch->replaces = replaces;
	patch->block.number = number;
	patch->block.owner = owner;
	block_insert(store, &patch->block);
	txg_add_chunk(store, patch);
	return 0;
}

static int decode_chunk(struct store *store, struct reader *r, bool part)
{
	uint64_t number = get_varint(r), owner = get_varint(r),
	         replaces = get_varint(r), same = get_u64(r),
	         len = get_varint(r), from = part ? get_varint(r) : 0,
	         count = part ? get_varint(r) : len;
	const uint8_t *data = reader_take(r, count);
	struct chunk *chunk;
	int err = 0;

	if (!data || len > store_chunk_size(store) || from > len ||
	    count > len - from)
		return -EUCLEAN;
	if (!part)
		patch_take_out(store, number);
	chunk = (struct chunk *)block_of(store, number, BLOCK_CHUNK);
	if (!chunk && part)
		return -EUCLEAN;
	if (!chunk)
		err = chunk_new(store, number, len, &chunk);
	if (!err)
		err = chunk_resize(chunk, (uint32_t)len);
	if (err)
		return err;
	if (count)
		memcpy(chunk->data + from, data, count);
	chunk->block.owner = owner;
	chunk->replaces = replaces;
	chunk->same = same;
	return 0;
}

static int decode_dedup(struct store *store, struct reader *r)
{
	uint64_t number = get_varint(r), owner = get_varint(r),
	         dedup_of = get_varint(r);
	struct chunk *ref;

	if (r->bad || dedup_of >= number || !number_is_open(store, number))
		return -EUCLEAN;
	ref = calloc(1, sizeof(*ref));
	if (!ref)
		return -ENOMEM;
	ref->store = store;
	ref->dedup_of = dedup_of;
	atomic_init(&ref->refs, 1);
	ref->block.kind = BLOCK_DEDUP;
	ref->block.number = number;
	ref->block.owner = owner;
	block_insert(store, &ref->block);
	txg_add_chunk(store, ref);
	return 0;
}

static int decode_gone(struct store *store, struct reader *r)
{
	struct block *block = block_find(store, get_varint(r));

	if (r->bad || !block || block->state != BLOCK_NEW)
		return -EUCLEAN;
	/* CHANGE_FREE frees a node that an earlier group stored. */
	if (block->kind == BLOCK_NODE && ((struct node *)block)->stored)
		return 0;
	block_take_out(store, block);
	return 0;
}

static int decode_free(struct store *store, struct reader *r)
{
	uint64_t number = get_varint(r), owner = get_varint(r);

	if (r->bad)
		return -EUCLEAN;
	txg_add_free(store, number, owner);
	return 0;
}

static int decode_list(struct store *store, struct reader *r)
{
	uint64_t list = get_varint(r), count = get_varint(r);

	if (r->bad || count > reader_left(r))
		return -EUCLEAN;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t number = get_varint(r);

		if (r->bad)
			return -EUCLEAN;
		list_add(store, list, number);
	}
	return 0;
}

static int decode_merge(struct store *store, struct reader *r)
{
	struct list_merge merge;

	merge.from_owner = get_varint(r);
	merge.owner = get_varint(r);
	merge.old_list = get_varint(r);
	merge.above = get_varint(r);
	merge.from = get_varint(r);
	merge.to = get_varint(r);
	merge.moved = get_varint(r);
	merge.entries = get_varint(r);
	if (r->bad)
		return -EUCLEAN;
	list_merge(store, &merge);
	return 0;
}

static int decode_drop(struct store *store, struct reader *r)
{
	uint64_t list = get_varint(r), entries = get_varint(r);

	if (r->bad)
		return -EUCLEAN;
	list_drop(store, list, entries);
	return 0;
}

static int decode_record(struct store *store, struct reader *r, bool put)
{
	uint64_t key_len = get_varint(r);
	const uint8_t *key = reader_take(r, key_len), *value = NULL;
	uint64_t len = put ? get_varint(r) : 0;

	if (put)
		value = reader_take(r, len);
	if (r->bad || !key_len || key_len > TABLE_KEY_MAX + 1 ||
	    len > TABLE_VALUE_MAX)
		return -EUCLEAN;
	if (put)
		return table_put(store, key[0], key + 1, key_len - 1, value,
		                 len);
	return table_del(store, key[0], key + 1, key_len - 1);
}

static int decode_counters(struct store *store, struct reader *r)
{
	uint64_t seq = get_u64(r), counters[COUNTER_COUNT];

	for (int i = 0; i < COUNTER_COUNT; i++)
		counters[i] = get_u64(r);
	if (!reader_done(r) || seq < store->seq)
		return -EUCLEAN;
	store->seq = seq;
	memcpy(store->counters, counters, sizeof(counters));
	return 0;
}

int intent_decode(struct store *store, const void *data, size_t len)
{
	struct reader r = reader_init(data, len);
	int err = 0;

	while (!err) {
		uint8_t kind = get_u8(&r);

		switch (kind) {
		case CHANGE_NODE:
			err = decode_node(store, &r);
			break;
		case CHANGE_CHUNK:
		case CHANGE_PART:
			err = decode_chunk(store, &r, kind == CHANGE_PART);
			break;
		case CHANGE_PATCH:
			err = decode_patch(store, &r);
			break;
		case CHANGE_DEDUP:
			err = decode_dedup(store, &r);
			break;
		case CHANGE_GONE:
			err = decode_gone(store, &r);
			break;
		case CHANGE_FREE:
			err = decode_free(store, &r);
			break;
		case CHANGE_LIST:
			err = decode_list(store, &r);
			break;
		case CHANGE_MERGE:
			err = decode_merge(store, &r);
			break;
		case CHANGE_DROP:
			err = decode_drop(store, &r);
			break;
		case CHANGE_PUT:
		case CHANGE_DELETE:
			err = decode_record(store, &r, kind == CHANGE_PUT);
			break;
		case CHANGE_COUNTERS:
			return decode_counters(store, &r);
		default:
			err = -EUCLEAN;
		}
	}
	return err;
}
