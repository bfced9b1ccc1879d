/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Restoring a whole fork: it gets a head forked from the state's tree. */
#include "fs.h"

#include <errno.h>

#include "fs_struct.h"

/*
 * Remove the records of joins that the fork does not contain any more: those
 * made after the source, if it is a snapshot of this fork; else all.
 */
static int joins_undo(struct fs *fs, const struct state *fork,
                      struct state *source)
{
	struct state_hold hold = {0};
	uint64_t seq = 0;
	int err = 0;

	if (source->fork == fork->number) {
		err = state_hold(source, &hold);
		if (err)
			return err;
		seq = hold_freeze(&hold);
		hold_release(fs->forest, &hold);
	}
	return join_records_cut(fs->forest, fork->number, seq);
}

int fs_restore_whole(struct fs *fs, struct state *source, struct state *fork,
                     bool dry_run, struct fs_restored *ret_restored)
{
	struct fs_restored *now = ret_restored;
	int err = fork->flags & STATE_READONLY ? -EROFS : 0;

	*now = (struct fs_restored){0};
	if (!err)
		err = state_hold(fork, &now->before);
	if (!err)
		err = side_begin(source, &now->side);
	if (!err && !dry_run)
		err = side_check_quota(&now->side, fork);
	if (!err && !dry_run)
		err = joins_undo(fs, fork, source);
	if (!err && !dry_run)
		err = side_switch(&now->side, fork);
	if (err) {
		side_end(fs->forest, &now->side);
		hold_release(fs->forest, &now->before);
		return err;
	}
	if (dry_run)
		return 0;
	fork_switched(fs, fork);
	return 0;
}
