/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual xattrs user.coppice.*: the state of a file, and a state's
 * properties.
 */
#include "state_xattr.h"

#include <errno.h>
#include <stdio.h>

#include "inode.h"

static void time_text(int64_t ns, char *out, size_t size)
{
	struct timestamp t = timestamp_of(ns);
	time_t sec = t.sec;
	struct tm tm;
	char date[40];

	gmtime_r(&sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, size, "%s.%09uZ", date, (unsigned)t.nsec);
}

static int property_of_state(struct state *state, const char *key, char *out,
                             size_t size)
{
	struct property p;
	int err = property_get(state, key, &p);

	if (!err)
		snprintf(out, size, "%s", p.value);
	return err;
}

static int xattr_of_state(struct fs *fs, struct state *state, const char *name,
                          char *out, size_t size)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
	        {"number", state->number},
	        {"readonly", !!(state->flags & STATE_READONLY)},
	        {"version", state_version_id(state)},
	        {"parent", state_parent_id(state)},
	        {"snapshots", state->snapshots},
	        {"inodes", state_inodes(state)},
	        {"bytes", state_blocks(state) << BLOCK_SHIFT},
	};
	struct state *fork = state;
	int err;

	if (!strcmp(name, "fork")) {
		err = state->fork ? state_get(fs->forest, state->fork, &fork)
		                  : 0;
		if (!err)
			snprintf(out, size, "%s", fork->name);
		return err;
	}
	if (!strcmp(name, "origin")) {
		snprintf(out, size, "%s", state->origin_name);
		return state->origin_name[0] ? 0 : -ENODATA;
	}
	if (!strcmp(name, "created")) {
		time_text(state->created, out, size);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (strcmp(name, numbers[i].name))
			continue;
		snprintf(out, size, "%llu",
		         (unsigned long long)numbers[i].value);
		return 0;
	}
	return property_of_state(state, name, out, size);
}

/*
 * Write the path of a directory within its state.  -ENODATA for files, which
 * have as many paths as names.
 */
static int xattr_path(struct state *state, uint64_t ino, char *out, size_t size)
{
	struct inode inode;
	int err;

	if (size < TREE_PATH_SIZE || ino == INO_SNAPDIR)
		return -ENODATA;
	err = tree_inode(state_tree(state), ino, &inode);
	if (!err && !S_ISDIR(inode.mode))
		return -ENODATA;
	if (!err)
		err = tree_path_of(state_tree(state), ino, NULL, 0, out);
	return err == -ENOENT ? -ENODATA : err;
}

int state_xattr_get(struct fs *fs, node_t node, const char *name, char *out,
                    size_t size)
{
	char full[2 * NAME_LEN_MAX + 2];
	bool root = node_kind(node) == NODE_KIND_ROOT;
	struct state *state;
	int err;

	if (node_is_link(node))
		return -ENODATA;
	if (!strcmp(name, "store")) {
		store_where(fs->store, out, size);
		return 0;
	}
	if (root)
		return -ENODATA;
	err = state_get(fs->forest, NODE_STATE(node), &state);
	if (err)
		return err;
	if (!strcmp(name, "state")) {
		state_full_name(fs->forest, state, full);
		snprintf(out, size, "%s", full);
		return 0;
	}
	if (!strcmp(name, "path"))
		return xattr_path(state, NODE_INO(node), out, size);
	if (NODE_INO(node) != INO_ROOT)
		return -ENODATA;
	return xattr_of_state(fs, state, name, out, size);
}
