/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: which states are kept, including those with a lost record.
 */
#include "repair_state.h"
#include "array.h"
#include "number.h"
#include "check_record.h"
#include "util.h"

#include <errno.h>

typedef unsigned long long ull;

/* ---- States ------------------------------------------------------------- */

/* Keep a state.  `version` is an index in the check until versions are kept. */
static struct repair_state *state_keep(struct plan *p, const struct state *s,
                                       size_t version, bool apart)
{
	struct repair *repair = p->repair;
	struct repair_state *kept;

	if (array_grow(&p->apart, repair->states_len, &p->apart_capacity))
		return NULL;
	kept = array_add(&repair->states, &repair->states_len,
	                 &repair->states_capacity);
	if (!kept)
		return NULL;
	kept->state = *s;
	kept->state.version = NULL;
	kept->version = version;
	p->apart[repair->states_len - 1] = apart;
	if (s->fork || apart)
		p->snapped[version] = true;
	else
		p->headed[version] = true;
	return kept;
}

static int lost_add(struct plan *p, uint64_t number, uint64_t fork,
                    int64_t created, const char *name, size_t len)
{
	struct lost *lost;

	for (size_t i = 0; i < p->lost_len; i++) {
		lost = &p->lost[i];
		if (lost->number != number)
			continue;
		if (!lost->name[0] && len <= NAME_LEN_MAX) {
			memcpy(lost->name, name, len);
			lost->fork = fork;
		}
		return 0;
	}
	lost = array_add(&p->lost, &p->lost_len, &p->lost_capacity);
	if (!lost)
		return -ENOMEM;
	lost->number = number;
	lost->fork = fork;
	lost->created = created;
	if (len <= NAME_LEN_MAX)
		memcpy(lost->name, name, len);
	return 0;
}

bool plan_number_good(uint64_t number)
{
	return number && number < STATE_NUMBER_END;
}

/* Read the state's record with its names. */
static int state_read(struct plan *p, uint64_t number, struct state *ret_state)
{
	struct record record;
	uint64_t version;
	uint8_t key[8];
	int r;

	be64_put(key, number);
	*ret_state = (struct state){.number = number};
	r = view_record(p->check->view, TABLE_STATE, key, sizeof(key), false,
	                &record);
	return r ? r
	         : state_decode(record.value, record.len, ret_state, &version);
}

static bool is_deleting(struct plan *p, const struct check_state *s)
{
	const struct check_state *fork =
	        s->fork ? check_state(p->check, s->fork) : NULL;

	return s->flags & STATE_DELETING ||
	       (fork && !fork->bad && fork->flags & STATE_DELETING);
}

int plan_state(struct plan *p, const struct check_state *s, bool forks)
{
	size_t version = plan_version_index(p, s->version);
	struct state state;
	bool frozen;

	if (s->bad)
		return forks && plan_number_good(s->number)
		               ? lost_add(p, s->number, 0, 0, "", 0)
		               : 0;
	if (!s->fork != forks || is_deleting(p, s))
		return 0;
	if (state_read(p, s->number, &state))
		return 0;
	frozen = version != NO_VERSION &&
	         (p->inner[version] || p->snapped[version] ||
	          p->check->versions[version].freeze);
	if (version == NO_VERSION || !plan_number_good(s->number) ||
	    (forks && !frozen && p->headed[version]))
		return lost_add(p, s->number, s->fork, s->created, state.name,
		                strlen(state.name));
	return state_keep(p, &state, version, forks && frozen) ? 0 : -ENOMEM;
}

int plan_names(struct plan *p)
{
	_cleanup_free_ struct record *record = calloc(1, sizeof(*record));
	uint8_t key[TABLE_KEY_MAX];
	uint32_t key_len = 0;
	int r;

	if (!record)
		return -ENOMEM;
	while (!(r = view_record(p->check->view, TABLE_NAME, key, key_len,
	                         key_len, record))) {
		struct reader reader = reader_init(record->value, record->len);
		uint64_t number = get_varint(&reader);
		const struct check_state *s, *fork;

		key_len = record->key_len;
		memcpy(key, record->key, key_len);
		if (!reader_done(&reader) || key_len <= 8 ||
		    !plan_number_good(number))
			continue;
		s = check_state(p->check, number);
		fork = check_state(p->check, be64_get(key));
		if ((s && !s->bad) ||
		    (fork && !fork->bad && fork->flags & STATE_DELETING))
			continue;
		r = lost_add(p, number, be64_get(key), 0, (char *)key + 8,
		             key_len - 8);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

/* ---- States without a version, and versions without a state ------------- */

/*
 * Return true if a lost state named the version: its record counts more
 * references than were found, or it is a head without a fork.
 */
static bool version_orphaned(struct plan *p, size_t i, bool head)
{
	const struct check_version *v = &p->check->versions[i];
	uint64_t refs = 0;

	if (v->bad || v->reaping || !v->refs ||
	    head == (v->freeze || p->inner[i] || p->snapped[i]))
		return false;
	if (head)
		return !p->headed[i];
	for (size_t j = 0; j < p->repair->states_len; j++)
		refs += p->repair->states[j].version == i;
	return refs < v->refs;
}

/* Return true if a record names the number. */
static bool number_is_named(struct plan *p, uint64_t number)
{
	struct repair *repair = p->repair;

	if (check_state(p->check, number))
		return true;
	for (size_t i = 0; i < p->lost_len; i++)
		if (p->lost[i].number == number || p->lost[i].fork == number)
			return true;
	for (size_t i = 0; i < repair->states_len; i++)
		if (repair->states[i].state.number == number ||
		    repair->states[i].state.fork == number)
			return true;
	return false;
}

/* Return a number for a new state.  0: all are in use. */
static uint64_t number_new(struct plan *p)
{
	uint64_t *next = &p->repair->counters[COUNTER_STATE], number = 1;

	if (*next < STATE_NUMBER_END)
		return (*next)++;
	while (number < STATE_NUMBER_END && number_is_named(p, number))
		number++;
	return number < STATE_NUMBER_END ? number : 0;
}

static struct lost *lost_only(struct plan *p, bool fork)
{
	struct lost *only = NULL;

	for (size_t i = 0; i < p->lost_len; i++) {
		struct lost *lost = &p->lost[i];

		if (lost->found || !lost->name[0] || !lost->fork != fork)
			continue;
		if (only)
			return NULL;
		only = lost;
	}
	return only;
}

static int state_recover(struct plan *p, size_t version, struct lost *lost,
                         bool head)
{
	struct repair *repair = p->repair;
	struct state s = {.created = plan_version_created(
	                          p, p->check->versions[version].id)};
	char name[FULL_NAME_MAX + 16];
	bool apart = !head;

	if (lost) {
		lost->found = true;
		s.number = lost->number;
		s.fork = lost->fork;
		s.flags = s.fork ? STATE_READONLY : 0;
		memcpy(s.name, lost->name, sizeof(s.name));
		apart = apart && !s.fork;
	} else {
		s.number = number_new(p);
		if (!s.number)
			return -ENOSPC;
		snprintf(s.name, sizeof(s.name), "recovered-%llu",
		         (ull)p->check->versions[version].id);
	}
	if (!state_keep(p, &s, version, apart))
		return -ENOMEM;
	snprintf(name, sizeof(name), "%s", s.name);
	return repair_report_state(repair, "restored", name,
	                           lost ? "the state's record was lost"
	                                : "a state without a name");
}

int plan_recover_states(struct plan *p, bool head)
{
	size_t len = p->check->versions_len, count = 0;
	struct lost *only = lost_only(p, head);
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < p->lost_len; i++)
		any |= !p->lost[i].found && !p->lost[i].fork == head;
	for (size_t i = 0; i < len; i++)
		count += version_orphaned(p, i, head);
	/* If no state is lost, the count of references is wrong instead. */
	if (!head && !any)
		return 0;
	for (size_t i = 0; !r && i < len; i++)
		if (version_orphaned(p, i, head))
			r = state_recover(p, i, count == 1 ? only : NULL, head);
	return r;
}

struct repair_state *plan_kept_find(struct repair *repair, uint64_t number)
{
	for (size_t i = 0; i < repair->states_len; i++)
		if (repair->states[i].state.number == number)
			return &repair->states[i];
	return NULL;
}

int plan_recover_forks(struct plan *p)
{
	struct repair *repair = p->repair;

	for (size_t i = 0; i < repair->states_len; i++) {
		uint64_t fork = repair->states[i].state.fork;
		struct state s = {.number = fork};
		struct repair_state *newest = &repair->states[i];
		struct lost *lost = NULL;

		if (!fork || plan_kept_find(repair, fork))
			continue;
		for (size_t j = 0; j < repair->states_len; j++)
			if (repair->states[j].state.fork == fork &&
			    repair->states[j].state.created >
			            newest->state.created)
				newest = &repair->states[j];
		for (size_t j = 0; !lost && j < p->lost_len; j++)
			if (p->lost[j].number == fork)
				lost = &p->lost[j];
		s.created = newest->state.created;
		snprintf(s.name, sizeof(s.name), "recovered-%llu", (ull)fork);
		if (lost && lost->name[0])
			memcpy(s.name, lost->name, sizeof(s.name));
		if (lost)
			lost->found = true;
		if (!state_keep(p, &s, newest->version, true))
			return -ENOMEM;
		if (repair_report_state(repair, "restored", s.name,
		                        "the fork was lost, and is what its "
		                        "newest snapshot is"))
			return -ECANCELED;
	}
	return 0;
}

int plan_report_lost(struct plan *p)
{
	int r = 0;

	for (size_t i = 0; !r && i < p->lost_len; i++) {
		struct repair_state *fork;
		char name[FULL_NAME_MAX + 16];
		struct lost *lost = &p->lost[i];

		if (lost->found)
			continue;
		fork = lost->fork ? plan_kept_find(p->repair, lost->fork)
		                  : NULL;
		if (!lost->name[0])
			snprintf(name, sizeof(name), "#%llu",
			         (ull)lost->number);
		else
			snprintf(name, sizeof(name), "%s%s%s",
			         fork ? fork->state.name : "", fork ? "~" : "",
			         lost->name);
		r = repair_report_state(p->repair, "removed", name,
		                        "the state is lost");
	}
	return r;
}
