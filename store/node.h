/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The format of a tree node, and operations on a single node: searching,
 * editing in place, and moving items between nodes for splits and merges.
 * Inside store/ only.
 *
 * A node, from its first byte on:
 *
 *   1  'N' (BLOCK_TAG_NODE)
 *   8  XXH3-64 of all that follows, seeded with the node's number
 *   1  level: 0 for a leaf
 *   1  p, bytes of prefix
 *   1  zero
 *   2  n, number of items
 *   2  h, bytes of heap
 *   p  the first bytes of every key in the node
 *  2n  heads, in key order: of each key the two bytes after the prefix
 *  2n  places, in key order: where in the heap each item begins
 *   h  items, in any order, without gaps: a 16-bit word with the length of
 *      the rest of the key (upper four bits) and of the value, then both
 *
 * A key is 13 bytes: ino and kind in five, off in eight, big-endian.  Zero
 * bytes at its end are not kept: where the head or the rest of a key ends
 * early, zeroes follow.  The rest never ends in a zero byte.
 *
 * The heads stand together so that a search touches few cache lines and, but
 * for heads that are equal, no item.  Head, place and item of one key are
 * called a slot.
 *
 * An inner node's values are 8-byte block numbers.  Its first item has no key
 * (head and rest are empty): the child there holds what is below key 1, and
 * the child at slot i what is from key i up to key i + 1.
 *
 * A node that is part of a tree has at least one item.
 */
#ifndef COPPICE_NODE_H
#define COPPICE_NODE_H

#include "block.h"
#include "codec.h"

enum {
	NODE_TAG = 0,
	NODE_SUM = 1,
	NODE_LEVEL = 9,
	NODE_PREFIX = 10,
	NODE_ZERO = 11,
	NODE_COUNT = 12,
	NODE_HEAP = 14,
	NODE_HEADER = 16,

	NODE_SIZE_MAX = 4080,
	NODE_SLOT_LEN = 4,  /* head and place */
	NODE_WORD_LEN = 2,  /* of the lengths before an item */
	NODE_CHILD_LEN = 8, /* of a value in an inner node */
	NODE_HEAD_LEN = 2,
	NODE_ITEM_MIN = NODE_SLOT_LEN + NODE_WORD_LEN,
	NODE_ITEMS_MAX = (NODE_SIZE_MAX - NODE_HEADER) / NODE_ITEM_MIN,

	KEY_LEN = 13,
};

/*
 * A key as a number: its 13 bytes are the upper ones, so that numbers compare
 * as keys do and a prefix is taken off by a shift.
 */
__extension__ typedef unsigned __int128 packed;

/*
 * Pack a key.  An invalid key packs to more than every key that it would sort
 * after.
 */
static inline packed key_pack(const struct key *key)
{
	if (__builtin_expect(key->ino >> 36 != 0, 0))
		return ~(packed)0;
	if (__builtin_expect(key->kind > 15, 0))
		return (packed)(key->ino << 4 | 15) << 88 | (~(packed)0 >> 40);
	return (packed)(key->ino << 4 | key->kind) << 88 | (packed)key->off
	                                                           << 24;
}

static inline struct key key_unpack(packed p)
{
	return (struct key){
	        .ino = (uint64_t)(p >> 92),
	        .kind = (uint64_t)(p >> 88) & 15,
	        .off = (uint64_t)(p >> 24),
	};
}

/* Return the bytes of a packed key without the zeroes at its end. */
static inline unsigned packed_len(packed p)
{
	uint64_t low = (uint64_t)p, high = (uint64_t)(p >> 64);

	if (low)
		return 16 - (unsigned)__builtin_ctzll(low) / 8;
	return high ? 8 - (unsigned)__builtin_ctzll(high) / 8 : 0;
}

/* Return the length in bytes of the common prefix; 13 if the keys are equal. */
static inline unsigned packed_common(packed a, packed b)
{
	packed x = a ^ b;
	uint64_t high = (uint64_t)(x >> 64), low = (uint64_t)x;

	if (high)
		return (unsigned)__builtin_clzll(high) / 8;
	return low ? 8 + (unsigned)__builtin_clzll(low) / 8 : KEY_LEN;
}

/* Return the first `len` bytes (at most 13), followed by zeroes. */
static inline packed packed_cut(packed p, unsigned len)
{
	return p & ~(~(packed)0 >> 8 * len);
}

/*
 * Return `len` bytes (at most 13) at `p` as the upper bytes of a number.  The
 * function reads the 16 bytes that end there.  They lie within the node,
 * because its header is longer.
 */
static inline packed packed_load(const uint8_t *p, unsigned len)
{
	packed x = (packed)be64_get(p + len - 16) << 64 | be64_get(p + len - 8);

	return x << 8 * (15 - len) << 8;
}

static inline unsigned node_level(const uint8_t *data)
{
	return data[NODE_LEVEL];
}

static inline uint32_t node_count(const uint8_t *data)
{
	return be16_get(data + NODE_COUNT);
}

static inline uint32_t node_prefix_len(const uint8_t *data)
{
	return data[NODE_PREFIX];
}

static inline uint8_t *node_heads(const uint8_t *data)
{
	return (uint8_t *)data + NODE_HEADER + data[NODE_PREFIX];
}

static inline uint8_t *node_places(const uint8_t *data)
{
	return node_heads(data) + 2 * node_count(data);
}

static inline uint8_t *node_heap(const uint8_t *data)
{
	return node_heads(data) + NODE_SLOT_LEN * node_count(data);
}

static inline uint32_t node_head(const uint8_t *data, uint32_t slot)
{
	return be16_get(node_heads(data) + 2 * slot);
}

static inline uint32_t node_place(const uint8_t *data, uint32_t slot)
{
	return be16_get(node_places(data) + 2 * slot);
}

/* Return the bytes of the node that are in use. */
static inline uint32_t node_used(const uint8_t *data)
{
	return (uint32_t)(node_heap(data) - data) + be16_get(data + NODE_HEAP);
}

/* Return the item of a slot: its word of lengths. */
static inline uint8_t *node_item(const uint8_t *data, uint32_t slot)
{
	return node_heap(data) + node_place(data, slot);
}

static inline unsigned item_rest_len(const uint8_t *item)
{
	return item[0] >> 4;
}

static inline uint32_t item_value_len(const uint8_t *item)
{
	return be16_get(item) & 0xfff;
}

static inline const uint8_t *item_value(const uint8_t *item)
{
	return item + NODE_WORD_LEN + item_rest_len(item);
}

static inline uint32_t item_size(const uint8_t *item)
{
	return NODE_WORD_LEN + item_rest_len(item) + item_value_len(item);
}

/* Return the key of a slot. Slot 0 of an inner node has none. */
static inline packed node_key(const uint8_t *data, uint32_t slot)
{
	unsigned prefix_len = data[NODE_PREFIX];
	const uint8_t *item = node_item(data, slot);
	packed tail = (packed)node_head(data, slot) << 112 |
	              packed_load(item + NODE_WORD_LEN, item_rest_len(item)) >>
	                      8 * NODE_HEAD_LEN;

	return packed_load(data + NODE_HEADER, prefix_len) |
	       tail >> 8 * prefix_len;
}

/* Return the block number in a slot of an inner node. */
static inline uint64_t node_child(const uint8_t *data, uint32_t slot)
{
	return be64_get(item_value(node_item(data, slot)));
}

static inline void node_set_child(uint8_t *data, uint32_t slot, uint64_t number)
{
	be64_put((uint8_t *)item_value(node_item(data, slot)), number);
}

/* Return the item in a slot of a leaf. */
static inline void node_get(const uint8_t *data, uint32_t slot,
                            struct item *ret_item)
{
	const uint8_t *item = node_item(data, slot);

	ret_item->key = key_unpack(node_key(data, slot));
	ret_item->value = item_value(item);
	ret_item->len = item_value_len(item);
}

/*
 * Return the first slot whose key is at or after `key`, or the number of slots.
 * Slot 0 of an inner node is before all keys.  Up to NODE_FIND_BEHIND bytes
 * after the node are read, and ignored.
 */
enum { NODE_FIND_BEHIND = 14 };
uint32_t node_find(const uint8_t *data, packed key, bool *ret_exact);

/* Return the slot of the child, in an inner node, that `key` belongs to. */
static inline uint32_t node_route(const uint8_t *data, packed key)
{
	bool exact;
	uint32_t slot = node_find(data, key, &exact);

	return slot - !exact;
}

/* Make an empty node; the bytes after the header are left as they are. */
void node_init(uint8_t *data, unsigned level);

/*
 * In-place edits.  The caller makes sure that the node has the space.
 * node_insert_size() sets *ret_size to the bytes that an item takes, or returns
 * false if the key lacks the prefix of the node, which must be rebuilt then.
 */
bool node_insert_size(const uint8_t *data, packed key, uint32_t len,
                      uint32_t *ret_size);
void node_insert(uint8_t *data, uint32_t slot, packed key, const void *value,
                 uint32_t len);
void node_replace(uint8_t *data, uint32_t slot, const void *value,
                  uint32_t len);
/*
 * Remove the entry of a slot.  In an inner node the range of its child passes
 * to the left neighbour, or, for the first child, to the right one.
 */
void node_remove(uint8_t *data, uint32_t slot);

/* The decoded items of nodes of one level; values point into the nodes. */
struct entry {
	packed key;
	const uint8_t *value;
	uint32_t len;
};
struct entries {
	unsigned level;
	uint32_t count;
	struct entry at[2 * NODE_ITEMS_MAX + 1];
};
void entries_init(struct entries *entries, unsigned level);
void entries_add_node(struct entries *entries, const uint8_t *data);
void entries_insert(struct entries *entries, uint32_t at, packed key,
                    const uint8_t *value, uint32_t len);
/*
 * Return the size in bytes of the node that entries from..to - 1 make (at least
 * one).  The key of the first does not matter in an inner node.
 */
uint32_t entries_size(const struct entries *entries, uint32_t from,
                      uint32_t to);
/* Build the node of entries from..to - 1. The values must not lie in `data`. */
void entries_build(const struct entries *entries, uint32_t from, uint32_t to,
                   uint8_t *data);

/*
 * Return the index at which to cut entries that do not fit one node: that of
 * the first entry of the right node.  `added` is the entry that was inserted or
 * has grown.
 */
enum cut_hint {
	CUT_MIDDLE, /* by bytes, moved a little for a short separator */
	CUT_BEFORE, /* before `added`: the left node stays full */
	CUT_AFTER,  /* after it: similar items are expected there */
};
uint32_t entries_cut(const struct entries *entries, uint32_t size,
                     uint32_t added, enum cut_hint hint);
/* Return the key that the right node gets in its parent. */
packed entries_separator(const struct entries *entries, uint32_t at);

/* Return the checksum of a node of `len` bytes. */
uint64_t node_sum(uint64_t number, const uint8_t *data, uint32_t len);
/*
 * Do what node_verify() does, except for the checksum.  Return NULL, or the
 * fault.
 */
const char *node_fault(const uint8_t *data, uint32_t len);

#endif
