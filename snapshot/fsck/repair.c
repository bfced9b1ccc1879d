/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair a store: the order of the steps, and the reports.
 *
 * A damaged block cannot be repaired in place: it may be shared by trees that
 * have no references to each other.  A new store is made beside the old one
 * instead, filled, and checked like any other.  It replaces the old one only if
 * the check finds nothing.
 */
#include "repair.h"
#include "array.h"
#include "check_record.h"
#include "inode_path.h"
#include "repair_inode.h"
#include "repair_record.h"
#include "repair_symlink.h"
#include "repair_tree.h"
#include "repair_verify.h"
#include "util.h"

#include <errno.h>

enum { REPORTED_FIRST = 1024 };

/* ---- Arrays ------------------------------------------------------------- */

int inos_add(struct inos *inos, uint64_t ino)
{
	uint64_t *at = array_add(&inos->at, &inos->len, &inos->capacity);

	if (!at)
		return -ENOMEM;
	*at = ino;
	return 0;
}

void inos_sort(struct inos *inos)
{
	array_sort(inos->at, inos->len, number_compare);
	inos->len = numbers_unique(inos->at, inos->len);
}

static int by_key(const void *a, const void *b)
{
	return key_compare(a, b);
}

static void keys_sort(struct keys *keys)
{
	size_t len = 0;

	array_sort(keys->at, keys->len, by_key);
	for (size_t i = 0; i < keys->len; i++)
		if (!i || key_compare(&keys->at[i], &keys->at[len - 1]))
			keys->at[len++] = keys->at[i];
	keys->len = len;
}

/* ---- Reporting ---------------------------------------------------------- */

int repair_lose(struct repair *repair, const char *kind, uint64_t ino,
                const char *name, size_t name_len, const char *text)
{
	struct loss *loss;

	loss = array_add(&repair->losses, &repair->losses_len,
	                 &repair->losses_capacity);
	if (!loss)
		return -ENOMEM;
	*loss = (struct loss){.kind = kind, .text = text, .ino = ino};
	if (name) {
		loss->name = strndup(name, name_len);
		if (!loss->name)
			return -ENOMEM;
	}
	return 0;
}

static int report(struct repair *repair, const struct finding *finding)
{
	repair->reported++;
	return repair->options.done(repair->options.arg, finding);
}

int repair_report_state(struct repair *repair, const char *kind,
                        const char *state, const char *text)
{
	struct finding finding = {.kind = kind, .state = state, .text = text};

	return report(repair, &finding);
}

void repair_full_name(struct repair *repair, size_t state,
                      char out[FULL_NAME_MAX + 16])
{
	const struct state *s = &repair->states[state].state;
	const char *fork = NULL;

	for (size_t i = 0; s->fork && i < repair->states_len; i++)
		if (repair->states[i].state.number == s->fork)
			fork = repair->states[i].state.name;
	snprintf(out, FULL_NAME_MAX + 16, "%s%s%s", fork ? fork : "",
	         fork ? "~" : "", s->name);
}

/* Add a hash to the set.  1: it is new; 0: it is not; or an error. */
static int reported_add(struct repair *repair, uint64_t hash)
{
	if (repair->reported_len * 2 >= repair->reported_size) {
		size_t size = repair->reported_size ? repair->reported_size * 2
		                                    : REPORTED_FIRST;
		uint64_t *old = repair->reported_set;
		size_t old_size = repair->reported_size;

		repair->reported_set = calloc(size, sizeof(*old));
		if (!repair->reported_set) {
			repair->reported_set = old;
			return -ENOMEM;
		}
		repair->reported_size = size;
		repair->reported_len = 0;
		for (size_t i = 0; i < old_size; i++)
			if (old[i])
				reported_add(repair, old[i]);
		free(old);
	}
	hash += !hash;
	for (size_t i = hash;; i++) {
		uint64_t *at =
		        &repair->reported_set[i & (repair->reported_size - 1)];

		if (*at == hash)
			return 0;
		if (!*at) {
			*at = hash;
			repair->reported_len++;
			return 1;
		}
	}
}

static int seek_in_new_tree(void *arg, const struct key *key,
                            struct item *ret_item)
{
	return tree_seek(arg, key, ret_item);
}

/* Report a loss, unless it was reported for another state already. */
static int loss_report(struct repair *repair, const struct loss *loss)
{
	char state[FULL_NAME_MAX + 16], path[INODE_PATH_SIZE], key[600];
	struct finding finding = {
	        .kind = loss->kind, .text = loss->text, .ino = loss->ino};
	int r = snprintf(key, sizeof(key), "%llu %s %s %s",
	                 (unsigned long long)loss->ino, loss->kind, loss->text,
	                 loss->name ? loss->name : "");

	r = reported_add(repair, store_hash(repair->store, key,
	                                    MIN((size_t)r, sizeof(key) - 1)));
	if (r <= 0)
		return r;
	if (repair->v->state != NO_VERSION) {
		repair_full_name(repair, repair->v->state, state);
		finding.state = state;
	}
	finding.path = inode_path(seek_in_new_tree, &repair->v->tree, loss->ino,
	                          loss->name,
	                          loss->name ? strlen(loss->name) : 0, path);
	return report(repair, &finding);
}

static void losses_clear(struct repair *repair)
{
	for (size_t i = 0; i < repair->losses_len; i++)
		free(repair->losses[i].name);
	repair->losses_len = 0;
}

int repair_report_losses(struct repair *repair)
{
	int r = 0;

	for (size_t i = 0; !r && i < repair->losses_len; i++)
		r = loss_report(repair, &repair->losses[i]);
	losses_clear(repair);
	return r;
}

static int progress(struct repair *repair, const char *what, uint64_t done,
                    uint64_t all)
{
	return repair->options.progress
	               ? repair->options.progress(repair->options.arg, what,
	                                          done, all)
	               : 0;
}

/* ---- Building ----------------------------------------------------------- */

/* Begin a version with the tree of its parent. */
static void version_begin(struct repair *repair, struct repair_version *v)
{
	struct repair_version *parent;

	v->id = store_next_seq(repair->store);
	v->tree = (struct tree){
	        .store = repair->store, .list = v->id, .owner = v->id};
	if (v->parent == NO_VERSION)
		return;
	parent = &repair->versions[v->parent];
	v->tree.root = parent->tree.root;
	v->tree.base = parent->freeze;
	parent->children++;
	parent->children_xor ^= v->id;
}

static void version_end(struct repair *repair, struct repair_version *v)
{
	struct repair_version *parent;

	keys_sort(&v->fixed);
	if (v->frozen)
		v->freeze = store_next_seq(repair->store);
	if (v->parent == NO_VERSION)
		return;
	parent = &repair->versions[v->parent];
	/* A head in the trash is not counted. */
	if (!v->freeze && v->tree.root == parent->tree.root &&
	    !(v->state != NO_VERSION &&
	      repair->states[v->state].state.flags & STATE_TRASHED))
		parent->same++;
	if (!--parent->users) {
		free(parent->fixed.at);
		parent->fixed = (struct keys){0};
	}
}

static int version_doubt(struct repair *repair, const struct repair_version *v)
{
	char state[FULL_NAME_MAX + 16];

	if (!v->strange || v->state == NO_VERSION)
		return 0;
	repair_full_name(repair, v->state, state);
	return repair_report_state(
	        repair, "doubtful", state,
	        "it counts more or fewer files or blocks than "
	        "it has");
}

static int version_build(struct repair *repair, struct repair_version *v)
{
	int r;

	repair->v = v;
	version_begin(repair, v);
	r = repair_copy(repair);
	if (!r)
		r = repair_fix(repair);
	if (!r)
		r = version_doubt(repair, v);
	if (!r)
		r = repair_report_losses(repair);
	version_end(repair, v);
	return r;
}

static int versions_build(struct repair *repair)
{
	int r = 0;

	for (size_t i = 0; !r && i < repair->versions_len; i++) {
		struct repair_version *v = &repair->versions[i];

		if (v->refs || v->users)
			r = version_build(repair, v);
		if (!r)
			r = progress(repair, "versions", i + 1,
			             repair->versions_len);
	}
	return r;
}

static int store_build(struct repair *repair)
{
	uint64_t ino;
	int r = 0;

	store_lock(repair->store);
	if (repair->ino_max >= repair->counters[COUNTER_INO])
		r = store_count(repair->store, COUNTER_INO, repair->ino_max,
		                INO_END, &ino);
	if (!r)
		r = versions_build(repair);
	if (!r)
		r = repair_records(repair);
	store_unlock(repair->store);
	if (!r)
		r = store_sync(repair->store);
	if (!r)
		r = store_resize(repair->store,
		                 store_max_size(repair->check.store));
	return r;
}

/* ---- The new store ------------------------------------------------------ */

static int on_flaw(void *arg, const struct finding *finding)
{
	bool *flawed = arg;

	if (!*flawed)
		log_error("the repaired store has a flaw: %s: %s",
		          finding->state ? finding->state : finding->kind,
		          finding->text);
	*flawed = true;
	return 0;
}

/* Check the new store completely. */
static int store_prove(const char *path)
{
	struct store_options options = {.readonly = true};
	bool flawed = false;
	struct check_options check = {
	        .data = true, .found = on_flaw, .arg = &flawed};
	struct store *store;
	int r = store_open(path, &options, &store);

	if (r < 0)
		return r;
	r = forest_check(store, &check);
	store_close(store);
	return r ? r : flawed ? -EUCLEAN : 0;
}

static int store_fill(struct repair *repair)
{
	struct store_options options = {0};
	int r, closed;

	r = store_remove(repair->path);
	if (!r)
		r = store_create_like(repair->path, repair->check.store,
		                      repair->seq, repair->counters);
	if (!r)
		r = store_open(repair->path, &options, &repair->store);
	if (r < 0)
		return r;
	r = store_build(repair);
	closed = store_close(repair->store);
	repair->store = NULL;
	if (!r)
		r = closed;
	if (!r)
		r = view_copy_unknown(repair->check.view, repair->path);
	return r ? r : store_prove(repair->path);
}

static int silent(void *arg, const struct damage *damage)
{
	return 0;
}

static int silent_finding(void *arg, const struct finding *finding)
{
	return 0;
}

static int on_image_progress(void *arg, const char *what, uint64_t done,
                             uint64_t all)
{
	return progress(arg, what, done, all);
}

static int view_begin(struct repair *repair)
{
	struct view_options options = {
	        .found = silent,
	        .progress = on_image_progress,
	        .arg = repair,
	};
	struct check *check = &repair->check;
	int r;

	check->options.found = silent_finding;
	r = view_open(check->store, &options, &check->view);
	if (!r)
		r = check_load(check);
	return r ? r : view_scan(check->view);
}

static void repair_release(struct repair *repair)
{
	for (size_t i = 0; i < repair->versions_len; i++)
		free(repair->versions[i].fixed.at);
	losses_clear(repair);
	view_close(repair->check.view);
	free(repair->check.versions);
	free(repair->check.states);
	free(repair->path);
	free(repair->versions);
	free(repair->states);
	free(repair->reported_set);
	free(repair->doubted.at);
	free(repair->suspects.at);
	free(repair->nameless.at);
	free(repair->retype.at);
	free(repair->losses);
}

static int repair_run(struct repair *repair, char **ret_kept)
{
	int r;

	if (asprintf(&repair->path, "%s/repair",
	             store_path(repair->check.store)) < 0) {
		repair->path = NULL;
		return -ENOMEM;
	}
	r = view_begin(repair);
	if (!r)
		r = repair_plan(repair);
	if (r)
		return r;
	r = store_fill(repair);
	if (!r && !repair->options.dry_run)
		r = store_replace(repair->check.store, repair->path, ret_kept);
	store_remove(repair->path);
	return r;
}

/* ---- The steps ---------------------------------------------------------- */

struct first_look {
	const struct repair_options *options;
	struct inos *doubted;
	uint64_t found, metas;
};

static int on_found(void *arg, const struct finding *finding)
{
	struct first_look *look = arg;

	look->found++;
	look->metas += !strcmp(finding->kind, "meta");
	if (!strcmp(finding->kind, "count") && finding->block &&
	    inos_add(look->doubted, finding->block))
		return -ENOMEM;
	return look->options->found(look->options->arg, finding);
}

static int on_progress(void *arg, const char *what, uint64_t done, uint64_t all)
{
	struct first_look *look = arg;

	return look->options->progress
	               ? look->options->progress(look->options->arg, what, done,
	                                         all)
	               : 0;
}

int forest_repair(struct store *store, const struct repair_options *options,
                  struct repair_result *ret_result)
{
	_cleanup_(repair_release) struct repair repair = {.options = *options,
	                                                  .check.store = store};
	struct first_look look = {.options = options,
	                          .doubted = &repair.doubted};
	struct check_options check = {
	        .data = true,
	        .found = on_found,
	        .progress = on_progress,
	        .arg = &look,
	};
	struct repair_result result = {0};
	int r = forest_check(store, &check);

	/* A damaged meta page alone is repaired in place. */
	if (!r && look.found && look.found == look.metas &&
	    store_meta_damaged(store))
		r = options->dry_run ? 0 : store_mend_meta(store);
	else if (!r && look.found)
		r = repair_run(&repair, &result.kept);
	if (r)
		return r;
	result.found = look.found;
	result.done = repair.reported;
	*ret_result = result;
	return 0;
}
