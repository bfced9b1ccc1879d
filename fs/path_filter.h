/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules that include and exclude files by their paths, as in rsync: the first
 * rule that matches a file decides; a file that no rule matches is included.
 */
#ifndef COPPICE_PATH_FILTER_H
#define COPPICE_PATH_FILTER_H

#include <stdbool.h>
#include <stddef.h>

struct path_rule {
	char *text;    /* the argument of path_filter_add() */
	char *pattern; /* without a slash at the start and at the end */
	bool include;
	bool dirs_only;   /* the pattern ended in a slash */
	bool anchored;    /* it began with a slash */
	unsigned slashes; /* number of slashes in `pattern` */
	bool wild;        /* it has a wildcard */
	bool any;         /* it has a "**" */
	bool prefix;      /* it begins with a "**" */
	bool suffix;      /* it ends in a slash and three asterisks */
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
 * Return true if a path is excluded.  The path is relative to the top of the
 * files, and begins with a slash.  The caller has checked the directories above
 * it: those of an included file must be included.
 */
bool path_filter_excludes(const struct path_filter *filter, const char *path,
                          bool is_dir);
void path_filter_release(struct path_filter *filter);

#endif
