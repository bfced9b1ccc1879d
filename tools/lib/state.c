/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handles of states, and information about states. */
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
	known_dirs_destroy(state->dirs);
	free(state);
}

/* ---- Trees -------------------------------------------------------------- */

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

int state_look(struct coppice_state *state, struct tree *tree,
               int (*fn)(struct coppice_state *state, struct tree *tree,
                         void *arg),
               void *arg)
{
	struct store *store = state->store->store;
	struct tree *now = tree;
	int err = store_lock_shared(store);

	if (!err) {
		err = now ? 0 : state_tree_now(state, &now);
		if (!err)
			err = fn(state, now, arg);
		store_unlock_shared(store);
	}
	if (err != -EAGAIN)
		return err;
	now = tree;
	store_lock(store);
	err = now ? 0 : state_tree_now(state, &now);
	if (!err)
		err = fn(state, now, arg);
	store_unlock(store);
	return err;
}

/* ---- Information -------------------------------------------------------- */

/* Fill in the information about a state.  Lock held. */
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

/* Collect the next rows after the name `after`, which is advanced. */
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

/* Find a fork by name.  *ret_number is 0 if the name is NULL. */
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
