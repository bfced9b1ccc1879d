/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of joins, in TABLE_HOLD.  A join has three: by the two states, by the
 * version, and by the two states the other way round.
 */
#include "join_record.h"
#include "forest.h"

#include <errno.h>

enum { BY_INTO = 1, BY_VERSION, BY_FROM, KEY_MAX = 25 };

static size_t key_two(uint8_t key[KEY_MAX], int kind, uint64_t a, uint64_t b)
{
	key[0] = (uint8_t)kind;
	be64_put(key + 1, a);
	be64_put(key + 9, b);
	return 17;
}

static size_t key_version(uint8_t key[KEY_MAX], const struct join_record *r)
{
	key_two(key, BY_VERSION, r->version, r->into);
	be64_put(key + 17, r->from);
	return KEY_MAX;
}

int join_record_decode(const struct record *from, struct join_record *ret)
{
	struct reader r = reader_init(from->value, from->len);
	int kind = from->key_len ? from->key[0] : 0;

	if (from->key_len != (kind == BY_VERSION ? KEY_MAX : 17) ||
	    kind < BY_INTO || kind > BY_FROM)
		return -EUCLEAN;
	if (kind != BY_INTO)
		return from->len ? -EUCLEAN : 1;
	ret->into = be64_get(from->key + 1);
	ret->from = be64_get(from->key + 9);
	ret->version = get_varint(&r);
	ret->seq = get_varint(&r);
	ret->time = get_svarint(&r);
	get_string(&r, get_varint(&r), sizeof(ret->name) - 1, ret->name);
	return reader_done(&r) && ret->version ? 0 : -EUCLEAN;
}

static int record_get(struct forest *forest, uint64_t into, uint64_t from,
                      struct join_record *ret)
{
	struct record record;
	uint8_t key[KEY_MAX];
	int r = table_get(forest->store, TABLE_HOLD, key,
	                  key_two(key, BY_INTO, into, from), &record);

	return r ? r : join_record_decode(&record, ret);
}

static int record_del(struct forest *forest, const struct join_record *record)
{
	uint8_t key[KEY_MAX];
	int r = table_del(forest->store, TABLE_HOLD, key,
	                  key_two(key, BY_INTO, record->into, record->from));

	if (!r)
		r = table_del(
		        forest->store, TABLE_HOLD, key,
		        key_two(key, BY_FROM, record->from, record->into));
	if (!r)
		r = table_del(forest->store, TABLE_HOLD, key,
		              key_version(key, record));
	if (!r && !version_is_held(forest, record->version))
		gc_resume(forest, record->version);
	return r;
}

int join_record_put(struct forest *forest, const struct join_record *record)
{
	uint8_t key[KEY_MAX], value[40 + sizeof(record->name)];
	struct writer w = writer_init(value, sizeof(value));
	struct join_record old;
	int r = record_get(forest, record->into, record->from, &old);

	if (!r && old.version == record->version)
		return 0;
	if (!r)
		r = record_del(forest, &old);
	if (r && r != -ENOENT)
		return r;
	put_varint(&w, record->version);
	put_varint(&w, record->seq);
	put_svarint(&w, record->time);
	put_varint(&w, strlen(record->name));
	put_bytes(&w, record->name, strlen(record->name));
	r = table_put(forest->store, TABLE_HOLD, key,
	              key_two(key, BY_INTO, record->into, record->from), value,
	              writer_len(&w));
	if (!r)
		r = table_put(forest->store, TABLE_HOLD, key,
		              key_two(key, BY_FROM, record->from, record->into),
		              NULL, 0);
	if (!r)
		r = table_put(forest->store, TABLE_HOLD, key,
		              key_version(key, record), NULL, 0);
	return r;
}

int join_record_next(struct forest *forest, uint64_t into, uint64_t after,
                     struct join_record *ret_record)
{
	struct record record;
	uint8_t key[KEY_MAX];
	int r = table_next(forest->store, TABLE_HOLD, key,
	                   key_two(key, BY_INTO, into, after), &record);

	if (!r && (record.key_len != 17 || memcmp(record.key, key, 9)))
		r = -ENOENT;
	return r ? r : join_record_decode(&record, ret_record);
}

int join_record_of(const struct state *state, uint64_t after,
                   struct join_record *ret_record)
{
	uint64_t into = state->fork ? state->fork : state->number;
	struct join_record record = {.from = after};
	int r;

	do
		r = join_record_next(state->forest, into, record.from, &record);
	while (!r && state->fork && record.time > state->created);
	if (!r)
		*ret_record = record;
	return r;
}

int join_records_cut(struct forest *forest, uint64_t into, uint64_t seq)
{
	struct join_record record = {0};
	int r = 0;

	while (!r &&
	       !(r = join_record_next(forest, into, record.from, &record))) {
		if (record.seq > seq)
			r = record_del(forest, &record);
	}
	return r == -ENOENT ? 0 : r;
}

int join_records_forget(struct forest *forest, uint64_t state)
{
	struct join_record record;
	struct record found;
	uint8_t key[KEY_MAX];
	int r = join_records_cut(forest, state, 0);

	while (!r) {
		r = table_next(forest->store, TABLE_HOLD, key,
		               key_two(key, BY_FROM, state, 0), &found);
		if (!r && (found.key_len != 17 || memcmp(found.key, key, 9)))
			r = -ENOENT;
		if (!r)
			r = record_get(forest, be64_get(found.key + 9), state,
			               &record);
		if (!r)
			r = record_del(forest, &record);
	}
	return r == -ENOENT ? 0 : r;
}

uint64_t join_tasks(struct forest *forest)
{
	struct record record, task;
	uint64_t count = 0, last = 0;
	uint8_t key[KEY_MAX];
	int r = table_next(forest->store, TABLE_HOLD, key,
	                   key_two(key, BY_VERSION, 0, 0), &record);

	while (!r && record.key_len == KEY_MAX && record.key[0] == BY_VERSION) {
		uint64_t version = be64_get(record.key + 1);

		if (version != last)
			count += !task_get(forest, TASK_MERGE, version, &task) +
			         !task_get(forest, TASK_REAP, version, &task);
		last = version;
		r = table_next(forest->store, TABLE_HOLD, record.key,
		               record.key_len, &record);
	}
	return count;
}

bool version_is_joined(struct forest *forest, uint64_t version)
{
	struct record record;
	uint8_t key[KEY_MAX];

	return !table_seek(forest->store, TABLE_HOLD, key,
	                   key_two(key, BY_VERSION, version, 0), &record) &&
	       record.key_len == KEY_MAX && !memcmp(record.key, key, 9);
}
