/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: which states and versions are kept, and their new records.
 *
 * A state is kept if its record and that of its version can be read.  If
 * exactly one fork (or snapshot) has lost its record, and exactly one version
 * has no state, they belong together; otherwise such a version becomes a fork
 * with a new name.  Deleted versions that only wait to be freed are not kept.
 * A version without a state is not kept either, unless it has several kept
 * children, or has one and was joined.
 */
#include "repair_record.h"
#include "repair_plan.h"
#include "array.h"
#include "number.h"
#include "repair_join.h"
#include "repair_property.h"
#include "repair_state.h"
#include "repair_symlink.h"
#include "repair_tree.h"
#include "check_record.h"
#include "unknown_table.h"
#include "util.h"

#include <errno.h>
#include <sys/stat.h>

typedef unsigned long long ull;

/* ---- Versions ----------------------------------------------------------- */

/* Return the index of the parent; NO_VERSION: it is unusable. */
static size_t version_parent(struct plan *p, size_t i)
{
	const struct check_version *v = &p->check->versions[i];

	if (v->bad || !v->parent || v->parent >= v->id)
		return NO_VERSION;
	return plan_version_index(p, v->parent);
}

static struct repair_version *version_keep(struct plan *p, size_t i,
                                           size_t parent)
{
	struct repair *repair = p->repair;
	struct repair_version *v;

	v = array_add(&repair->versions, &repair->versions_len,
	              &repair->versions_capacity);
	if (!v)
		return NULL;
	v->old = p->check->versions[i].id;
	v->old_root = p->check->versions[i].root;
	v->created = plan_version_created(p, v->old);
	v->parent = parent;
	v->state = NO_VERSION;
	if (parent != NO_VERSION) {
		repair->versions[parent].frozen = true;
		repair->versions[parent].users++;
	}
	return v;
}

/* Keep the versions with a state, and those that the head comment names. */
static int versions_keep(struct plan *p)
{
	size_t len = p->check->versions_len;

	for (size_t i = len; i--;) {
		size_t parent = version_parent(p, i);

		if ((p->snapped[i] || p->headed[i] || p->grown[i]) &&
		    parent != NO_VERSION)
			p->grown[parent]++;
	}
	for (size_t i = 0; i < len; i++) {
		size_t parent = version_parent(p, i);
		struct repair_version *v;

		p->kept[i] = NO_VERSION;
		/* A hollow version has no tree: its children hold the rest. */
		if (!p->snapped[i] && !p->headed[i] &&
		    (p->check->versions[i].hollow ||
		     (p->grown[i] < 2 && !(p->held[i] && p->grown[i]))))
			continue;
		while (parent != NO_VERSION && p->kept[parent] == NO_VERSION)
			parent = version_parent(p, parent);
		v = version_keep(p, i,
		                 parent == NO_VERSION ? NO_VERSION
		                                      : p->kept[parent]);
		if (!v)
			return -ENOMEM;
		p->kept[i] = p->repair->versions_len - 1;
		v->held = p->held[i];
		v->frozen = p->snapped[i] || v->held;
	}
	return 0;
}

/* ---- The plan ----------------------------------------------------------- */

/* Skip parents that have no state, no join and only one child. */
static void versions_shorten(struct repair *repair)
{
	for (size_t i = 0; i < repair->versions_len; i++) {
		struct repair_version *v = &repair->versions[i], *parent;

		while (v->parent != NO_VERSION) {
			parent = &repair->versions[v->parent];
			if (parent->refs || parent->users != 1 || parent->held)
				break;
			parent->users = 0;
			v->parent = parent->parent;
		}
	}
}

static int states_point(struct plan *p)
{
	struct repair *repair = p->repair;

	for (size_t i = 0; i < repair->states_len; i++) {
		struct repair_state *s = &repair->states[i];
		size_t version = s->version, kept = p->kept[version];

		if (p->apart[i]) {
			if (!version_keep(p, version, kept))
				return -ENOMEM;
			kept = repair->versions_len - 1;
		}
		s->version = kept;
		repair->versions[kept].refs++;
	}
	versions_shorten(repair);
	array_sort(repair->states, repair->states_len, number_compare);
	for (size_t i = 0; i < repair->states_len; i++)
		repair->versions[repair->states[i].version].state = i;
	for (size_t i = repair->versions_len; i--;) {
		struct repair_version *v = &repair->versions[i];

		if (v->parent != NO_VERSION &&
		    repair->versions[v->parent].state == NO_VERSION)
			repair->versions[v->parent].state = v->state;
	}
	return 0;
}

static uint64_t default_read(struct plan *p)
{
	static const char key[] = "forest";
	struct forest_meta meta;
	struct record record;

	if (view_record(p->check->view, TABLE_META, key, sizeof(key) - 1, false,
	                &record) ||
	    forest_meta_decode(&record, &meta))
		return 0;
	return meta.default_state;
}

static void forks_read(struct plan *p)
{
	static const char key[] = "forks";
	struct record record;

	p->repair->forks = (struct inode){.mode = S_IFDIR | 0755, .nlink = 2};
	if (!view_record(p->check->view, TABLE_META, key, sizeof(key) - 1,
	                 false, &record) &&
	    record.key_len == sizeof(key) - 1 &&
	    !memcmp(record.key, key, sizeof(key) - 1))
		inode_decode(record.value, record.len, &p->repair->forks);
}

static int default_plan(struct plan *p)
{
	struct repair *repair = p->repair;
	struct repair_state *s;
	bool forks = false;

	for (size_t i = 0; i < repair->states_len && !forks; i++)
		forks = !repair->states[i].state.fork;
	if (!forks)
		return -ENODATA;
	/* Without a readable default state there is none. */
	repair->default_state = default_read(p);
	s = plan_kept_find(repair, repair->default_state);
	if (!s || s->state.flags & STATE_TRASHED)
		repair->default_state = 0;
	return 0;
}

static int on_survey(void *arg, const struct item *old, const struct item *new)
{
	struct repair *repair = arg;

	if (new &&new->key.ino > repair->ino_max)
		repair->ino_max = new->key.ino;
	return 0;
}

/* Set counters that are lost or impossible to above the numbers in use. */
static int counters_plan(struct plan *p)
{
	static const uint64_t ends[] = {
	        [COUNTER_INO] = INO_END,
	        /* Above the end it is a position: see number.c. */
	        [COUNTER_STATE] = 2 * STATE_NUMBER_END,
	};
	struct repair *repair = p->repair;
	struct check *check = p->check;
	uint64_t least[COUNTER_COUNT] = {INO_FIRST, 1};

	repair->seq = check->seq < UINT64_C(1) << 57 ? check->seq : 0;
	for (size_t i = 0; i < check->versions_len; i++) {
		struct check_version *v = &check->versions[i];
		size_t parent = version_parent(p, i);
		uint64_t root =
		        parent == NO_VERSION ? 0 : check->versions[parent].root;
		int r = v->bad ? 0
		               : view_compare(check->view, root, v->root,
		                              on_survey, NULL, repair);

		if (r < 0)
			return r;
		if (!v->bad && v->id > repair->seq && v->id >> 57 == 0)
			repair->seq = v->id;
	}
	least[COUNTER_INO] = repair->ino_max + 1;
	for (size_t i = 0; i < check->states_len; i++)
		if (check->states[i].number >= least[COUNTER_STATE] &&
		    plan_number_good(check->states[i].number))
			least[COUNTER_STATE] = check->states[i].number + 1;
	for (int i = 0; i < COUNTER_COUNT; i++) {
		uint64_t now = check->counters[i];

		repair->counters[i] =
		        now > least[i] && now <= ends[i] ? now : least[i];
	}
	return 0;
}

static void plan_release(struct plan *p)
{
	free(p->inner);
	free(p->snapped);
	free(p->headed);
	free(p->held);
	free(p->grown);
	free(p->kept);
	free(p->lost);
	free(p->apart);
}

static int plan_states(struct plan *p)
{
	struct check *check = p->check;
	int r = 0;

	/* Snapshots first: a fork cannot write to a version that one has. */
	for (size_t i = 0; !r && i < check->states_len; i++)
		r = plan_state(p, &check->states[i], false);
	for (size_t i = 0; !r && i < check->states_len; i++)
		r = plan_state(p, &check->states[i], true);
	if (!r)
		r = plan_names(p);
	if (!r)
		r = plan_recover_states(p, true);
	if (!r)
		r = plan_recover_states(p, false);
	if (!r)
		r = plan_recover_forks(p);
	return r ? r : plan_report_lost(p);
}

int repair_plan(struct repair *repair)
{
	_cleanup_(plan_release) struct plan p = {.repair = repair,
	                                         .check = &repair->check};
	size_t len = repair->check.versions_len + 1;
	int r;

	p.inner = calloc(len, sizeof(*p.inner));
	p.snapped = calloc(len, sizeof(*p.snapped));
	p.headed = calloc(len, sizeof(*p.headed));
	p.held = calloc(len, sizeof(*p.held));
	p.grown = calloc(len, sizeof(*p.grown));
	p.kept = calloc(len, sizeof(*p.kept));
	if (!p.inner || !p.snapped || !p.headed || !p.held || !p.grown ||
	    !p.kept)
		return -ENOMEM;
	for (size_t i = 0; i < len - 1; i++) {
		size_t parent = version_parent(&p, i);

		if (parent != NO_VERSION)
			p.inner[parent] = true;
	}
	forks_read(&p);
	r = plan_symlinks(&p);
	if (!r)
		r = counters_plan(&p);
	if (!r)
		r = plan_states(&p);
	if (!r)
		r = plan_joins(&p);
	if (!r)
		r = versions_keep(&p);
	if (!r)
		r = states_point(&p);
	return r ? r : default_plan(&p);
}

/* ---- The new records ---------------------------------------------------- */

static int version_put(struct repair *repair, const struct repair_version *v)
{
	struct version record = {
	        .tree = v->tree,
	        .freeze = v->freeze,
	        .children = v->children,
	        .children_xor = v->children_xor,
	        .same = v->same,
	        .refs = v->refs,
	        .created = v->created,
	        .inodes = v->inodes,
	        .blocks = v->blocks,
	};
	uint8_t key[8], value[VERSION_LEN_MAX];

	if (v->parent != NO_VERSION)
		record.parent = repair->versions[v->parent].id;
	be64_put(key, v->id);
	return table_put(repair->store, TABLE_VERSION, key, sizeof(key), value,
	                 version_encode(&record, value));
}

static bool name_good(struct repair *repair, const struct state *s)
{
	struct record record;
	uint8_t key[TABLE_KEY_MAX];

	if (s->fork ? name_check_snapshot(s->name) : name_check_fork(s->name))
		return false;
	return table_get(repair->store, TABLE_NAME, key,
	                 name_key(key, s->fork, s->name), &record) == -ENOENT;
}

static int name_put(struct repair *repair, struct state *s)
{
	uint8_t key[TABLE_KEY_MAX], value[10];
	struct writer w = writer_init(value, sizeof(value));

	if (!name_good(repair, s)) {
		snprintf(s->name, sizeof(s->name), "recovered-%llu",
		         (ull)s->number);
		if (!name_good(repair, s))
			return -EEXIST;
		if (repair_report_state(repair, "restored", s->name,
		                        "its name was lost"))
			return -ECANCELED;
	}
	put_varint(&w, s->number);
	return table_put(repair->store, TABLE_NAME, key,
	                 name_key(key, s->fork, s->name), value,
	                 writer_len(&w));
}

/* Write the record that a fork has orphans, if it has any. */
static int orphan_put(struct repair *repair, const struct repair_state *s)
{
	struct key first = {.kind = ITEM_ORPHAN};
	struct item item;
	uint8_t key[8];
	int r = tree_seek(&repair->versions[s->version].tree, &first, &item);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (item.key.ino || item.key.kind != ITEM_ORPHAN || s->state.fork)
		return 0;
	be64_put(key, s->state.number);
	return table_put(repair->store, TABLE_ORPHAN, key, sizeof(key), NULL,
	                 0);
}

/* Return the number of a fork's snapshots that are not in the trash. */
static uint64_t snapshots_of(struct repair *repair, const struct state *fork)
{
	uint64_t count = 0;

	for (size_t i = 0; !fork->fork && i < repair->states_len; i++) {
		const struct state *s = &repair->states[i].state;

		count += s->fork == fork->number && !(s->flags & STATE_TRASHED);
	}
	return count;
}

static int state_put(struct repair *repair, struct repair_state *s)
{
	struct version version = {.id = repair->versions[s->version].id};
	uint8_t key[TIME_KEY_LEN], value[STATE_LEN_MAX];
	int r;

	const bool trashed = s->state.flags & STATE_TRASHED;

	s->state.snapshots = snapshots_of(repair, &s->state);
	s->state.version = &version;
	r = trashed ? trash_records_put(repair->store, &s->state)
	            : name_put(repair, &s->state);
	be64_put(key, s->state.number);
	if (!r)
		r = table_put(repair->store, TABLE_STATE, key, 8, value,
		              state_encode(&s->state, value));
	s->state.version = NULL;
	time_key(key, s->state.fork, s->state.created, s->state.number);
	if (!r && s->state.fork && !trashed)
		r = table_put(repair->store, TABLE_TIME, key, sizeof(key), NULL,
		              0);
	return r ? r : orphan_put(repair, s);
}

/* Copy how long deleted states stay in the trash. */
static int trash_time_copy(struct repair *repair)
{
	static const char key[] = "trash";
	struct record record;

	if (view_record(repair->check.view, TABLE_META, key, sizeof(key) - 1,
	                false, &record) ||
	    record.key_len != sizeof(key) - 1 ||
	    memcmp(record.key, key, sizeof(key) - 1))
		return 0;
	return table_put(repair->store, TABLE_META, key, sizeof(key) - 1,
	                 record.value, record.len);
}

/*
 * Write the records that meta_put() and root_put() in forest.c write.  The
 * records of the states have been written before.
 */
static int meta_put(struct repair *repair)
{
	struct forest_meta meta = {.default_state = repair->default_state,
	                           .tasks = repair_joins_tasks(repair)};
	uint8_t value[FOREST_META_LEN_MAX], inode[INODE_LEN_MAX];
	int r;

	for (size_t i = 0; i < repair->states_len; i++) {
		const struct state *s = &repair->states[i].state;

		if (!(s->flags & STATE_TRASHED))
			continue;
		meta.trashed++;
		meta.trashed_snapshots += s->snapshots;
	}
	meta.states =
	        repair->states_len - meta.trashed - meta.trashed_snapshots;
	r = table_put(repair->store, TABLE_META, "forest", 6, value,
	              forest_meta_encode(&meta, value));
	if (!r)
		r = table_put(repair->store, TABLE_META, "forks", 5, inode,
		              inode_encode(&repair->forks, inode));
	return r ? r : trash_time_copy(repair);
}

int repair_records(struct repair *repair)
{
	int r = 0;

	for (size_t i = 0; !r && i < repair->versions_len; i++) {
		r = version_put(repair, &repair->versions[i]);
		if (!r)
			r = repair_yield(repair);
	}
	for (size_t i = 0; !r && i < repair->states_len; i++) {
		r = state_put(repair, &repair->states[i]);
		if (!r)
			r = repair_yield(repair);
	}
	if (!r)
		r = meta_put(repair);
	if (!r)
		r = repair_symlinks(repair);
	if (!r)
		r = repair_properties(repair);
	if (!r)
		r = repair_joins(repair);
	return r ? r : unknown_tables_copy(repair->check.view, repair->store);
}
