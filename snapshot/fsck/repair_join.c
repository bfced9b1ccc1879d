/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Repair: the records of joins. */
#include "repair_join.h"

#include <errno.h>

#include "repair_state.h"
#include "repair_tree.h"
#include "util.h"

/* ---- The plan ----------------------------------------------------------- */

static struct plan *planning(struct check *check)
{
	struct repair *repair = container_of(check, struct repair, check);

	return repair->plan;
}

static int plan_one(struct check *check, const struct record *record)
{
	struct plan *p = planning(check);
	struct join_record join;
	size_t version;

	if (join_record_decode(record, &join) ||
	    !plan_kept_find(p->repair, join.into) ||
	    !plan_kept_find(p->repair, join.from))
		return 0;
	version = plan_version_index(p, join.version);
	if (version != NO_VERSION && check->versions[version].freeze)
		p->held[version] = true;
	return 0;
}

int plan_joins(struct plan *p)
{
	int r;

	p->repair->plan = p;
	r = check_records_each(p->check, TABLE_HOLD, plan_one);
	p->repair->plan = NULL;
	return r;
}

/* ---- The new records ---------------------------------------------------- */

/* Return true if the version has been built, and only a join needs it. */
static bool is_waiting(const struct repair_version *v)
{
	return v->held && v->id && !v->refs && v->children < 2;
}

uint64_t repair_joins_tasks(const struct repair *repair)
{
	uint64_t count = 0;

	for (size_t i = 0; i < repair->versions_len; i++)
		count += is_waiting(&repair->versions[i]);
	return count;
}

static int task_write(struct repair *repair, const struct repair_version *v)
{
	uint8_t key[9] = {v->children ? TASK_MERGE : TASK_REAP};

	be64_put(key + 1, v->id);
	return table_put(repair->store, TABLE_TASK, key, sizeof(key), NULL, 0);
}

/* Find the new version of a former one; NULL: it is not kept. */
static const struct repair_version *kept_version(const struct repair *repair,
                                                 uint64_t old)
{
	for (size_t i = 0; i < repair->versions_len; i++) {
		const struct repair_version *v = &repair->versions[i];

		if (v->old == old && v->id && v->freeze)
			return v;
	}
	return NULL;
}

/*
 * Return a sequence number at which the fork has the same version as at the
 * join.
 */
static uint64_t seq_find(struct repair *repair, const struct repair_state *into,
                         uint64_t old_seq)
{
	const struct repair_version *v = &repair->versions[into->version];

	while (v->parent != NO_VERSION) {
		const struct repair_version *parent =
		        &repair->versions[v->parent];
		const struct check_version *old =
		        check_version(&repair->check, parent->old);

		if (!old || old_seq > old->freeze)
			break;
		v = parent;
	}
	return v->freeze ? v->freeze : store_next_seq(repair->store);
}

static int keep_one(struct check *check, const struct record *record)
{
	struct repair *repair = container_of(check, struct repair, check);
	const struct repair_state *into, *from;
	const struct repair_version *version;
	struct join_record join;
	int r = join_record_decode(record, &join);

	if (r)
		return r > 0 ? 0
		             : repair_report_state(repair, "removed", NULL,
		                                   "the record of a join "
		                                   "that cannot be read");
	into = plan_kept_find(repair, join.into);
	from = plan_kept_find(repair, join.from);
	version = kept_version(repair, join.version);
	if (!into || !from || !version || into->state.fork)
		return repair_report_state(
		        repair, "removed", into ? into->state.name : NULL,
		        "the record of a join whose other state or version is "
		        "not there");
	join.version = version->id;
	join.seq = seq_find(repair, into, join.seq);
	r = join_record_write(repair->store, &join);
	return r ? r : repair_yield(repair);
}

int repair_joins(struct repair *repair)
{
	int r = check_records_each(&repair->check, TABLE_HOLD, keep_one);

	for (size_t i = 0; !r && i < repair->versions_len; i++) {
		if (is_waiting(&repair->versions[i]))
			r = task_write(repair, &repair->versions[i]);
	}
	return r;
}
