/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A quota limits the size of a fork's files, not the bytes that are stored.  So
 * whether a write fits depends neither on compression nor on the commits so
 * far, and the check costs an addition.
 */
#include "quota.h"

#include <errno.h>
#include <stdlib.h>

#include "forest.h"
#include "util.h"

static uint64_t quota_bytes(uint64_t inodes, uint64_t blocks)
{
	return blocks * 512 + inodes * QUOTA_INODE;
}

uint64_t quota_used(const struct state *state)
{
	return quota_bytes(state_inodes(state), state_blocks(state));
}

int quota_apply(struct state *state, const char *value)
{
	state->quota = value ? strtoull(value, NULL, 10) : UINT64_MAX;
	state->quota_known = true;
	return 0;
}

int quota_get(struct state *state, uint64_t *ret_bytes)
{
	struct property *property;
	int r = 0;

	if (!state->quota_known) {
		property = malloc(sizeof(*property));
		if (!property)
			return -ENOMEM;
		r = property_get(state, "quota", property);
		if (!r || r == -ENODATA)
			r = quota_apply(state, r ? NULL : property->value);
		free(property);
	}
	if (!r)
		*ret_bytes = state->quota;
	return r;
}

int quota_check_total(struct state *state, uint64_t inodes, uint64_t blocks)
{
	uint64_t quota, bytes = quota_bytes(inodes, blocks);
	int r = quota_get(state, &quota);

	if (r < 0)
		return r;
	return bytes > quota && bytes > quota_used(state) ? -EDQUOT : 0;
}

int quota_check(struct state *state, uint64_t inodes, uint64_t blocks)
{
	uint64_t quota, more = quota_bytes(inodes, blocks);
	uint64_t used = quota_used(state);
	int r = quota_get(state, &quota);

	if (r < 0)
		return r;
	return used > quota || more > quota - used ? -EDQUOT : 0;
}
