/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Set, get and remove the properties of states, and the tags that hold them. */
#include "property.h"

#include <errno.h>

#include "forest.h"
#include "own_property.h"
#include "property_record.h"
#include "utf8.h"
#include "util.h"

/* ---- Checking ----------------------------------------------------------- */

static bool text_good(const char *text)
{
	for (const char *p = text; *p; p++)
		if (((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t') ||
		    *p == 0x7f)
			return false;
	return utf8_valid(text);
}

static const char *own_check(bool snapshot, const char *key, const char *value,
                             char ret_value[PROPERTY_VALUE_MAX + 1])
{
	const struct own_property *own = own_property_find(key);

	if (!own)
		return "no property is called that; a key of your own has a "
		       "colon in it";
	if (own->readonly)
		return "the property is read-only";
	if (own->forks_only && snapshot)
		return "a snapshot cannot have this property";
	if (own->parse)
		return own->parse(value, ret_value) ? own->reason : NULL;
	strcpy(ret_value, value);
	return NULL;
}

int property_check(bool snapshot, const char *key, const char *value,
                   char ret_value[PROPERTY_VALUE_MAX + 1],
                   const char **ret_reason)
{
	const char *reason = NULL;

	if (!property_key_good(key))
		reason = "a key has 1 to 256 letters, digits and :+-._/@";
	else if (strlen(value) > PROPERTY_VALUE_MAX)
		reason = "a value has at most 4000 bytes";
	else if (!text_good(value))
		reason = "a value is UTF-8 text without control characters "
		         "other than newlines and tabs";
	else if (!strchr(key, ':'))
		reason = own_check(snapshot, key, value, ret_value);
	else
		strcpy(ret_value, value);
	if (!reason)
		return 0;
	*ret_reason = reason;
	return -EINVAL;
}

static int state_check(const struct state *state)
{
	if (state->forest->readonly)
		return -EROFS;
	return state->gone ? -ESTALE : 0;
}

/* ---- Reading ------------------------------------------------------------ */

/*
 * Find the first record of a state and a kind after a key.  -ENOENT: there is
 * none.  The search ends at the first record of another state.
 */
static int kind_next(struct state *state, enum property_kind kind,
                     const void *key, size_t key_len, struct record *ret)
{
	uint8_t prefix[TABLE_KEY_MAX];
	int r;

	property_prefix(prefix, state->number, kind);
	memmove(ret->key, key, key_len);
	ret->key_len = (uint32_t)key_len;
	do {
		unsigned budget = 1;

		r = table_next_within(state->forest->store, TABLE_PROPERTY,
		                      ret->key, ret->key_len, &budget, ret);
		if (r && r != -EAGAIN)
			return r;
		if (ret->key_len < PROPERTY_PREFIX_LEN ||
		    memcmp(ret->key, prefix, PROPERTY_PREFIX_LEN))
			return -ENOENT;
	} while (r);
	return 0;
}

static int record_read(void *arg, const uint8_t *key, size_t key_len,
                       struct record *ret_record)
{
	return table_get(arg, TABLE_PROPERTY, key, key_len, ret_record);
}

/* Read the state's own value.  -ENODATA: there is none. */
static int value_read(struct state *state, const char *name,
                      char ret_value[PROPERTY_VALUE_MAX + 1])
{
	return property_value_read(state->number, name, record_read,
	                           state->forest->store, ret_value);
}

int property_get(struct state *state, const char *key,
                 struct property *ret_property)
{
	struct state *fork;
	int r;

	if (!property_key_good(key))
		return -ENODATA;
	r = value_read(state, key, ret_property->value);
	ret_property->inherited = false;
	if (r == -ENODATA && state->fork && strchr(key, ':')) {
		r = state_load(state->forest, state->fork, &fork);
		if (!r)
			r = value_read(fork, key, ret_property->value);
		ret_property->inherited = true;
	}
	if (!r)
		memmove(ret_property->key, key, strlen(key) + 1);
	return r;
}

int property_next(struct state *state, const char *after,
                  struct property *ret_property)
{
	struct property_record p;
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	size_t key_len = PROPERTY_PREFIX_LEN;
	int r;

	property_prefix(key, state->number, PROPERTY_VALUE);
	if (*after)
		key_len = property_key(key, state->number, after, UINT8_MAX);
	r = kind_next(state, PROPERTY_VALUE, key, key_len, &record);
	if (!r)
		r = property_record_decode(&record, &p);
	if (!r)
		r = value_read(state, p.name, ret_property->value);
	if (r == -ENODATA)
		r = -EUCLEAN; /* its first piece is missing */
	if (r < 0)
		return r;
	memcpy(ret_property->key, p.name, sizeof(p.name));
	ret_property->inherited = false;
	return 0;
}

/* ---- Changing ----------------------------------------------------------- */

/* Return -ENOSPC if the state has as many properties as it can have. */
static int count_check(struct state *state)
{
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	size_t key_len = PROPERTY_PREFIX_LEN;
	unsigned count = 0;
	int r = 0;

	property_prefix(key, state->number, PROPERTY_VALUE);
	while (!r) {
		r = kind_next(state, PROPERTY_VALUE, key, key_len, &record);
		if (r < 0)
			break;
		/* Only first pieces count. */
		count += !record.key[record.key_len - 1];
		if (count >= PROPERTIES_MAX)
			return -ENOSPC;
		memcpy(key, record.key, record.key_len);
		key_len = record.key_len;
	}
	return r == -ENOENT ? 0 : r;
}

static int pieces_del(struct state *state, const char *name, unsigned from)
{
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	int r = 0;

	for (unsigned piece = from; !r && piece < PROPERTY_PIECES; piece++) {
		size_t len = property_key(key, state->number, name, piece);

		r = table_get(state->forest->store, TABLE_PROPERTY, key, len,
		              &record);
		if (!r)
			r = table_del(state->forest->store, TABLE_PROPERTY, key,
			              len);
	}
	return r == -ENOENT ? 0 : r;
}

static int pieces_put(struct state *state, const char *name, const char *value)
{
	uint8_t key[TABLE_KEY_MAX], stored[PROPERTY_STORED_MAX];
	size_t left = property_value_encode(value, stored);
	const uint8_t *at = stored;
	unsigned piece = 0;
	int r;

	do {
		size_t len = MIN(left, (size_t)PROPERTY_PIECE_MAX);

		r = table_put(state->forest->store, TABLE_PROPERTY, key,
		              property_key(key, state->number, name, piece), at,
		              len);
		at += len;
		left -= len;
		piece++;
	} while (!r && left);
	return r ? r : pieces_del(state, name, piece);
}

static int own_apply(struct state *state, const char *key, const char *value)
{
	const struct own_property *own = own_property_find(key);

	if (!own || !own->apply)
		return 0;
	/* forest_undo_end() drops marked states, and so what apply() cached. */
	state_mark(state);
	return own->apply(state, value);
}

int property_set(struct state *state, const char *key, const char *value)
{
	struct property *old = NULL;
	int r = state_check(state);

	if (r < 0)
		return r;
	old = malloc(sizeof(*old));
	if (!old)
		return -ENOMEM;
	r = property_get(state, key, old);
	if (r == -ENODATA || (!r && old->inherited))
		r = count_check(state);
	free(old);
	if (!r)
		r = own_apply(state, key, value);
	return r ? r : pieces_put(state, key, value);
}

int property_unset(struct state *state, const char *key)
{
	uint8_t bytes[TABLE_KEY_MAX];
	struct record record;
	int r = state_check(state);

	if (r < 0)
		return r;
	if (!property_key_good(key))
		return -ENODATA;
	r = table_get(state->forest->store, TABLE_PROPERTY, bytes,
	              property_key(bytes, state->number, key, 0), &record);
	if (!r)
		r = own_apply(state, key, NULL);
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;
	return pieces_del(state, key, 0);
}

int property_set_creator(struct state *state, uint32_t uid)
{
	uint8_t key[TABLE_KEY_MAX], stored[PROPERTY_STORED_MAX];
	char value[16];

	snprintf(value, sizeof(value), "%u", uid);
	return table_put(state->forest->store, TABLE_PROPERTY, key,
	                 property_key(key, state->number, "creator", 0), stored,
	                 property_value_encode(value, stored));
}

/* ---- Holds -------------------------------------------------------------- */

int tag_next(struct state *state, const char *after, char ret_tag[TAG_MAX + 1],
             int64_t *ret_time)
{
	struct property_record p;
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	int r;

	r = kind_next(state, PROPERTY_TAG, key,
	              tag_key(key, state->number, after), &record);
	if (!r)
		r = property_record_decode(&record, &p);
	if (r < 0)
		return r;
	memcpy(ret_tag, p.name, strlen(p.name) + 1);
	if (ret_time)
		*ret_time = p.time;
	return 0;
}

/* Count the state's tags, up to TAGS_MAX. */
static int tags_count(struct state *state, unsigned *ret_count)
{
	char tag[TAG_MAX + 1] = "";
	unsigned count = 0;
	int r = 0;

	while (!r && count < TAGS_MAX) {
		r = tag_next(state, tag, tag, NULL);
		count += !r;
	}
	if (r && r != -ENOENT)
		return r;
	*ret_count = count;
	return 0;
}

/* Look for a tag.  -ENODATA: the state does not have it. */
static int tag_get(struct state *state, const char *tag)
{
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	int r = state_check(state);

	if (!r)
		r = table_get(state->forest->store, TABLE_PROPERTY, key,
		              tag_key(key, state->number, tag), &record);
	return r == -ENOENT ? -ENODATA : r;
}

int tag_add(struct state *state, const char *tag)
{
	uint8_t key[TABLE_KEY_MAX], value[10];
	struct writer w = writer_init(value, sizeof(value));
	struct store *store = state->forest->store;
	unsigned count;
	int r;

	if (!tag_good(tag))
		return -EINVAL;
	r = tag_get(state, tag);
	if (r != -ENODATA)
		return r ? r : -EEXIST;
	r = tags_count(state, &count);
	if (!r && count == TAGS_MAX)
		r = -ENOSPC;
	if (!r && state->fork)
		r = table_put(store, TABLE_PROPERTY, key,
		              held_key(key, state->fork, state->number), NULL,
		              0);
	put_svarint(&w, now_ns());
	return r ? r
	         : table_put(store, TABLE_PROPERTY, key,
	                     tag_key(key, state->number, tag), value,
	                     writer_len(&w));
}

int tag_del(struct state *state, const char *tag)
{
	struct store *store = state->forest->store;
	uint8_t key[TABLE_KEY_MAX];
	unsigned count;
	int r;

	if (!tag_good(tag))
		return -ENODATA;
	r = tag_get(state, tag);
	if (!r)
		r = tags_count(state, &count);
	if (!r)
		r = table_del(store, TABLE_PROPERTY, key,
		              tag_key(key, state->number, tag));
	if (!r && state->fork && count == 1)
		r = table_del(store, TABLE_PROPERTY, key,
		              held_key(key, state->fork, state->number));
	return r;
}

int state_find_tag(struct state *state, bool recursive, struct state **ret_held,
                   char ret_tag[TAG_MAX + 1])
{
	struct property_record p;
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	struct state *held = state;
	int r = tag_next(state, "", ret_tag, NULL);

	property_prefix(key, state->number, PROPERTY_HELD);
	if (r == -ENOENT && recursive && !state->fork) {
		r = kind_next(state, PROPERTY_HELD, key, PROPERTY_PREFIX_LEN,
		              &record);
		if (!r)
			r = property_record_decode(&record, &p);
		if (!r)
			r = state_load(state->forest, p.held, &held);
		if (!r)
			r = tag_next(held, "", ret_tag, NULL);
	}
	if (!r)
		*ret_held = held;
	return r;
}
