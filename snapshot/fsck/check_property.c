/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check the properties of states, and the tags that hold them. */
#include "check_property.h"

#include <errno.h>

#include "property_record.h"
#include "util.h"

/*
 * Look for a record.  1: there is one, and *ret_len is its length; 0: there is
 * none; or an error.
 */
static int record_find(struct check *check, const uint8_t *key, size_t key_len,
                       bool prefix, uint32_t *ret_len)
{
	struct record record;
	int r = view_record(check->view, TABLE_PROPERTY, key, key_len, false,
	                    &record);

	if (r < 0)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	*ret_len = record.len;
	return (prefix ? record.key_len >= key_len
	               : record.key_len == key_len) &&
	       !memcmp(record.key, key, key_len);
}

static int value_record(void *arg, const uint8_t *key, size_t key_len,
                        struct record *ret_record)
{
	struct check *check = arg;
	int r = view_record(check->view, TABLE_PROPERTY, key, key_len, false,
	                    ret_record);

	return r || (ret_record->key_len == key_len &&
	             !memcmp(ret_record->key, key, key_len))
	               ? r
	               : -ENOENT;
}

int check_property_value(struct check *check, uint64_t state, const char *name)
{
	char value[PROPERTY_VALUE_MAX + 1];
	int r = property_value_read(state, name, value_record, check, value);

	return r == -EUCLEAN || r == -ENODATA ? 0 : r ? r : 1;
}

static int check_value(struct check *check, const struct property_record *p,
                       const struct about *about)
{
	int r = check_property_value(check, p->state, p->name);

	if (r)
		return r < 0 ? r : 0;
	return check_report(check, "property", about,
	                    "its property '%s' cannot be read", p->name);
}

static int check_hold(struct check *check, const struct property_record *p,
                      const struct about *about)
{
	uint8_t key[TABLE_KEY_MAX];
	uint32_t len;
	int r;

	if (!about->state->fork)
		return 0;
	r = record_find(check, key, held_key(key, about->state->fork, p->state),
	                false, &len);
	if (r)
		return r < 0 ? r : 0;
	return check_report(check, "property", about,
	                    "its fork does not list it as held by '%s'",
	                    p->name);
}

static int check_held(struct check *check, const struct property_record *p,
                      const struct about *about)
{
	struct check_state *snapshot = check_state(check, p->held);
	uint8_t key[TABLE_KEY_MAX];
	uint32_t len;
	int r = snapshot && snapshot->fork == p->state;

	property_prefix(key, p->held, PROPERTY_TAG);
	if (r)
		r = record_find(check, key, PROPERTY_PREFIX_LEN, true, &len);
	if (r)
		return r < 0 ? r : 0;
	return check_report(check, "property", about,
	                    "it lists state %llu as a held snapshot of its "
	                    "own, which it is not",
	                    (unsigned long long)p->held);
}

static int check_one(struct check *check, const struct record *record)
{
	struct property_record p;
	struct about about = {0};

	if (property_record_decode(record, &p))
		return check_report(check, "record", NULL,
		                    "the record of a property is damaged");
	about.state = check_state(check, p.state);
	if (!about.state)
		return check_report(check, "property", NULL,
		                    "there is a property of state %llu, which "
		                    "is missing",
		                    (unsigned long long)p.state);
	if (about.state->bad)
		return 0;
	switch (p.kind) {
	case PROPERTY_VALUE:
		return check_value(check, &p, &about);
	case PROPERTY_TAG:
		return check_hold(check, &p, &about);
	case PROPERTY_HELD:
		return check_held(check, &p, &about);
	}
	return 0;
}

int check_properties(struct check *check)
{
	return check_records_each(check, TABLE_PROPERTY, check_one);
}
