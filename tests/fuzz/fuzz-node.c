/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree node that passes the verification can be searched, taken apart and
 * rebuilt.
 */
#include "fuzz.h"
#include "node.h"

static void leaf_rebuild(const uint8_t *node)
{
	static struct entries entries;
	static uint8_t again[NODE_SIZE_MAX];
	uint32_t size;

	entries_init(&entries, node_level(node));
	entries_add_node(&entries, node);
	fuzz_assert(entries.count == node_count(node));
	if (!entries.count)
		return;
	size = entries_size(&entries, 0, entries.count);
	if (size > NODE_SIZE_MAX)
		return;
	entries_build(&entries, 0, entries.count, again);
	fuzz_assert(!node_fault(again, node_used(again)));
	fuzz_assert(node_used(again) == size);
	for (uint32_t i = 0; i < entries.count; i++)
		fuzz_assert((!i && node_level(node)) ||
		            node_key(again, i) == node_key(node, i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t node[NODE_SIZE_MAX] = {0};
	uint32_t count;

	if (len > sizeof(node) || node_fault(data, (uint32_t)len))
		return 0;
	memcpy(node, data, len);
	count = node_count(node);
	for (uint32_t i = 0; i < count; i++) {
		bool exact;
		uint32_t at;
		struct item item;

		if (node_level(node)) {
			fuzz_assert(node_child(node, i) || 1);
			if (i)
				fuzz_assert(node_route(node,
				                       node_key(node, i)) == i);
			continue;
		}
		at = node_find(node, node_key(node, i), &exact);
		fuzz_assert(exact && at == i);
		node_get(node, i, &item);
		fuzz_assert(item.value >= node &&
		            item.value + item.len <= node + len);
	}
	leaf_rebuild(node);
	return 0;
}
