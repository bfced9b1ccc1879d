/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking nodes apart and rebuilding them, for splits, merges and new prefixes:
 * see node.h.
 */
#include "node.h"
#include "util.h"

void entries_init(struct entries *entries, unsigned level)
{
	entries->level = level;
	entries->count = 0;
}

void entries_add_node(struct entries *entries, const uint8_t *data)
{
	uint32_t count = node_count(data);

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *item = node_item(data, i);

		entries->at[entries->count++] = (struct entry){
		        .key = node_key(data, i),
		        .value = item_value(item),
		        .len = item_value_len(item),
		};
	}
}

void entries_insert(struct entries *entries, uint32_t at, packed key,
                    const uint8_t *value, uint32_t len)
{
	struct entry *entry = &entries->at[at];

	memmove(entry + 1, entry, (entries->count - at) * sizeof(*entry));
	*entry = (struct entry){key, value, len};
	entries->count++;
}

/*
 * Return the length of the prefix that makes the node smallest.  A longer
 * prefix saves bytes as long as it shortens the item of some key.
 */
static unsigned best_prefix(const struct entries *entries, uint32_t from,
                            uint32_t to)
{
	unsigned longest = NODE_HEAD_LEN;
	unsigned common;

	if (entries->level)
		from++;
	if (from == to)
		return 0;
	common = packed_common(entries->at[from].key, entries->at[to - 1].key);
	for (uint32_t i = from; i < to; i++)
		longest = MAX(longest, packed_len(entries->at[i].key));
	return MIN(common, longest - NODE_HEAD_LEN);
}

/* Return the key that entry `at` has in a node that begins at `from`. */
static packed entries_key(const struct entries *entries, uint32_t from,
                          uint32_t at)
{
	return entries->level && at == from ? 0 : entries->at[at].key;
}

uint32_t entries_size(const struct entries *entries, uint32_t from, uint32_t to)
{
	unsigned prefix_len = best_prefix(entries, from, to);
	uint32_t size = NODE_HEADER + prefix_len;

	for (uint32_t i = from; i < to; i++) {
		unsigned key_len = packed_len(entries_key(entries, from, i));
		unsigned kept = prefix_len + NODE_HEAD_LEN;

		size += NODE_ITEM_MIN + entries->at[i].len +
		        (key_len > kept ? key_len - kept : 0);
	}
	return size;
}

void entries_build(const struct entries *entries, uint32_t from, uint32_t to,
                   uint8_t *data)
{
	unsigned prefix_len = best_prefix(entries, from, to);
	uint32_t count = to - from;
	uint8_t *head, *place, *heap;
	uint32_t at = 0;

	node_init(data, entries->level);
	data[NODE_PREFIX] = (uint8_t)prefix_len;
	for (unsigned i = 0; i < prefix_len; i++)
		data[NODE_HEADER + i] =
		        (uint8_t)(entries->at[to - 1].key >> (120 - 8 * i));
	be16_put(data + NODE_COUNT, (uint16_t)count);
	head = node_heads(data);
	place = node_places(data);
	heap = node_heap(data);
	for (uint32_t i = from; i < to; i++, head += 2, place += 2) {
		const struct entry *entry = &entries->at[i];
		packed tail = entries_key(entries, from, i) << 8 * prefix_len;
		packed rest = tail << 8 * NODE_HEAD_LEN;
		unsigned rest_len = packed_len(rest);
		uint8_t *item = heap + at;
		uint8_t bytes[16];

		be16_put(head, (uint16_t)(tail >> 112));
		be16_put(place, (uint16_t)at);
		be16_put(item, (uint16_t)(rest_len << 12 | entry->len));
		be64_put(bytes, (uint64_t)(rest >> 64));
		be64_put(bytes + 8, (uint64_t)rest);
		memcpy(item + NODE_WORD_LEN, bytes, rest_len);
		if (entry->len)
			memcpy(item + NODE_WORD_LEN + rest_len, entry->value,
			       entry->len);
		at += NODE_WORD_LEN + rest_len + entry->len;
	}
	be16_put(data + NODE_HEAP, (uint16_t)at);
}

packed entries_separator(const struct entries *entries, uint32_t at)
{
	packed left = entries->at[at - 1].key, right = entries->at[at].key;
	unsigned common = packed_common(left, right);

	/*
	 * The separator of two leaves is the shortest key that lies between
	 * them.
	 */
	return entries->level || common >= KEY_LEN
	               ? right
	               : packed_cut(right, common + 1);
}

static bool cut_fits(const struct entries *entries, uint32_t size, uint32_t at)
{
	return at > 0 && at < entries->count &&
	       entries_size(entries, 0, at) <= size &&
	       entries_size(entries, at, entries->count) <= size;
}

/* Return the cut that comes nearest to halving the bytes. */
static uint32_t cut_middle(const struct entries *entries)
{
	uint32_t total = 0, left = 0, at = 0;

	for (uint32_t i = 0; i < entries->count; i++)
		total += entries->at[i].len + packed_len(entries->at[i].key);
	while (2 * left < total && at < entries->count) {
		left += entries->at[at].len + packed_len(entries->at[at].key);
		at++;
	}
	return at;
}

/*
 * Choose the shortest separator near the middle: inner nodes consist of them.
 */
static uint32_t cut_short(const struct entries *entries, uint32_t middle)
{
	uint32_t reach = entries->count / 16;
	uint32_t best = middle;
	unsigned best_len = KEY_LEN + 1;

	for (uint32_t i = 0; i <= 2 * reach; i++) {
		/* middle, middle - 1, middle + 1, middle - 2, … */
		uint32_t at = i & 1 ? middle - (i + 1) / 2 : middle + i / 2;
		unsigned len;

		if (at < 1 || at >= entries->count)
			continue;
		len = packed_len(entries_separator(entries, at));
		if (len < best_len) {
			best = at;
			best_len = len;
		}
	}
	return best;
}

uint32_t entries_cut(const struct entries *entries, uint32_t size,
                     uint32_t added, enum cut_hint hint)
{
	uint32_t middle, at;

	if (hint == CUT_BEFORE && cut_fits(entries, size, added))
		return added;
	if (hint == CUT_AFTER && cut_fits(entries, size, added + 1))
		return added + 1;
	middle = cut_middle(entries);
	at = cut_short(entries, middle);
	if (cut_fits(entries, size, at))
		return at;
	/*
	 * A cut that fits exists: either the added item is at one end and lacks
	 * the prefix of the others, or no item is above a quarter of a node.
	 */
	for (uint32_t i = 0; i < entries->count; i++) {
		if (cut_fits(entries, size, middle - i))
			return middle - i;
		if (cut_fits(entries, size, middle + i))
			return middle + i;
	}
	return 0;
}
