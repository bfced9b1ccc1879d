/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of joins, in TABLE_HOLD.  A join has three: by the two states, by the
 * version, and by the two states the other way round.
 */
#include "join_record.h"
#include "forest.h"

#include <errno.h>

size_t join_record_key(uint8_t key[JOIN_KEY_MAX], enum join_key kind,
                       const struct join_record *r)
{
	key[0] = (uint8_t)kind;
	if (kind == JOIN_BY_VERSION) {
		be64_put(key + 1, r->version);
		be64_put(key + 9, r->into);
		be64_put(key + 17, r->from);
		return JOIN_KEY_MAX;
	}
	be64_put(key + 1, kind == JOIN_BY_INTO ? r->into : r->from);
	be64_put(key + 9, kind == JOIN_BY_INTO ? r->from : r->into);
	return JOIN_KEY_TWO;
}

size_t join_record_encode(const struct join_record *record,
                          uint8_t out[JOIN_RECORD_MAX])
{
	struct writer w = writer_init(out, JOIN_RECORD_MAX);

	put_varint(&w, record->version);
	put_varint(&w, record->seq);
	put_svarint(&w, record->time);
	put_varint(&w, strlen(record->name));
	put_bytes(&w, record->name, strlen(record->name));
	return writer_len(&w);
}

int join_record_decode(const struct record *from, struct join_record *ret)
{
	struct reader r = reader_init(from->value, from->len);
	int kind = from->key_len ? from->key[0] : 0;
	uint64_t numbers[3] = {0};

	if (kind < JOIN_BY_INTO || kind > JOIN_BY_FROM ||
	    from->key_len !=
	            (kind == JOIN_BY_VERSION ? JOIN_KEY_MAX : JOIN_KEY_TWO))
		return -EUCLEAN;
	for (uint32_t i = 0; 8 * i + 1 < from->key_len; i++)
		numbers[i] = be64_get(from->key + 1 + 8 * i);
	*ret = (struct join_record){.into = numbers[0], .from = numbers[1]};
	if (kind == JOIN_BY_FROM)
		*ret = (struct join_record){.into = numbers[1],
		                            .from = numbers[0]};
	if (kind == JOIN_BY_VERSION)
		*ret = (struct join_record){.version = numbers[0],
		                            .into = numbers[1],
		                            .from = numbers[2]};
	if (kind != JOIN_BY_INTO)
		return from->len ? -EUCLEAN : 1;
	ret->version = get_varint(&r);
	ret->seq = get_varint(&r);
	ret->time = get_svarint(&r);
	get_string(&r, get_varint(&r), sizeof(ret->name) - 1, ret->name);
	return reader_done(&r) && ret->version ? 0 : -EUCLEAN;
}

int join_record_write(struct store *store, const struct join_record *record)
{
	uint8_t key[JOIN_KEY_MAX], value[JOIN_RECORD_MAX];
	size_t len = join_record_encode(record, value);
	int r = 0;

	for (int kind = JOIN_BY_INTO; !r && kind <= JOIN_BY_FROM; kind++)
		r = table_put(store, TABLE_HOLD, key,
		              join_record_key(key, kind, record), value,
		              kind == JOIN_BY_INTO ? len : 0);
	return r;
}

static int record_get(struct forest *forest, uint64_t into, uint64_t from,
                      struct join_record *ret)
{
	const struct join_record want = {.into = into, .from = from};
	struct record record;
	uint8_t key[JOIN_KEY_MAX];
	int r = table_get(forest->store, TABLE_HOLD, key,
	                  join_record_key(key, JOIN_BY_INTO, &want), &record);

	return r ? r : join_record_decode(&record, ret);
}

static int record_del(struct forest *forest, const struct join_record *record)
{
	uint8_t key[JOIN_KEY_MAX];
	int r = 0;

	for (int kind = JOIN_BY_INTO; !r && kind <= JOIN_BY_FROM; kind++)
		r = table_del(forest->store, TABLE_HOLD, key,
		              join_record_key(key, kind, record));
	if (!r && !version_is_held(forest, record->version))
		gc_resume(forest, record->version);
	return r;
}

int join_record_put(struct forest *forest, const struct join_record *record)
{
	struct join_record old;
	int r = record_get(forest, record->into, record->from, &old);

	if (!r && old.version == record->version)
		return 0;
	if (!r)
		r = record_del(forest, &old);
	return r && r != -ENOENT ? r : join_record_write(forest->store, record);
}

int join_record_next(struct forest *forest, uint64_t into, uint64_t after,
                     struct join_record *ret_record)
{
	const struct join_record want = {.into = into, .from = after};
	struct record record;
	uint8_t key[JOIN_KEY_MAX];
	int r = table_next(forest->store, TABLE_HOLD, key,
	                   join_record_key(key, JOIN_BY_INTO, &want), &record);

	if (!r &&
	    (record.key_len != JOIN_KEY_TWO || memcmp(record.key, key, 9)))
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
	const struct join_record want = {.from = state};
	struct join_record record;
	struct record found;
	uint8_t key[JOIN_KEY_MAX];
	int r = join_records_cut(forest, state, 0);

	while (!r) {
		r = table_next(forest->store, TABLE_HOLD, key,
		               join_record_key(key, JOIN_BY_FROM, &want),
		               &found);
		if (!r && (found.key_len != JOIN_KEY_TWO ||
		           memcmp(found.key, key, 9)))
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
	const struct join_record first = {0};
	struct record record, task;
	uint64_t count = 0, last = 0;
	uint8_t key[JOIN_KEY_MAX];
	int r = table_next(forest->store, TABLE_HOLD, key,
	                   join_record_key(key, JOIN_BY_VERSION, &first),
	                   &record);

	while (!r && record.key_len == JOIN_KEY_MAX &&
	       record.key[0] == JOIN_BY_VERSION) {
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
	const struct join_record want = {.version = version};
	struct record record;
	uint8_t key[JOIN_KEY_MAX];

	return !table_seek(forest->store, TABLE_HOLD, key,
	                   join_record_key(key, JOIN_BY_VERSION, &want),
	                   &record) &&
	       record.key_len == JOIN_KEY_MAX && !memcmp(record.key, key, 9);
}
