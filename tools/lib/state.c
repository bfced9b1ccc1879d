/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handles of states, and what is known of a state. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "handle.h"
#include "util.h"

enum { ROWS = 32 }; /* collected in one hold of the lock */

int coppice_state_open(struct coppice *store, const char *name,
                       struct coppice_state **ret_state)
{
	struct coppice_state *state;
	struct state *found;
	int err = store_check(store);

	if (err)
		return err;
	state = calloc(1, sizeof(*state));
	if (!state)
		return fail_text(-ENOMEM, "out of memory");
	state->store = store;
	store_lock(store->store);
	err = state_resolve(store->forest, name, &found);
	if (!err) {
		state->number = found->number;
		state->generation = state_generation(found);
		state->readonly = found->flags & STATE_READONLY;
		if (state->readonly)
			err = snapshot_hold(store, found, &state->hold);
	}
	store_unlock(store->store);
	if (err) {
		free(state);
		return fail_name(err, "open", name);
	}
	*ret_state = state;
	return 0;
}

void coppice_state_close(struct coppice_state *state)
{
	if (!state || store_check(state->store))
		return;
	store_lock(state->store->store);
	snapshot_release(state->store, &state->hold);
	store_unlock(state->store->store);
	for (size_t i = 0; state->dirs && i < DIRS_KNOWN; i++)
		free(state->dirs[i].path);
	free(state->dirs);
	free(state);
}

/* ---- Paths -------------------------------------------------------------- */

int state_tree_now(struct coppice_state *state, struct tree **ret_tree)
{
	struct state *found;
	int err;

	if (state->readonly) {
		*ret_tree = hold_tree(&state->hold);
		return 0;
	}
	err = state_get(state->store->forest, state->number, &found);
	if (!err && state_generation(found) != state->generation)
		err = -ESTALE;
	if (!err)
		*ret_tree = state_tree(found);
	return err;
}

int state_hold_now(struct coppice_state *state, struct state_hold *ret_hold)
{
	struct state *found;
	int err;

	*ret_hold = (struct state_hold){0};
	if (state->readonly) {
		hold_copy(&state->hold, ret_hold);
		return 0;
	}
	err = state_get(state->store->forest, state->number, &found);
	if (!err && state_generation(found) != state->generation)
		err = -ESTALE;
	return err || state->store->beside ? err : state_hold(found, ret_hold);
}

/* Return the place for a directory among those that are known, or NULL. */
static struct dir_known *dir_place(struct coppice_state *state,
                                   const char *path, size_t len)
{
	if (!state->readonly)
		return NULL;
	if (!state->dirs)
		state->dirs = calloc(DIRS_KNOWN, sizeof(*state->dirs));
	if (!state->dirs)
		return NULL;
	return &state->dirs[store_hash(state->store->store, path, len) %
	                    DIRS_KNOWN];
}

static void dir_note(struct dir_known *place, const char *path, size_t len,
                     uint64_t ino)
{
	char *copy = place ? malloc(len) : NULL;

	if (!copy)
		return;
	memcpy(copy, path, len);
	free(place->path);
	*place = (struct dir_known){copy, len, ino};
}

/* Take one step of a path. */
static int path_step(struct tree *tree, const char *name, size_t len,
                     uint64_t *ino, uint8_t *type)
{
	if (*type != DT_DIR)
		return -ENOTDIR;
	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (len <= 2 && !memcmp(name, "..", len))
		return -EINVAL;
	return tree_entry(tree, *ino, name, len, ino, type);
}

static int path_walk(struct tree *tree, const char *path, size_t len,
                     uint64_t *ino, uint8_t *type)
{
	int err = 0;

	for (size_t at = 0; !err && at < len;) {
		const char *slash = memchr(path + at, '/', len - at);
		size_t part = slash ? (size_t)(slash - path) - at : len - at;

		if (part)
			err = path_step(tree, path + at, part, ino, type);
		at += part + 1;
	}
	return err;
}

int state_path(struct coppice_state *state, struct tree *tree, const char *path,
               uint64_t *ret_ino, uint8_t *ret_type)
{
	size_t len = strlen(path), above;
	uint64_t ino = INO_ROOT;
	uint8_t type = DT_DIR;
	struct dir_known *place;
	const char *slash;
	int err = 0;

	while (len && path[len - 1] == '/')
		len--;
	slash = memrchr(path, '/', len);
	above = slash ? (size_t)(slash - path) : 0;
	if (above) {
		place = dir_place(state, path, above);
		if (place && place->path && place->len == above &&
		    !memcmp(place->path, path, above)) {
			ino = place->ino;
		} else {
			err = path_walk(tree, path, above, &ino, &type);
			if (!err && type == DT_DIR)
				dir_note(place, path, above, ino);
		}
	}
	if (!err)
		err = path_walk(tree, path + above, len - above, &ino, &type);
	if (err)
		return err;
	*ret_ino = ino;
	*ret_type = type;
	return 0;
}

/* ---- What is known of a state ------------------------------------------- */

/* Lock held. */
static int info_fill(struct coppice *store, struct state *state,
                     struct coppice_info *ret_info)
{
	struct state_info *s = malloc(sizeof(*s));
	int err = s ? state_info(store->forest, state, s) : -ENOMEM;

	if (!err) {
		*ret_info = (struct coppice_info){
		        .number = s->number,
		        .fork = s->fork,
		        .version = s->version,
		        .created = s->created,
		        .files = s->inodes,
		        .bytes = s->bytes,
		        .exclusive = s->exclusive,
		        .snapshots = s->snapshots,
		        .read_only = s->readonly,
		};
		state_full_name(store->forest, state, ret_info->name);
		memcpy(ret_info->origin, s->origin_name,
		       sizeof(s->origin_name));
	}
	free(s);
	return err;
}

_Static_assert(COPPICE_NAME_SIZE >= NAME_LEN_MAX * 2 + 2, "a full name fits");

int coppice_info(struct coppice_state *state, struct coppice_info *ret_info)
{
	struct coppice *store = state->store;
	struct coppice_info info;
	struct state *found;
	int err = store_check(store);

	if (err)
		return err;
	store_lock(store->store);
	err = state_get(store->forest, state->number, &found);
	if (!err && state_generation(found) != state->generation)
		err = -ESTALE;
	if (!err)
		err = info_fill(store, found, &info);
	store_unlock(store->store);
	return err ? fail_text(err, "cannot describe a state: %s",
	                       error_reason(err))
	           : STRUCT_RETURN(ret_info, info);
}

/* Collect the next rows behind the name `after`, which is changed. */
static int rows_collect(struct coppice *store, uint64_t fork, char *after,
                        struct coppice_info *rows, size_t *ret_count)
{
	struct state *state;
	size_t count = 0;
	int err = 0;

	store_lock(store->store);
	while (!err && count < ROWS) {
		err = state_next(store->forest, fork, after, &state);
		if (!err)
			err = info_fill(store, state, &rows[count]);
		if (!err) {
			rows[count++].size = sizeof(*rows);
			strcpy(after, state->name);
		}
	}
	store_unlock(store->store);
	*ret_count = count;
	return err;
}

/* Find a fork by name.  *ret_number is 0 for no name. */
static int fork_number(struct coppice *store, const char *name,
                       uint64_t *ret_number)
{
	struct state *state;
	int err = 0;

	*ret_number = 0;
	if (!name)
		return 0;
	store_lock(store->store);
	err = state_resolve(store->forest, name, &state);
	if (!err)
		*ret_number = state->number;
	if (!err && state->fork)
		err = -EINVAL;
	store_unlock(store->store);
	return err;
}

int coppice_list(struct coppice *store, const char *fork,
                 int (*fn)(void *arg, const struct coppice_info *info),
                 void *arg)
{
	_cleanup_free_ struct coppice_info *rows = NULL;
	char after[NAME_LEN_MAX + 1] = "";
	uint64_t number;
	size_t count = 0;
	int err = store_check(store);

	if (err)
		return err;
	rows = malloc(ROWS * sizeof(*rows));
	if (!rows)
		return fail_text(-ENOMEM, "out of memory");
	err = fork_number(store, fork, &number);
	if (err)
		return fail_name(err, "list", fork);
	while (!err) {
		err = rows_collect(store, number, after, rows, &count);
		for (size_t i = 0; i < count; i++) {
			int r = fn(arg, &rows[i]);

			if (r)
				return r;
		}
	}
	return err == -ENOENT ? 0
	                      : fail_text(err, "cannot list the states: %s",
	                                  error_reason(err));
}
