/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "prune_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "duration.h"
#include "util.h"

static const int64_t second_ns = 1000000000;

/* ---- Rows --------------------------------------------------------------- */

/* Decode a time of a row, in ns since the epoch. */
static bool row_time(json_t *row, const char *key, int64_t *ret_time)
{
	const char *text = json_string_value(json_object_get(row, key));
	struct tm tm = {0};
	long ns;

	if (!text ||
	    sscanf(text, "%d-%d-%dT%d:%d:%d.%9ldZ", &tm.tm_year, &tm.tm_mon,
	           &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ns) != 7)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*ret_time = timegm(&tm) * second_ns + ns;
	return true;
}

static bool row_read(json_t *row, struct prune_state *s)
{
	const char *ttl = json_string_value(json_object_get(row, "ttl"));
	int64_t seconds;

	if (!row_time(row, "created", &s->created))
		return false;
	s->held = json_is_true(json_object_get(row, "held"));
	s->is_default = json_is_true(json_object_get(row, "default"));
	if (ttl && duration_parse(ttl, &seconds) == 0 &&
	    __builtin_add_overflow(s->created, seconds * second_ns,
	                           &s->expires))
		s->expires = INT64_MAX;
	s->row = row;
	return true;
}

int prune_plan_add(struct prune_plan *plan, json_t *row)
{
	struct prune_state state = {0};

	if (!row_read(row, &state))
		return -EINVAL;
	if (!json_is_true(json_object_get(row, "snapshot"))) {
		plan->fork = state;
		json_incref(row);
		return 0;
	}
	if (plan->len == plan->capacity) {
		size_t capacity = plan->capacity ? 2 * plan->capacity : 64;
		struct prune_state *grown =
		        reallocarray(plan->snapshots, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		plan->snapshots = grown;
		plan->capacity = capacity;
	}
	plan->snapshots[plan->len++] = state;
	json_incref(row);
	return 0;
}

void prune_plan_release(struct prune_plan *plan)
{
	json_decref(plan->fork.row);
	for (size_t i = 0; i < plan->len; i++)
		json_decref(plan->snapshots[i].row);
	free(plan->snapshots);
	*plan = (struct prune_plan){0};
}

/* ---- Deciding ----------------------------------------------------------- */

static void decide(struct prune_state *s, bool remove, const char *reason)
{
	s->remove = remove;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
}

static const char *row_text(const struct prune_state *s, const char *key)
{
	const char *text = json_string_value(json_object_get(s->row, key));

	return text ? text : "?";
}

/* Decide independently of other states.  Return true if that is possible. */
static bool decide_alone(struct prune_state *s,
                         const struct prune_policy *policy)
{
	if (s->held) {
		decide(s, false, "held by a tag");
	} else if (s->is_default) {
		decide(s, false, "the default state");
	} else if (s->expires) {
		s->remove = policy->expired && s->expires <= policy->now;
		snprintf(s->reason, sizeof(s->reason),
		         "its ttl of %s has%s passed", row_text(s, "ttl"),
		         s->expires <= policy->now ? "" : " not");
	} else {
		return false;
	}
	return true;
}

/* Write the names of the rules that keep a snapshot. */
static void reasons_write(uint32_t reasons, char reason[REASON_MAX])
{
	size_t len = 0;

	for (unsigned bit = 0; bit < RETENTION_REASONS; bit++) {
		if (!(reasons & 1u << bit))
			continue;
		len += (size_t)snprintf(reason + len, REASON_MAX - len, "%s%s",
		                        len ? ", " : "", retention_reason(bit));
	}
}

/* Apply the rules to the snapshots without a ttl; decide about the others. */
static int decide_by_rules(struct prune_plan *plan,
                           const struct prune_policy *policy)
{
	_cleanup_free_ int64_t *times = calloc(plan->len, sizeof(*times));
	_cleanup_free_ uint32_t *reasons = calloc(plan->len, sizeof(*reasons));
	size_t count = 0, at = 0;

	if (!times || !reasons)
		return -ENOMEM;
	for (size_t i = 0; i < plan->len; i++)
		if (!plan->snapshots[i].expires)
			times[count++] = plan->snapshots[i].created;
	retention_apply(&policy->retention, policy->now, times, count, reasons);
	for (size_t i = 0; i < plan->len; i++) {
		struct prune_state *s = &plan->snapshots[i];
		uint32_t by = s->expires ? 0 : reasons[at++];

		if (decide_alone(s, policy))
			continue;
		if (by)
			reasons_write(by, s->reason);
		else if (policy->rules)
			decide(s, true, "no rule keeps it");
	}
	return 0;
}

/* Decide about the fork; if it is removed, its snapshots are, too. */
static void decide_fork(struct prune_plan *plan,
                        const struct prune_policy *policy)
{
	struct prune_state *fork = &plan->fork;

	if (!fork->row || !fork->expires)
		return;
	decide_alone(fork, policy);
	for (size_t i = 0; fork->remove && i < plan->len; i++) {
		struct prune_state *s = &plan->snapshots[i];

		if (s->held)
			decide(fork, false, "a tag holds a snapshot of it");
		else if (s->is_default)
			decide(fork, false,
			       "a snapshot of it is the default state");
	}
	for (size_t i = 0; fork->remove && i < plan->len; i++) {
		decide(&plan->snapshots[i], true, "its fork is removed");
		plan->snapshots[i].with_fork = true;
	}
}

static int newest_first(const void *a, const void *b)
{
	const struct prune_state *x = a, *y = b;

	return x->created > y->created ? -1 : x->created < y->created;
}

/* Keep the newest snapshot whose ttl has not passed, or else the newest. */
static void decide_newest(struct prune_plan *plan,
                          const struct prune_policy *policy)
{
	struct prune_state *s = plan->snapshots;

	for (size_t i = 0; i < plan->len; i++) {
		s = &plan->snapshots[i];
		if (!s->expires || s->expires > policy->now)
			break;
		s = plan->snapshots;
	}
	if (plan->len && s->remove)
		decide(s, false, "the newest of its fork");
}

int prune_plan_make(struct prune_plan *plan, const struct prune_policy *policy)
{
	int r = 0;

	if (plan->len) {
		qsort(plan->snapshots, plan->len, sizeof(*plan->snapshots),
		      newest_first);
		r = decide_by_rules(plan, policy);
	}
	if (r < 0)
		return r;
	if (!policy->all)
		decide_newest(plan, policy);
	decide_fork(plan, policy);
	return 0;
}
