/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "swap": two states exchange their names. */
#include "control_swap.h"

#include <errno.h>

/* Find both states by name alone.  Lock held; it may be released. */
static int swap_find(struct control *c, const char *a_name, const char *b_name,
                     struct state **ret_a, struct state **ret_b)
{
	int err = control_find_named(c, "swap", b_name, ret_b);

	if (err < 0)
		return control_fail_state(c, "swap", b_name, err);
	err = control_find_named(c, "swap", a_name, ret_a);
	if (err < 0)
		return control_fail_state(c, "swap", a_name, err);
	/* The search for a position may have released the lock. */
	if (state_named(c->forest, b_name, ret_b) < 0)
		return control_fail_state(c, "swap", b_name, -ENOENT);
	return 0;
}

int control_swap_change(struct control *c, struct state_change *ret)
{
	char a_name[STATE_NAME_MAX], b_name[STATE_NAME_MAX];
	struct state *a, *b;
	int err = control_argument(c, "name", true, a_name);

	if (err == 0)
		err = control_argument(c, "with", true, b_name);
	if (err == 0)
		err = swap_find(c, a_name, b_name, &a, &b);
	if (err < 0)
		return err;
	if (a == b)
		return fail(c, -EINVAL, "cannot swap '%s' with itself", a_name);
	if (a->fork != b->fork)
		return fail(c, -EXDEV,
		            "cannot swap '%s' and '%s': only two forks, or two "
		            "snapshots of one fork, can exchange their names",
		            a_name, b_name);
	state_change_name(ret, a->fork, a->name, false);
	state_change_name(ret, a->fork, b->name, false);
	ret->exchanged = true;
	err = fs_state_exchange(c->fs, a, b);
	if (err < 0)
		return control_fail_state(c, "swap", a_name, err);
	return state_change_result(c, a, ret);
}

int control_swap(struct control *c)
{
	struct state_change change = {0};
	const struct changed_name *names = change.names;
	int err = store_throttle(c->store, false);

	if (err < 0)
		return fail(c, err, "cannot swap states: %s",
		            control_reason(err));
	store_lock(c->store);
	err = control_swap_change(c, &change);
	store_unlock(c->store);
	json_decref(change.full);
	if (err < 0)
		return err;
	state_change_announce(c, &change);
	err = store_sync(c->store);
	return err < 0 ? fail(c, err,
	                      "'%s' and '%s' have exchanged their names, but "
	                      "that cannot be saved yet: %s",
	                      names[0].name, names[1].name, control_reason(err))
	               : 0;
}
