/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The records of versions, states, symlinks, properties and joins; the first
 * byte says which.
 */
#include <errno.h>

#include "fuzz.h"
#include "forest.h"
#include "join_record.h"
#include "property_record.h"
#include "symlink.h"

static void fuzz_version(const uint8_t *data, size_t len)
{
	struct version v = {0}, again = {0};
	uint8_t out[VERSION_LEN_MAX];

	if (version_decode(data, len, &v))
		return;
	fuzz_assert(!version_decode(out, version_encode(&v, out), &again));
	fuzz_assert(v.tree.root == again.tree.root && v.refs == again.refs &&
	            v.children == again.children && v.parent == again.parent);
	fuzz_assert(v.hollow == again.hollow && v.reaping == again.reaping);
}

static void fuzz_state(const uint8_t *data, size_t len)
{
	static struct state s, again;
	static struct version version;
	uint8_t out[STATE_LEN_MAX];
	uint64_t id, again_id;

	s = again = (struct state){0};
	if (state_decode(data, len, &s, &id))
		return;
	fuzz_assert(strlen(s.name) <= NAME_LEN_MAX);
	fuzz_assert(strlen(s.origin_name) < sizeof(s.origin_name));
	version.id = id;
	s.version = id ? &version : NULL;
	fuzz_assert(
	        !state_decode(out, state_encode(&s, out), &again, &again_id));
	fuzz_assert(id == again_id && !strcmp(s.name, again.name));
	fuzz_assert(s.deleted == again.deleted && s.due == again.due);
}

static void fuzz_symlink(const uint8_t *data, size_t len)
{
	static struct symlink link, again;
	uint8_t out[SYMLINK_LEN_MAX];

	if (symlink_decode(data, len, &link))
		return;
	fuzz_assert(!name_check_fork(link.name));
	fuzz_assert(!symlink_decode(out, symlink_encode(&link, out), &again));
	fuzz_assert(!strcmp(link.name, again.name) &&
	            !strcmp(link.target, again.target) &&
	            link.inode.uid == again.inode.uid);
}

/* Read the length of the key in two bytes, the key, and the value. */
static int record_read(const uint8_t *data, size_t len, struct record *record)
{
	size_t key_len = len < 2 ? SIZE_MAX : (size_t)data[0] << 8 | data[1];

	if (key_len > TABLE_KEY_MAX || key_len > len - 2 ||
	    len - 2 - key_len > TABLE_VALUE_MAX)
		return -EINVAL;
	record->key_len = (uint32_t)key_len;
	memcpy(record->key, data + 2, key_len);
	record->len = (uint32_t)(len - 2 - key_len);
	memcpy(record->value, data + 2 + key_len, record->len);
	return 0;
}

static void fuzz_property(const uint8_t *data, size_t len)
{
	static struct record record;
	struct property_record p;
	uint8_t key[TABLE_KEY_MAX];
	size_t key_len;

	if (record_read(data, len, &record) ||
	    property_record_decode(&record, &p))
		return;
	key_len = record.key_len;
	if (p.kind == PROPERTY_VALUE)
		fuzz_assert(property_key(key, p.state, p.name, p.piece) ==
		            key_len);
	else if (p.kind == PROPERTY_TAG)
		fuzz_assert(tag_key(key, p.state, p.name) == key_len);
	else
		fuzz_assert(held_key(key, p.state, p.held) == key_len);
	fuzz_assert(!memcmp(key, record.key, key_len));
}

static void fuzz_join(const uint8_t *data, size_t len)
{
	static struct record record, again;
	static struct join_record join;
	int r;

	if (record_read(data, len, &record))
		return;
	r = join_record_decode(&record, &join);
	if (r < 0)
		return;
	fuzz_assert(strlen(join.name) < sizeof(join.name));
	again.key_len =
	        (uint32_t)join_record_key(again.key, record.key[0], &join);
	fuzz_assert(again.key_len == record.key_len &&
	            !memcmp(again.key, record.key, record.key_len));
	again.len = r ? 0 : (uint32_t)join_record_encode(&join, again.value);
	fuzz_assert(join_record_decode(&again, &join) == r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len || len > TABLE_VALUE_MAX)
		return 0;
	if (*data == 4)
		fuzz_join(data + 1, len - 1);
	else if (*data == 3)
		fuzz_property(data + 1, len - 1);
	else if (*data == 2)
		fuzz_symlink(data + 1, len - 1);
	else if (*data)
		fuzz_state(data + 1, len - 1);
	else
		fuzz_version(data + 1, len - 1);
	return 0;
}
