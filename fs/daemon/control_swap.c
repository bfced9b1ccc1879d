/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "swap": two states exchange their names. */
#include "control_swap.h"

#include <errno.h>

#include "coherence.h"
#include "control_list.h"

/* The two names that are exchanged, and the directory that has them. */
struct swap {
	char names[2][NAME_LEN_MAX + 1];
	uint64_t fork; /* of the snapshots; 0: forks */
};

/* Invalidate both names in one step, so that no mount has one of them new. */
static void swap_announce(struct mounts *mounts, const struct swap *swap)
{
	node_t parent = swap->fork ? NODE(swap->fork, INO_SNAPDIR) : NODE_ROOT;
	struct changes changes = {.mounts = mounts, .links = true};

	changes_name(&changes, parent, swap->names[0], parent);
	changes_name(&changes, parent, swap->names[1], parent);
	coherence_announce_wait(&changes);
}

/* Lock held. */
static int swap_states(struct control *c, const char *a_name,
                       const char *b_name, struct swap *ret_swap)
{
	struct state *a, *b;
	int err = control_find_named(c, "swap", b_name, &b);

	if (err < 0)
		return control_fail_state(c, "swap", b_name, err);
	err = control_find_named(c, "swap", a_name, &a);
	if (err < 0)
		return control_fail_state(c, "swap", a_name, err);
	/* The search for a position may have released the lock. */
	if (state_named(c->forest, b_name, &b) < 0)
		return control_fail_state(c, "swap", b_name, -ENOENT);
	if (a == b)
		return fail(c, -EINVAL, "cannot swap '%s' with itself", a_name);
	if (a->fork != b->fork)
		return fail(c, -EXDEV,
		            "cannot swap '%s' and '%s': only two forks, or two "
		            "snapshots of one fork, can exchange their names",
		            a_name, b_name);
	*ret_swap = (struct swap){.fork = a->fork};
	memcpy(ret_swap->names[0], a->name, sizeof(a->name));
	memcpy(ret_swap->names[1], b->name, sizeof(b->name));
	err = fs_state_exchange(c->fs, a, b);
	return err < 0 ? control_fail_state(c, "swap", a_name, err) : 0;
}

int control_swap(struct control *c)
{
	char a[STATE_NAME_MAX], b[STATE_NAME_MAX];
	struct swap swap;
	int err = control_argument(c, "name", true, a);

	if (err == 0)
		err = control_argument(c, "with", true, b);
	if (err < 0)
		return err;
	err = store_throttle(c->store, false);
	if (err < 0)
		return control_fail_state(c, "swap", a, err);
	store_lock(c->store);
	err = swap_states(c, a, b, &swap);
	store_unlock(c->store);
	if (err < 0)
		return err;
	if (c->mounts)
		swap_announce(c->mounts, &swap);
	err = store_sync(c->store);
	return err < 0 ? fail(c, err,
	                      "'%s' and '%s' have exchanged their names, but "
	                      "that cannot be saved yet: %s",
	                      a, b, control_reason(err))
	               : 0;
}
