/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options that include and exclude files, as in rsync. */
#ifndef COPPICE_FILTER_OPTIONS_H
#define COPPICE_FILTER_OPTIONS_H

#include <jansson.h>

#include "command.h"
#include "path_filter.h"

/* The options for a verb's table; their arguments go to the list `rules`. */
#define FILTER_OPTIONS(rules)                                                  \
	{"exclude", .list = (rules)}, {"include", .list = (rules)},            \
	        {"exclude-from", .list = (rules)},                             \
	        {"include-from", .list = (rules)},                             \
	{                                                                      \
		"filter", 'f', .list = (rules)                                 \
	}

/* The lines about these options in a verb's help. */
#define FILTER_OPTIONS_HELP                                                    \
	"      --exclude=PATTERN  leave out what matches, as rsync does\n"     \
	"      --include=PATTERN  do not leave out what matches\n"             \
	"      --exclude-from=FILE, --include-from=FILE\n"                     \
	"                         read patterns, one a line\n"                 \
	"  -f, --filter=RULE      '- PATTERN', '+ PATTERN' or '!'\n"

/*
 * Add the rules of --exclude, --include, --exclude-from, --include-from and
 * --filter, in the order in which they were given.  Complain about errors, and
 * return an exit code.
 */
int filter_options_read(const struct option_list *options,
                        struct path_filter *filter);
/* Return the rules as the argument "rules" of requests. */
json_t *filter_options_json(const struct path_filter *filter);

#endif
