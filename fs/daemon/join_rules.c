/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules for conflicts in a request "join". */
#include "join_rules.h"

#include <errno.h>
#include <fnmatch.h>

#include "util.h"

static int rule_read(struct control *c, const char *key, bool *ret_all,
                     char ret_glob[TREE_PATH_SIZE])
{
	int err;

	if (control_flag(c, key)) {
		*ret_all = true;
		return 0;
	}
	err = control_bytes(c->request, key, ret_glob, TREE_PATH_SIZE);
	return err && err != -ENOENT
	               ? fail(c, -EINVAL, "\"%s\" is not a pattern", key)
	               : 0;
}

int join_rules_read(struct control *c, struct join_rules *rules)
{
	static const char *const keys[RULES] = {"ours", "theirs", "keep_both",
	                                        "text"};
	int err = 0;

	for (int i = 0; !err && i < RULES; i++)
		err = rule_read(c, keys[i], &rules->of[i].all,
		                rules->of[i].glob);
	if (!err && rules->of[RULE_OURS].all && rules->of[RULE_THEIRS].all)
		return fail(c, -EINVAL,
		            "\"ours\" and \"theirs\" contradict each other");
	return err;
}

bool join_rules_text(const struct join_rules *rules)
{
	return rules->of[RULE_TEXT].all || *rules->of[RULE_TEXT].glob;
}

static bool glob_matches(const char *glob, const char *path)
{
	return *glob && !fnmatch(glob, *glob == '/' ? path : path + 1, 0);
}

bool join_rules_text_of(const struct join_rules *rules, struct fs *fs,
                        const struct fs_joined *joined,
                        const struct join_inode *inode)
{
	char path[TREE_PATH_SIZE];

	return rules->of[RULE_TEXT].all ||
	       (!fs_joined_path(fs, joined, inode, path) &&
	        glob_matches(rules->of[RULE_TEXT].glob, path));
}

/*
 * A rule with a pattern takes precedence over one without; keeping both, where
 * possible, over a side.
 */
int join_rules_choose(const struct join_rules *rules, struct fs *fs,
                      const struct fs_joined *joined,
                      const struct join_inode *inode, enum join_conflict kind)
{
	static const int choices[] = {JOIN_OURS, JOIN_THEIRS, JOIN_BOTH};
	static const enum join_rule order[] = {RULE_BOTH, RULE_OURS,
	                                       RULE_THEIRS};
	bool globs = false, have_path;
	char path[TREE_PATH_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		globs |= *rules->of[order[i]].glob;
	have_path = globs && !fs_joined_path(fs, joined, inode, path);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
			enum join_rule rule = order[i];

			if (rule == RULE_BOTH && !(inode->both & kind))
				continue;
			if (pass ? rules->of[rule].all
			         : have_path &&
			                    glob_matches(rules->of[rule].glob,
			                                 path))
				return choices[rule];
		}
	}
	return JOIN_NOBODY;
}
