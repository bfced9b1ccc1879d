/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: properties and tags.  Readable records of kept states are copied; the
 * lists of the forks' held snapshots are written again.
 */
#include "repair_property.h"

#include <errno.h>

#include "check_property.h"
#include "property_record.h"
#include "repair_tree.h"
#include "util.h"

static int by_number(const void *a, const void *b)
{
	const struct repair_state *x = a, *y = b;

	return x->state.number < y->state.number   ? -1
	       : x->state.number > y->state.number ? 1
	                                           : 0;
}

static struct repair_state *kept_find(struct repair *repair, uint64_t number)
{
	struct repair_state wanted = {.state.number = number};

	return repair->states_len
	               ? bsearch(&wanted, repair->states, repair->states_len,
	                         sizeof(wanted), by_number)
	               : NULL;
}

static int keep_record(struct repair *repair, const struct repair_state *s,
                       const struct property_record *p,
                       const struct record *record)
{
	uint8_t key[TABLE_KEY_MAX];
	int r = table_put(repair->store, TABLE_PROPERTY, record->key,
	                  record->key_len, record->value, record->len);

	if (r || p->kind != PROPERTY_TAG || !s->state.fork)
		return r;
	return table_put(repair->store, TABLE_PROPERTY, key,
	                 held_key(key, s->state.fork, s->state.number), NULL,
	                 0);
}

static int keep_one(struct check *check, const struct record *record)
{
	struct repair *repair = container_of(check, struct repair, check);
	char full[FULL_NAME_MAX + 16];
	struct property_record p;
	struct repair_state *s;
	int r;

	if (property_record_decode(record, &p))
		return repair_report_state(repair, "removed", NULL,
		                           "a property that cannot be read");
	if (p.kind == PROPERTY_HELD)
		return 0;
	s = kept_find(repair, p.state);
	if (!s)
		return repair_report_state(repair, "removed", NULL,
		                           "a property of a state that is not "
		                           "there");
	r = p.kind == PROPERTY_VALUE
	            ? check_property_value(check, p.state, p.name)
	            : 1;
	if (r < 0)
		return r;
	if (r) {
		r = keep_record(repair, s, &p, record);
		return r ? r : repair_yield(repair);
	}
	repair_full_name(repair, (size_t)(s - repair->states), full);
	return repair_report_state(repair, "removed", full,
	                           "a property that cannot be read");
}

int repair_properties(struct repair *repair)
{
	return check_records_each(&repair->check, TABLE_PROPERTY, keep_one);
}
