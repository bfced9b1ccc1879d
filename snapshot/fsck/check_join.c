/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the records of joins. */
#include "check_join.h"

#include <errno.h>

typedef unsigned long long ull;

/* Return 1 if a record of the join is there, 0, or an error. */
static int record_there(struct check *check, enum join_key kind,
                        const struct join_record *join, struct record *record)
{
	uint8_t key[JOIN_KEY_MAX];
	size_t len = join_record_key(key, kind, join);
	int r = view_record(check->view, TABLE_HOLD, key, len, false, record);

	if (r < 0)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	return record->key_len == len && !memcmp(record->key, key, len);
}

/* Check a record that points to another one. */
static int check_pointer(struct check *check, const struct join_record *pointer)
{
	struct join_record join;
	struct record record;
	int r = record_there(check, JOIN_BY_INTO, pointer, &record);

	if (r < 0)
		return r;
	if (r && !join_record_decode(&record, &join) &&
	    (!pointer->version || pointer->version == join.version))
		return 0;
	return check_report(check, "record", NULL,
	                    "a join of state %llu into state %llu is listed, "
	                    "and is not there",
	                    (ull)pointer->from, (ull)pointer->into);
}

static int check_pointers(struct check *check, const struct join_record *join,
                          const struct about *about)
{
	struct record record;
	int r = record_there(check, JOIN_BY_VERSION, join, &record);

	if (r > 0)
		r = record_there(check, JOIN_BY_FROM, join, &record);
	if (r)
		return r < 0 ? r : 0;
	return check_report(check, "record", about,
	                    "the join of state %llu into it is not listed",
	                    (ull)join->from);
}

static int check_one(struct check *check, const struct record *record)
{
	const struct check_version *v;
	struct join_record join;
	struct about about = {0};
	int r = join_record_decode(record, &join);

	if (r)
		return r > 0 ? check_pointer(check, &join)
		             : check_report(check, "record", NULL,
		                            "the record of a join is damaged");
	about.state = check_state(check, join.into);
	if (!about.state || about.state->fork)
		return check_report(check, "record", NULL,
		                    "there is a join into state %llu, which is "
		                    "%s",
		                    (ull)join.into,
		                    about.state ? "a snapshot" : "missing");
	if (!check_state(check, join.from))
		return check_report(check, "record", &about,
		                    "there is a join of state %llu into it, "
		                    "which is missing",
		                    (ull)join.from);
	v = check_version(check, join.version);
	if (!v || (!v->bad && !v->freeze))
		return check_report(check, "record", &about,
		                    "version %llu, which was joined into it, "
		                    "is %s",
		                    (ull)join.version,
		                    v ? "not frozen" : "missing");
	return check_pointers(check, &join, &about);
}

int check_joins(struct check *check)
{
	return check_records_each(check, TABLE_HOLD, check_one);
}
