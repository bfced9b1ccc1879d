/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check the records: states, names, times, versions, tasks. */
#include "check_record.h"
#include "array.h"
#include "check_join.h"
#include "check_property.h"
#include "check_symlink.h"
#include "number.h"
#include "util.h"

#include <errno.h>

typedef unsigned long long ull;

/* ---- Versions and states ------------------------------------------------ */

static int version_load_one(struct check *check, const struct record *record)
{
	struct version v = {0};
	struct check_version *c;

	if (record->key_len != 8)
		return check_report(check, "record", NULL,
		                    "a version's record has a bad key");
	c = array_add(&check->versions, &check->versions_len,
	              &check->versions_capacity);
	if (!c)
		return -ENOMEM;
	c->id = be64_get(record->key);
	if (version_decode(record->value, record->len, &v)) {
		c->bad = true;
		return 0;
	}
	c->root = v.tree.root;
	c->base = v.tree.base;
	c->list = v.tree.list;
	c->parent = v.parent;
	c->freeze = v.freeze;
	c->children = v.children;
	c->children_xor = v.children_xor;
	c->same = v.same;
	c->refs = v.refs;
	c->inodes = v.inodes;
	c->blocks = v.blocks;
	c->hollow = v.hollow;
	return 0;
}

static int state_load_one(struct check *check, const struct record *record)
{
	struct state s = {0};
	struct check_state *c;
	uint64_t version;

	if (record->key_len != 8)
		return check_report(check, "record", NULL,
		                    "a state's record has a bad key");
	c = array_add(&check->states, &check->states_len,
	              &check->states_capacity);
	if (!c)
		return -ENOMEM;
	c->number = be64_get(record->key);
	if (state_decode(record->value, record->len, &s, &version)) {
		c->bad = true;
		return 0;
	}
	c->fork = s.fork;
	c->flags = s.flags;
	c->version = version;
	c->snapshots = s.snapshots;
	c->created = s.created;
	return 0;
}

/* ---- Tasks -------------------------------------------------------------- */

static int task_bad(struct check *check, uint64_t id)
{
	return check_report(check, "task", NULL,
	                    "the task for %llu cannot be read", (ull)id);
}

static int task_reap(struct check *check, uint64_t id,
                     const struct record *record)
{
	struct check_version *v = check_version(check, id);
	struct reader r = reader_init(record->value, record->len);

	if (!v) /* harmless: the task is dropped when it runs */
		return 0;
	v->task = true;
	/* The lists of a reaped tree may be dropped later: reap_finish(). */
	v->reaping = record->len || (!v->root && !v->refs && !v->children);
	if (!record->len)
		return 0;
	v->reap_from.ino = get_varint(&r);
	v->reap_from.kind = get_u8(&r);
	v->reap_from.off = get_u64(&r);
	return reader_done(&r) ? 0 : task_bad(check, id);
}

/* Note that the list being emptied belongs to the version, too. */
static int task_tidy(struct check *check, uint64_t id,
                     const struct record *record)
{
	struct reader r = reader_init(record->value, record->len);
	struct check_version *v;
	uint64_t owner, from, to;

	get_varint(&r);
	get_varint(&r);
	owner = get_varint(&r);
	from = get_varint(&r);
	to = get_varint(&r);
	if (!reader_done(&r))
		return task_bad(check, id);
	v = check_version(check, owner);
	if (!v || v->list != to)
		return check_report(check, "task", NULL,
		                    "lists are to be tidied for version %llu, "
		                    "which is %s",
		                    (ull)owner, v ? "another's" : "missing");
	v->tidy_list = from;
	return 0;
}

static int task_load_one(struct check *check, const struct record *record)
{
	struct check_version *v;
	uint64_t id;

	if (record->key_len != 9)
		return check_report(check, "task", NULL,
		                    "a task has a bad key");
	id = be64_get(record->key + 1);
	check->tasks += record->key[0] != TASK_STUCK;
	v = check_version(check, id);
	switch (record->key[0]) {
	case TASK_TIDY:
		return task_tidy(check, id, record);
	case TASK_REAP:
		return task_reap(check, id, record);
	case TASK_MERGE:
		if (v)
			v->task = true;
		return 0;
	case TASK_CLEAR:
	case TASK_DROP:
		return 0;
	case TASK_STUCK:
		if (v)
			v->task = true;
		return check_report(
		        check, "task", NULL,
		        "the space of deleted version %llu could not "
		        "be freed",
		        (ull)id);
	}
	return check_report(check, "task", NULL,
	                    "a task of unknown kind (%u) for %llu",
	                    record->key[0], (ull)id);
}

/* Register the lists that wait to be dropped: they are not lost. */
static int task_register_list(struct check *check, const struct record *record)
{
	if (record->key_len == 9 && record->key[0] == TASK_DROP)
		view_list_known(check->view, be64_get(record->key + 1));
	return 0;
}

int check_load(struct check *check)
{
	int r = check_records_each(check, TABLE_VERSION, version_load_one);

	if (!r)
		r = check_records_each(check, TABLE_STATE, state_load_one);
	if (!r)
		r = check_records_each(check, TABLE_TASK, task_load_one);
	if (!r)
		r = view_counters(check->view, &check->seq, check->counters);
	if (r != -EUCLEAN)
		return r;
	check->seq = UINT64_MAX;
	for (int i = 0; i < COUNTER_COUNT; i++)
		check->counters[i] = UINT64_MAX;
	return check_report(check, "record", NULL,
	                    "the record of the store's counters is damaged");
}

/* ---- Names and times ---------------------------------------------------- */

static int name_check_one(struct check *check, const struct record *record)
{
	struct reader r = reader_init(record->value, record->len);
	uint64_t number = get_varint(&r), fork, version;
	struct record state_record;
	struct about about = {0};
	struct state state;
	uint8_t key[8];

	if (!reader_done(&r) || record->key_len <= 8)
		return check_report(check, "name", NULL,
		                    "a name's record is damaged");
	fork = be64_get(record->key);
	about.state = check_state(check, number);
	if (!about.state)
		return check_report(
		        check, "name", NULL,
		        "the name '%.*s' is that of state %llu, which "
		        "is missing",
		        (int)record->key_len - 8, record->key + 8, (ull)number);
	if (about.state->bad)
		return 0;
	be64_put(key, number);
	if (view_record(check->view, TABLE_STATE, key, sizeof(key), false,
	                &state_record) ||
	    state_decode(state_record.value, state_record.len, &state,
	                 &version) ||
	    about.state->named || about.state->fork != fork ||
	    about.state->flags & STATE_GONE ||
	    strlen(state.name) != record->key_len - 8 ||
	    memcmp(state.name, record->key + 8, record->key_len - 8))
		return check_report(check, "name", &about,
		                    "has the name '%.*s', too",
		                    (int)record->key_len - 8, record->key + 8);
	about.state->named = true;
	return 0;
}

static int time_check_one(struct check *check, const struct record *record)
{
	struct about about = {0};
	uint8_t key[TIME_KEY_LEN];
	uint64_t number;

	if (record->key_len != TIME_KEY_LEN)
		return check_report(check, "time", NULL,
		                    "a snapshot's time has a bad key");
	number = be64_get(record->key + 16);
	about.state = check_state(check, number);
	if (!about.state)
		return check_report(check, "time", NULL,
		                    "there is a time of state %llu, which is "
		                    "missing",
		                    (ull)number);
	if (about.state->bad)
		return 0;
	time_key(key, about.state->fork, about.state->created, number);
	if (!about.state->fork || memcmp(key, record->key, sizeof(key)))
		return check_report(check, "time", &about,
		                    "has a time that is not its own");
	about.state->timed = true;
	return 0;
}

/* ---- States ------------------------------------------------------------- */

static int state_check_version(struct check *check, struct check_state *s)
{
	struct about about = {.state = s, .version = s->version};
	struct check_version *v = check_version(check, s->version);

	if (!v)
		return check_report(check, "state", &about,
		                    "its version %llu is missing",
		                    (ull)s->version);
	v->found_refs++;
	v->trashed |= s->flags & STATE_TRASHED;
	if (v->bad || !s->fork == !v->freeze)
		return 0;
	return check_report(check, "state", &about, "its version %llu is %s",
	                    (ull)s->version, s->fork ? "not frozen" : "frozen");
}

static int state_check_one(struct check *check, struct check_state *s)
{
	struct about about = {.state = s};
	struct check_state *fork = s->fork ? check_state(check, s->fork) : NULL;
	int r = 0;

	if (s->bad)
		return check_report(check, "record", &about,
		                    "the record of state %llu is damaged",
		                    (ull)s->number);
	if (s->number >= check->counters[COUNTER_STATE] ||
	    s->number >= STATE_NUMBER_END)
		r = check_report(check, "state", &about,
		                 "its number %llu was not allocated yet",
		                 (ull)s->number);
	if (!r && s->fork && (!fork || fork->fork))
		r = check_report(check, "state", &about,
		                 "its fork, state %llu, is missing",
		                 (ull)s->fork);
	if (fork && !(s->flags & STATE_TRASHED))
		fork->found_snapshots++;
	if (!r && !s->named && !(s->flags & STATE_GONE))
		r = check_report(check, "name", &about,
		                 "is not found by its name");
	if (!r && s->flags & STATE_TRASHED &&
	    s->trash_keys != (s->fork ? 3 : 2))
		r = check_report(check, "trash", &about,
		                 "is not found in the trash");
	if (!r && s->fork && !s->timed && !(s->flags & STATE_TRASHED))
		r = check_report(check, "time", &about,
		                 "is not found by its time");
	if (!r && s->version)
		r = state_check_version(check, s);
	return r;
}

/* Read the record that meta_put() in forest.c writes. */
static int meta_read(struct check *check, struct forest_meta *ret_meta)
{
	static const char key[] = "forest";
	struct record record;
	int err = view_record(check->view, TABLE_META, key, sizeof(key) - 1,
	                      false, &record);

	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	if (record.key_len != sizeof(key) - 1 ||
	    memcmp(record.key, key, sizeof(key) - 1))
		return -EUCLEAN;
	return forest_meta_decode(&record, ret_meta);
}

static int count_check(struct check *check, uint64_t counted, uint64_t found,
                       const char *what)
{
	return counted == found
	               ? 0
	               : check_report(check, "count", NULL,
	                              "%llu %s are counted; there are %llu",
	                              (ull)counted, what, (ull)found);
}

/* Compare the record that counts all states with the states found. */
static int meta_check(struct check *check, const struct forest_meta *found)
{
	struct forest_meta meta = {0};
	struct check_state *s;
	int r = meta_read(check, &meta);

	if (r == -EUCLEAN)
		return check_report(check, "record", NULL,
		                    "the record of all states is damaged");
	if (r < 0)
		return r;
	s = check_state(check, meta.default_state);
	if (meta.default_state && (!s || s->flags & STATE_GONE))
		r = check_report(check, "state", NULL,
		                 "the default state, %llu, is missing",
		                 (ull)meta.default_state);
	if (!r)
		r = count_check(check, meta.states, found->states, "states");
	if (!r)
		r = count_check(check, meta.deleting, found->deleting,
		                "snapshots to be deleted");
	if (!r)
		r = count_check(check, meta.trashed, found->trashed,
		                "states in the trash");
	if (!r)
		r = count_check(check, meta.trashed_snapshots,
		                found->trashed_snapshots,
		                "snapshots of forks in the trash");
	if (!r)
		r = count_check(check, meta.tasks, found->tasks, "tasks");
	if (!r && meta.trashed &&
	    !view_has_feature(check->view, STORE_FEATURE_TRASH))
		r = check_report(check, "trash", NULL,
		                 "the store does not name the feature of its "
		                 "trash");
	return r;
}

/* Check the inode of the directory that lists the forks. */
static int forks_check(struct check *check)
{
	static const char key[] = "forks";
	struct record record;
	struct inode inode;
	int r = view_record(check->view, TABLE_META, key, sizeof(key) - 1,
	                    false, &record);

	if (r < 0 && r != -ENOENT && r != -EUCLEAN)
		return r;
	if (!r && record.key_len == sizeof(key) - 1 &&
	    !memcmp(record.key, key, sizeof(key) - 1) &&
	    !inode_decode(record.value, record.len, &inode))
		return 0;
	return check_report(check, "record", NULL,
	                    "the record of the forks' directory is damaged");
}

static int trash_check_one(struct check *check, const struct record *record)
{
	uint64_t number = record->key_len >= 17
	                          ? be64_get(record->key + record->key_len - 8)
	                          : 0;
	struct check_state *s = check_state(check, number);
	struct record keys[TRASH_KEYS], found;
	struct version version = {0};
	struct state state = {.number = number, .version = &version};
	uint8_t key[8];
	size_t count;

	be64_put(key, number);
	if (!s || s->bad || !(s->flags & STATE_TRASHED) || record->len ||
	    view_record(check->view, TABLE_STATE, key, sizeof(key), false,
	                &found) ||
	    state_decode(found.value, found.len, &state, &version.id))
		return check_report(check, "trash", NULL,
		                    "the trash has state %llu, which is not in "
		                    "it",
		                    (ull)number);
	count = trash_keys(&state, keys);
	for (size_t i = 0; i < count; i++)
		if (keys[i].key_len == record->key_len &&
		    !memcmp(keys[i].key, record->key, record->key_len)) {
			s->trash_keys++;
			return 0;
		}
	return check_report(check, "trash", &(struct about){.state = s},
	                    "has a place in the trash that is not its own");
}

/* Count a state as existing, trashed or deleted, and check its snapshots. */
static int state_count_one(struct check *check, struct check_state *s,
                           struct forest_meta *found)
{
	struct check_state *fork = s->fork ? check_state(check, s->fork) : s;
	struct about about = {.state = s};

	if (!s->bad && s->flags & STATE_TRASHED)
		found->trashed++;
	else if (s->bad || !fork || !(fork->flags & STATE_GONE))
		found->states++;
	if (!s->bad && s->flags & STATE_DELETING)
		found->deleting += s->snapshots;
	if (!s->bad && s->flags & STATE_TRASHED)
		found->trashed_snapshots += s->snapshots;
	if (s->bad || s->snapshots == s->found_snapshots)
		return 0;
	return check_report(check, "count", &about,
	                    "%llu snapshots are counted; there are %llu",
	                    (ull)s->snapshots, (ull)s->found_snapshots);
}

static int states_check(struct check *check)
{
	struct forest_meta found = {.tasks = check->tasks};
	int r = forks_check(check);

	if (!r)
		r = check_records_each(check, TABLE_NAME, name_check_one);
	if (!r)
		r = check_records_each(check, TABLE_TIME, time_check_one);
	if (!r)
		r = check_records_each(check, TABLE_TRASH, trash_check_one);
	if (!r)
		r = check_symlinks(check);
	if (!r)
		r = check_properties(check);
	if (!r)
		r = check_joins(check);
	for (size_t i = 0; !r && i < check->states_len; i++)
		r = state_check_one(check, &check->states[i]);
	for (size_t i = 0; !r && i < check->states_len; i++)
		r = state_count_one(check, &check->states[i], &found);
	return r ? r : meta_check(check, &found);
}

/* ---- Versions ----------------------------------------------------------- */

static int version_count_one(struct check *check, struct check_version *v)
{
	struct about about = {.version = v->id};
	struct check_version *parent;
	uint64_t base = 0;
	int r = 0;

	if (v->bad)
		return check_report(check, "record", &about,
		                    "the record of version %llu is damaged",
		                    (ull)v->id);
	parent = v->parent ? check_version(check, v->parent) : NULL;
	if (v->parent && (!parent || v->parent >= v->id))
		return check_report(
		        check, "version", &about,
		        "the parent %llu of version %llu is missing",
		        (ull)v->parent, (ull)v->id);
	if (parent && parent->bad)
		return 0;
	if (parent) {
		base = parent->freeze;
		parent->found_children++;
		parent->found_xor ^= v->id;
		/* Heads of deleted states, even in the trash, do not count. */
		parent->found_same += !v->freeze && v->refs && !v->trashed &&
		                      v->root && v->root == parent->root;
	}
	if (v->base != base || (parent && !parent->freeze))
		r = check_report(check, "version", &about,
		                 "version %llu has the base %llu; its parent "
		                 "froze at %llu",
		                 (ull)v->id, (ull)v->base, (ull)base);
	if (!r && (v->id > check->seq || v->freeze > check->seq))
		r = check_report(check, "version", &about,
		                 "version %llu is newer than the store",
		                 (ull)v->id);
	return r;
}

static int version_check_one(struct check *check, struct check_version *v)
{
	struct about about = {.version = v->id};
	int r = 0;

	if (v->bad)
		return 0;
	if (v->children != v->found_children || v->children_xor != v->found_xor)
		r = check_report(
		        check, "version", &about,
		        "version %llu counts %llu children; there are "
		        "%llu%s",
		        (ull)v->id, (ull)v->children, (ull)v->found_children,
		        v->children == v->found_children ? ", not the same"
		                                         : "");
	if (!r && v->same != v->found_same)
		r = check_report(check, "version", &about,
		                 "version %llu counts %llu children with its "
		                 "tree; there are %llu",
		                 (ull)v->id, (ull)v->same, (ull)v->found_same);
	if (!r && v->refs != v->found_refs)
		r = check_report(check, "version", &about,
		                 "version %llu counts %llu states; there are "
		                 "%llu",
		                 (ull)v->id, (ull)v->refs, (ull)v->found_refs);
	if (!r && !v->refs && v->children < 2 && !v->task)
		r = check_report(
		        check, "version", &about,
		        "version %llu has no state, and no task to free it",
		        (ull)v->id);
	return r;
}

int check_lineage(struct check *check)
{
	int r = check_records_each(check, TABLE_TASK, task_register_list);

	if (!r)
		r = states_check(check);
	for (size_t i = 0; !r && i < check->versions_len; i++)
		r = version_count_one(check, &check->versions[i]);
	for (size_t i = 0; !r && i < check->versions_len; i++)
		r = version_check_one(check, &check->versions[i]);
	return r;
}
