/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tree nodes: search, edits in place, checksum and verification. node.h has the
 * format.
 */
#include "node.h"

#include <errno.h>
#include <xxhash.h>

#include "util.h"

static packed slot_rest(const uint8_t *data, uint32_t slot)
{
	const uint8_t *item = node_item(data, slot);

	return packed_load(item + NODE_WORD_LEN, item_rest_len(item));
}

/*
 * Return the slot after those from `low` on that have this head and a lower
 * rest.  Rows of equal heads are short, mostly of one.
 */
static __attribute__((noinline)) uint32_t find_rest(const uint8_t *data,
                                                    uint32_t low, uint32_t head,
                                                    packed rest,
                                                    bool *ret_exact)
{
	uint32_t count = node_count(data);
	uint32_t n = count - low;
	packed x = slot_rest(data, low);

	if (x >= rest) {
		*ret_exact = x == rest;
		return low;
	}
	while (n > 0) {
		uint32_t half = n / 2;
		uint32_t mid = low + half;

		if (node_head(data, mid) == head &&
		    slot_rest(data, mid) < rest) {
			low = mid + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	*ret_exact = low < count && node_head(data, low) == head &&
	             slot_rest(data, low) == rest;
	return low;
}

typedef uint16_t lanes __attribute__((vector_size(16)));

/*
 * Return how many of n ascending heads are below this one.  A few heads are
 * compared eight at a time, which is faster than the dependent steps of a
 * binary search.  Up to 14 bytes after the heads are read and ignored.
 */
static uint32_t heads_below(const uint8_t *heads, uint32_t n, uint32_t head)
{
	const lanes one = {1, 1, 1, 1, 1, 1, 1, 1};
	const lanes want = one * (uint16_t)head;
	lanes index = {0, 1, 2, 3, 4, 5, 6, 7};
	lanes sum = {0};
	uint64_t sums[2];
	uint32_t low = 0;

	while (n > 64) {
		uint32_t half = n / 2;

		low += be16_get(heads + 2 * (low + half - 1)) < head ? half : 0;
		n -= half;
	}
	heads += 2 * low;
	for (uint32_t i = 0; i < n; i += 8) {
		lanes v;

		memcpy(&v, heads + 2 * i, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		v = v << 8 | v >> 8;
#endif
		sum -= (lanes)((v < want) & (index < one * (uint16_t)n));
		index += 8 * one;
	}
	memcpy(sums, &sum, sizeof(sums));
	return low +
	       (uint32_t)((sums[0] + sums[1]) * UINT64_C(0x0001000100010001) >>
	                  48);
}

uint32_t node_find(const uint8_t *data, packed key, bool *ret_exact)
{
	unsigned prefix_len = data[NODE_PREFIX];
	const uint8_t *heads = data + NODE_HEADER + prefix_len;
	uint32_t count = node_count(data);
	uint32_t low = node_level(data) != 0;
	packed prefix, top;
	uint32_t head;

	/* Prefetch the heads, and probably the places. */
	__builtin_prefetch(data + 64);
	__builtin_prefetch(data + 128);
	*ret_exact = false;
	prefix = packed_load(data + NODE_HEADER, prefix_len);
	top = packed_cut(key, prefix_len);
	if (top != prefix)
		return top < prefix ? low : count;
	key <<= 8 * prefix_len;
	head = (uint32_t)(key >> 112);
	low += heads_below(heads + 2 * low, count - low, head);
	if (low == count || be16_get(heads + 2 * low) != head)
		return low;
	return find_rest(data, low, head, key << 8 * NODE_HEAD_LEN, ret_exact);
}

void node_init(uint8_t *data, unsigned level)
{
	memset(data, 0, NODE_HEADER);
	data[NODE_TAG] = BLOCK_TAG_NODE;
	data[NODE_LEVEL] = (uint8_t)level;
}

bool node_insert_size(const uint8_t *data, packed key, uint32_t len,
                      uint32_t *ret_size)
{
	unsigned prefix_len = data[NODE_PREFIX];

	if (packed_cut(key, prefix_len) !=
	    packed_load(data + NODE_HEADER, prefix_len))
		return false;
	*ret_size = NODE_ITEM_MIN + len +
	            packed_len(key << 8 * (prefix_len) << 8 * NODE_HEAD_LEN);
	return true;
}

void node_insert(uint8_t *data, uint32_t slot, packed key, const void *value,
                 uint32_t len)
{
	packed tail = key << 8 * data[NODE_PREFIX];
	packed rest = tail << 8 * NODE_HEAD_LEN;
	unsigned rest_len = packed_len(rest);
	uint32_t heap_len = be16_get(data + NODE_HEAP);
	uint8_t *end = node_heap(data) + heap_len;
	uint8_t *head = node_heads(data) + 2 * slot;
	uint8_t *place = node_places(data) + 2 * slot;
	uint8_t *item = end + NODE_SLOT_LEN;
	uint8_t bytes[16];

	memmove(place + 4, place, (size_t)(end - place));
	memmove(head + 2, head, (size_t)(place - head));
	be16_put(head, (uint16_t)(tail >> 112));
	be16_put(place + 2, (uint16_t)heap_len);
	be16_put(item, (uint16_t)(rest_len << 12 | len));
	be64_put(bytes, (uint64_t)(rest >> 64));
	be64_put(bytes + 8, (uint64_t)rest);
	memcpy(item + NODE_WORD_LEN, bytes, rest_len);
	if (len)
		memcpy(item + NODE_WORD_LEN + rest_len, value, len);
	be16_put(data + NODE_COUNT, (uint16_t)(node_count(data) + 1));
	be16_put(data + NODE_HEAP,
	         (uint16_t)(heap_len + NODE_WORD_LEN + rest_len + len));
}

/* Add `by` to the places of items that begin after `place`. */
static void shift_places(uint8_t *data, uint32_t place, int32_t by)
{
	uint8_t *p = node_places(data);
	uint32_t count = node_count(data);

	for (uint32_t i = 0; i < count; i++, p += 2) {
		uint32_t at = be16_get(p);

		at += at > place ? (uint32_t)by : 0;
		be16_put(p, (uint16_t)at);
	}
}

void node_replace(uint8_t *data, uint32_t slot, const void *value, uint32_t len)
{
	uint8_t *item = node_item(data, slot);
	uint32_t old_len = item_value_len(item);
	uint8_t *at = (uint8_t *)item_value(item);

	if (len != old_len) {
		uint8_t *end = data + node_used(data);
		uint8_t *old_end = at + old_len;
		int32_t by = (int32_t)len - (int32_t)old_len;

		memmove(at + len, old_end, (size_t)(end - old_end));
		shift_places(data, node_place(data, slot), by);
		be16_put(item, (uint16_t)(item_rest_len(item) << 12 | len));
		be16_put(data + NODE_HEAP,
		         (uint16_t)(be16_get(data + NODE_HEAP) + by));
	}
	if (len)
		memcpy(at, value, len);
}

void node_remove(uint8_t *data, uint32_t slot)
{
	if (node_level(data) && !slot && node_count(data) > 1) {
		node_set_child(data, 0, node_child(data, 1));
		slot = 1;
	}

	uint8_t *head = node_heads(data) + 2 * slot;
	uint8_t *place = node_places(data) + 2 * slot;
	uint8_t *item = node_item(data, slot);
	uint32_t size = item_size(item);
	uint8_t *end = data + node_used(data);

	shift_places(data, be16_get(place), -(int32_t)size);
	memmove(head, head + 2, (size_t)(place - head) - 2);
	memmove(place - 2, place + 2, (size_t)(item - place) - 2);
	memmove(item - NODE_SLOT_LEN, item + size, (size_t)(end - item) - size);
	be16_put(data + NODE_COUNT, (uint16_t)(node_count(data) - 1));
	be16_put(data + NODE_HEAP,
	         (uint16_t)(be16_get(data + NODE_HEAP) - size));
}

/* ---- Checksum and verification ------------------------------------------ */

uint64_t node_sum(uint64_t number, const uint8_t *data, uint32_t len)
{
	return XXH3_64bits_withSeed(data + NODE_LEVEL, len - NODE_LEVEL,
	                            number);
}

uint32_t node_seal(const struct store *store, uint64_t number, uint8_t *data)
{
	uint32_t len = node_used(data);

	(void)store;
	be64_put(data + NODE_SUM, node_sum(number, data, len));
	return len;
}

/* Check the lengths and the form of one item, whose position is in bounds. */
static const char *item_fault(const uint8_t *data, uint32_t slot,
                              const uint8_t *item)
{
	unsigned prefix_len = data[NODE_PREFIX];
	unsigned rest_len = item_rest_len(item);
	uint32_t head = node_head(data, slot);

	if (rest_len && (prefix_len + NODE_HEAD_LEN + rest_len > KEY_LEN ||
	                 !item[NODE_WORD_LEN + rest_len - 1]))
		return "malformed key";
	if ((prefix_len == KEY_LEN && head) ||
	    (prefix_len == KEY_LEN - 1 && head & 0xff))
		return "malformed key";
	if (node_level(data) && !slot && (head || rest_len))
		return "malformed key";
	if (!node_level(data))
		return item_value_len(item) > TREE_VALUE_MAX ? "long value"
		                                             : NULL;
	if (item_value_len(item) != NODE_CHILD_LEN)
		return "malformed child";
	return be64_get(item_value(item)) ? NULL : "child without a number";
}

/*
 * Check that the items lie in the heap without gaps, in any order, because
 * edits rely on it.  They do if all of them start at different offsets, and
 * each but the first starts where another ends.
 */
static const char *heap_fault(const uint8_t *data, uint32_t heap_len)
{
	uint64_t starts[NODE_SIZE_MAX / 64 + 1] = {0};
	uint64_t ends[NODE_SIZE_MAX / 64 + 1] = {0};
	const uint8_t *heap = node_heap(data);
	uint32_t count = node_count(data);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = node_place(data, i);
		const uint8_t *item = heap + at;
		const char *fault;
		uint32_t end;

		if (at + NODE_WORD_LEN > heap_len)
			return "item out of bounds";
		end = at + item_size(item);
		if (end > heap_len)
			return "item out of bounds";
		if (starts[at / 64] >> at % 64 & 1 ||
		    ends[end / 64] >> end % 64 & 1)
			return "items overlap";
		starts[at / 64] |= UINT64_C(1) << at % 64;
		ends[end / 64] |= UINT64_C(1) << end % 64;
		fault = item_fault(data, i, item);
		if (fault)
			return fault;
	}
	starts[heap_len / 64] ^= UINT64_C(1) << heap_len % 64;
	ends[0] ^= 1;
	return memcmp(starts, ends, sizeof(starts)) ? "gap between items"
	                                            : NULL;
}

const char *node_fault(const uint8_t *data, uint32_t len)
{
	uint32_t count, heap_len;

	if (len < NODE_HEADER || len > NODE_SIZE_MAX)
		return "bad length";
	if (data[NODE_TAG] != BLOCK_TAG_NODE || data[NODE_ZERO])
		return "not a node";
	if (node_level(data) >= TREE_DEPTH_MAX)
		return "bad level";
	if (node_prefix_len(data) > KEY_LEN)
		return "bad prefix";
	count = node_count(data);
	heap_len = be16_get(data + NODE_HEAP);
	if (!count)
		return "empty";
	if (NODE_HEADER + node_prefix_len(data) + NODE_SLOT_LEN * count +
	            heap_len !=
	    len)
		return "bad length";

	const char *fault = heap_fault(data, heap_len);

	for (uint32_t i = 1 + !!node_level(data); !fault && i < count; i++)
		if (node_key(data, i - 1) >= node_key(data, i))
			fault = "keys out of order";
	return fault;
}

int node_verify(const struct store *store, uint64_t number, const uint8_t *data,
                size_t len)
{
	if (len < NODE_HEADER || len > store_node_size(store))
		return -EUCLEAN;
	if (be64_get(data + NODE_SUM) != node_sum(number, data, (uint32_t)len))
		return -EUCLEAN;
	return node_fault(data, (uint32_t)len) ? -EUCLEAN : 0;
}
