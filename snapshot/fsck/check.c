/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Check all states of a store: the order of the steps, and the reports, with
 * the names and paths that users see.
 *
 * Versions are checked in the order of their numbers, so parents before
 * children.  Only the differences of a version from its parent are checked:
 * items that were added must be valid, and the sums must have changed by as
 * much as the items did.  So each block is read once, and a fault is reported
 * for the first version that has it.
 */
#include "check.h"
#include "array.h"
#include "check_item.h"
#include "check_record.h"
#include "inode_path.h"
#include "unknown_table.h"
#include "util.h"

#include <errno.h>
#include <stdarg.h>

enum { TEXT_MAX = 400 };

/* ---- Finding ------------------------------------------------------------ */

struct check_version *check_version(struct check *check, uint64_t id)
{
	return array_find(check->versions, check->versions_len, id);
}

struct check_state *check_state(struct check *check, uint64_t number)
{
	return array_find(check->states, check->states_len, number);
}

int check_records_each(struct check *check, enum table table,
                       int (*fn)(struct check *check,
                                 const struct record *record))
{
	_cleanup_free_ struct record *record = malloc(sizeof(*record));
	uint8_t key[TABLE_KEY_MAX];
	uint32_t key_len = 0;
	int r;

	if (!record)
		return -ENOMEM;
	for (;;) {
		r = view_record(check->view, table, key, key_len, key_len,
		                record);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		r = fn(check, record);
		if (r)
			return r;
		key_len = record->key_len;
		memcpy(key, record->key, key_len);
		/* Skip a record with an empty key. */
		if (!key_len)
			key[key_len++] = 0;
	}
}

/* Find a state that names the version, or else a descendant of it. */
static struct check_state *state_of_version(struct check *check, uint64_t id)
{
	struct check_state *descendant = NULL;

	for (size_t i = 0; id && i < check->states_len; i++) {
		struct check_state *s = &check->states[i];
		uint64_t at = s->version;

		if (at == id)
			return s;
		/* This ends, because a parent's number is lower. */
		while (!descendant && at > id) {
			struct check_version *v = check_version(check, at);

			at = v && v->parent < at ? v->parent : 0;
		}
		if (!descendant && at == id)
			descendant = s;
	}
	return descendant;
}

/* ---- Names and paths ---------------------------------------------------- */

static int name_read(struct check *check, uint64_t number,
                     char out[NAME_LEN_MAX + 1])
{
	struct record record;
	struct state state;
	uint64_t version;
	uint8_t key[8];
	int r;

	be64_put(key, number);
	r = view_record(check->view, TABLE_STATE, key, sizeof(key), false,
	                &record);
	if (r < 0)
		return r;
	if (record.key_len != 8 || be64_get(record.key) != number)
		return -ENOENT;
	r = state_decode(record.value, record.len, &state, &version);
	if (!r)
		memcpy(out, state.name, NAME_LEN_MAX + 1);
	return r;
}

static const char *full_name(struct check *check, const struct check_state *s,
                             char out[FULL_NAME_MAX + 16])
{
	char name[NAME_LEN_MAX + 1], fork[NAME_LEN_MAX + 1];

	if (name_read(check, s->number, name))
		snprintf(out, FULL_NAME_MAX + 16, "#%llu",
		         (unsigned long long)s->number);
	else if (!s->fork)
		snprintf(out, FULL_NAME_MAX + 16, "%s", name);
	else if (name_read(check, s->fork, fork))
		snprintf(out, FULL_NAME_MAX + 16, "#%llu~%s",
		         (unsigned long long)s->fork, name);
	else
		snprintf(out, FULL_NAME_MAX + 16, "%s~%s", fork, name);
	return out;
}

struct tree_in_view {
	struct view *view;
	uint64_t root;
};

static int seek_in_view(void *arg, const struct key *key, struct item *ret_item)
{
	struct tree_in_view *tree = arg;

	return view_seek(tree->view, tree->root, key, ret_item);
}

int check_report(struct check *check, const char *kind,
                 const struct about *about, const char *format, ...)
{
	char text[TEXT_MAX], name[FULL_NAME_MAX + 16], path[INODE_PATH_SIZE];
	struct finding finding = {.kind = kind, .text = text};
	struct check_version *v = NULL;
	struct check_state *s = about ? about->state : NULL;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (about) {
		finding.version = about->version;
		finding.block = about->block;
		finding.ino = about->ino;
		v = check_version(check, about->version);
		if (!s)
			s = state_of_version(check, about->version);
	}
	if (s)
		finding.state = full_name(check, s, name);
	if (v && about->ino) {
		struct tree_in_view tree = {check->view, v->root};

		finding.path = inode_path(seek_in_view, &tree, about->ino,
		                          about->name, about->name_len, path);
	}
	return check->options.found(check->options.arg, &finding);
}

/* ---- Callbacks of the view ---------------------------------------------- */

static int on_damage(void *arg, const struct damage *damage)
{
	struct check *check = arg;
	struct about about = {.version = damage->version,
	                      .block = damage->block};

	if (damage->key)
		about.ino = damage->key->ino;
	return check_report(check, damage->kind, &about, "%s", damage->text);
}

static int on_progress(void *arg, const char *what, uint64_t done, uint64_t all)
{
	struct check *check = arg;

	return check->options.progress
	               ? check->options.progress(check->options.arg, what, done,
	                                         all)
	               : 0;
}

/* ---- The steps ---------------------------------------------------------- */

/* Return the base of the version, or of the row of hollow ones above it. */
static uint64_t left_base(struct check *check, const struct check_version *v)
{
	const struct check_version *parent = v;
	uint64_t base = v->base;

	while (parent && parent->parent) {
		parent = check_version(check, parent->parent);
		if (!parent || parent->bad || !parent->hollow)
			break;
		base = parent->base;
	}
	return base;
}

static struct view_tree version_tree(struct check *check,
                                     const struct check_version *v)
{
	return (struct view_tree){
	        .version = v->id,
	        .root = v->root,
	        .base = v->base,
	        .left_base = left_base(check, v),
	        .top = v->freeze ? v->freeze : check->seq,
	        .lists = {v->list, v->tidy_list},
	        .hollow = v->hollow,
	        .alone = v->hollow,
	        .reaping = v->reaping,
	        .from = v->reap_from,
	        .chunk = item_chunk,
	};
}

static int trees_check(struct check *check)
{
	int r = 0;

	for (size_t i = 0; !r && i < check->versions_len; i++) {
		struct check_version *v = &check->versions[i], *parent;
		struct view_tree tree = version_tree(check, v);

		if (v->bad) {
			view_unreadable_tree(check->view);
			continue;
		}
		parent = v->parent ? check_version(check, v->parent) : NULL;
		if (v->parent && (!parent || parent->bad || parent->reaping ||
		                  parent->hollow))
			tree.alone = true;
		if (parent)
			tree.parent_root = parent->root;
		r = check_items(check, v, &tree, parent ? parent->inodes : 0,
		                parent ? parent->blocks : 0);
		if (!r)
			r = on_progress(check, "trees", i + 1,
			                check->versions_len);
	}
	for (size_t i = 0; !r && i < check->versions_len; i++) {
		struct view_tree tree =
		        version_tree(check, &check->versions[i]);

		if (!check->versions[i].bad && tree.left_base < tree.base)
			r = view_left_lists(check->view, &tree);
	}
	return r;
}

int forest_check(struct store *store, const struct check_options *options)
{
	struct check check = {.options = *options, .store = store};
	struct view_options view_options = {
	        .data = options->data,
	        .found = on_damage,
	        .progress = on_progress,
	        .arg = &check,
	};
	int r = view_open(store, &view_options, &check.view);

	/* The view has reported the damage. */
	if (r == -EUCLEAN)
		return 0;
	if (!r)
		r = check_load(&check);
	if (!r)
		r = unknown_tables_log(check.view, store_path(store));
	if (!r)
		r = view_scan(check.view);
	if (!r)
		r = check_lineage(&check);
	if (!r)
		r = trees_check(&check);
	if (!r)
		r = view_finish(check.view);
	view_close(check.view);
	free(check.versions);
	free(check.states);
	return r;
}
