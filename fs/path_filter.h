/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules that include and exclude files by their paths, as those of rsync: the
 * first rule that matches decides, and what no rule matches is included.
 */
#ifndef COPPICE_PATH_FILTER_H
#define COPPICE_PATH_FILTER_H

#include <stdbool.h>
#include <stddef.h>

struct path_rule {
	char *text;    /* as path_filter_add() got it */
	char *pattern; /* without the slashes at its ends */
	bool include;
	bool dirs_only; /* it ended in a slash */
	bool anchored;  /* it began with one */
	unsigned slashes;
	bool wild;   /* it has a wildcard */
	bool any;    /* it has a "**" */
	bool prefix; /* it begins with one */
	bool suffix; /* it ends in a slash and three asterisks */
};

/* All zero at first. */
struct path_filter {
	struct path_rule *rules;
	size_t len, room;
};

/*
 * Append a rule: "- PATTERN", "exclude PATTERN", "+ PATTERN" or
 * "include PATTERN"; or "!" or "clear", which removes all rules before.
 * -EINVAL: it is none of these; -ENOMEM.
 */
int path_filter_add(struct path_filter *filter, const char *rule);
/*
 * Return true if a path, which begins with a slash at the top of the files that
 * the rules are about, is excluded.  The caller has asked for the directories
 * above it.
 */
bool path_filter_excludes(const struct path_filter *filter, const char *path,
                          bool is_dir);
void path_filter_release(struct path_filter *filter);

#endif
