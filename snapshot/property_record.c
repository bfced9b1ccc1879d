/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property_record.h"

#include <errno.h>

#include "utf8.h"
#include "util.h"

_Static_assert(PROPERTY_PREFIX_LEN + PROPERTY_KEY_MAX + 2 <= TABLE_KEY_MAX,
               "the longest key of a property fits");
_Static_assert(PROPERTY_PREFIX_LEN + TAG_MAX <= TABLE_KEY_MAX,
               "the longest tag fits");
_Static_assert((int)PROPERTY_PIECE_MAX <= (int)TABLE_VALUE_MAX,
               "a piece is a record");

/* ---- Keys --------------------------------------------------------------- */

void property_prefix(uint8_t key[TABLE_KEY_MAX], uint64_t state,
                     enum property_kind kind)
{
	be64_put(key, state);
	key[8] = (uint8_t)kind;
}

size_t property_key(uint8_t key[TABLE_KEY_MAX], uint64_t state,
                    const char *name, unsigned piece)
{
	size_t len = strlen(name);

	property_prefix(key, state, PROPERTY_VALUE);
	memcpy(key + PROPERTY_PREFIX_LEN, name, len + 1);
	key[PROPERTY_PREFIX_LEN + len + 1] = (uint8_t)piece;
	return PROPERTY_PREFIX_LEN + len + 2;
}

size_t tag_key(uint8_t key[TABLE_KEY_MAX], uint64_t state, const char *tag)
{
	size_t len = strlen(tag);

	property_prefix(key, state, PROPERTY_TAG);
	memcpy(key + PROPERTY_PREFIX_LEN, tag, len);
	return PROPERTY_PREFIX_LEN + len;
}

size_t held_key(uint8_t key[TABLE_KEY_MAX], uint64_t fork, uint64_t snapshot)
{
	property_prefix(key, fork, PROPERTY_HELD);
	be64_put(key + PROPERTY_PREFIX_LEN, snapshot);
	return PROPERTY_PREFIX_LEN + 8;
}

/* ---- Records ------------------------------------------------------------ */

bool property_key_good(const char *key)
{
	size_t len = strlen(key);

	if (!len || len > PROPERTY_KEY_MAX)
		return false;
	for (; *key; key++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz"
		            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:+-._/@",
		            *key))
			return false;
	return true;
}

bool tag_good(const char *tag)
{
	size_t len = strlen(tag);

	if (!len || len > TAG_MAX || !utf8_valid(tag))
		return false;
	for (; *tag; tag++)
		if ((unsigned char)*tag < 0x20 || *tag == 0x7f)
			return false;
	return true;
}

static bool value_decode(const struct record *record, const uint8_t *name,
                         size_t len, struct property_record *p)
{
	if (len < 3 || len > PROPERTY_KEY_MAX + 2 || name[len - 2] ||
	    memchr(name, 0, len - 2))
		return false;
	memcpy(p->name, name, len - 1);
	p->piece = name[len - 1];
	return property_key_good(p->name) && p->piece < PROPERTY_PIECES &&
	       record->len <= PROPERTY_PIECE_MAX && record->len;
}

static bool tag_decode(const struct record *record, const uint8_t *name,
                       size_t len, struct property_record *p)
{
	struct reader r = reader_init(record->value, record->len);

	if (!len || len > TAG_MAX || memchr(name, 0, len))
		return false;
	memcpy(p->name, name, len);
	p->name[len] = 0;
	p->time = get_svarint(&r);
	return reader_done(&r) && tag_good(p->name);
}

int property_record_decode(const struct record *record,
                           struct property_record *ret)
{
	const uint8_t *name = record->key + PROPERTY_PREFIX_LEN;
	size_t len = record->key_len - PROPERTY_PREFIX_LEN;
	struct property_record p = {0};
	bool good = false;

	if (record->key_len <= PROPERTY_PREFIX_LEN)
		return -EUCLEAN;
	p.state = be64_get(record->key);
	p.kind = record->key[8];
	if (p.kind == PROPERTY_VALUE) {
		good = value_decode(record, name, len, &p);
	} else if (p.kind == PROPERTY_TAG) {
		good = tag_decode(record, name, len, &p);
	} else if (p.kind == PROPERTY_HELD && len == 8) {
		p.held = be64_get(name);
		good = p.held && !record->len;
	}
	if (!good)
		return -EUCLEAN;
	*ret = p;
	return 0;
}

/* ---- Values ------------------------------------------------------------- */

size_t property_value_encode(const char *value,
                             uint8_t out[PROPERTY_STORED_MAX])
{
	struct writer w = writer_init(out, PROPERTY_STORED_MAX);
	size_t len = strlen(value);

	put_u32(&w, store_checksum(value, len));
	put_bytes(&w, value, len);
	return writer_len(&w);
}

static int value_check(const uint8_t *stored, size_t len,
                       char ret_value[PROPERTY_VALUE_MAX + 1])
{
	struct reader r = reader_init(stored, len);
	uint32_t checksum = get_u32(&r);
	const uint8_t *value = len < 4 ? NULL : reader_take(&r, len - 4);

	if (!value || memchr(value, 0, len - 4) ||
	    store_checksum(value, len - 4) != checksum)
		return -EUCLEAN;
	memcpy(ret_value, value, len - 4);
	ret_value[len - 4] = 0;
	return 0;
}

int property_value_read(uint64_t state, const char *name,
                        property_read_fn *read, void *arg,
                        char ret_value[PROPERTY_VALUE_MAX + 1])
{
	struct record record = {.len = PROPERTY_PIECE_MAX};
	uint8_t key[TABLE_KEY_MAX], stored[PROPERTY_STORED_MAX];
	size_t len = 0;

	for (unsigned piece = 0;
	     record.len == PROPERTY_PIECE_MAX && piece < PROPERTY_PIECES;
	     piece++) {
		size_t key_len = property_key(key, state, name, piece);
		int r = read(arg, key, key_len, &record);

		if (r == -ENOENT && piece)
			break;
		if (r < 0)
			return r == -ENOENT ? -ENODATA : r;
		if (len + record.len > sizeof(stored))
			return -EUCLEAN;
		memcpy(stored + len, record.value, record.len);
		len += record.len;
	}
	return value_check(stored, len, ret_value);
}

/* ---- Deleted states ----------------------------------------------------- */

/*
 * Advance *record to the next key of the state.  -ENOENT: there is none;
 * -EAGAIN: the record of the key was removed.
 */
static int record_next(struct store *store, uint64_t state,
                       struct record *record)
{
	unsigned budget = 1;
	int r = table_next_within(store, TABLE_PROPERTY, record->key,
	                          record->key_len, &budget, record);

	if (r && r != -EAGAIN)
		return r;
	return record->key_len >= 8 && be64_get(record->key) == state ? r
	                                                              : -ENOENT;
}

int properties_clear(struct store *store, uint64_t state)
{
	struct record record = {.key_len = 8};
	int r = 0;

	be64_put(record.key, state);
	while (!r || r == -EAGAIN) {
		r = record_next(store, state, &record);
		if (!r)
			r = table_del(store, TABLE_PROPERTY, record.key,
			              record.key_len);
	}
	return r == -ENOENT ? 0 : r;
}

bool properties_exist(struct store *store, uint64_t state)
{
	struct record record = {.key_len = 8};
	int r, budget = 16;

	be64_put(record.key, state);
	do {
		r = record_next(store, state, &record);
	} while (r == -EAGAIN && budget--);
	return r != -ENOENT;
}
