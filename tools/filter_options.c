/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options that include and exclude files. */
#include "filter_options.h"

#include <errno.h>
#include <stdio.h>

#include "escaped_name.h"
#include "util.h"

/* Add a rule.  Complain and return an exit code if it is not valid. */
static int rule_add(struct path_filter *filter, const char *rule)
{
	int err = path_filter_add(filter, rule);

	if (!err)
		return EXIT_DONE;
	if (err == -EINVAL)
		complain("'%s' is not a rule: '- PATTERN', '+ PATTERN' or '!' "
		         "is expected",
		         rule);
	else
		complain("out of memory");
	return err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

/* Add a pattern as a rule; if it begins like a rule, add it as it is. */
static int pattern_add(struct path_filter *filter, const char *pattern,
                       bool include)
{
	_cleanup_free_ char *rule = NULL;

	if (!strncmp(pattern, "- ", 2) || !strncmp(pattern, "+ ", 2) ||
	    !strcmp(pattern, "!"))
		return rule_add(filter, pattern);
	if (asprintf(&rule, "%s %s", include ? "+" : "-", pattern) < 0) {
		rule = NULL;
		complain("out of memory");
		return EXIT_FAILED;
	}
	return rule_add(filter, rule);
}

static int file_read(struct path_filter *filter, const char *path, bool include)
{
	bool own = strcmp(path, "-");
	FILE *file = own ? fopen(path, "re") : stdin;
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	int r = EXIT_DONE;
	ssize_t len;

	if (!file) {
		complain("cannot open '%s': %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	while (!r && (len = getline(&line, &room, file)) > 0) {
		if (line[len - 1] == '\n')
			line[--len] = 0;
		if (len && line[len - 1] == '\r')
			line[--len] = 0;
		if (len && *line != '#' && *line != ';')
			r = pattern_add(filter, line, include);
	}
	if (!r && ferror(file)) {
		complain("cannot read '%s': %s", path, strerror(errno));
		r = EXIT_FAILED;
	}
	if (own)
		fclose(file);
	return r;
}

int filter_options_read(const struct option_list *options,
                        struct path_filter *filter)
{
	int r = EXIT_DONE;

	for (int i = 0; !r && i < options->len; i++) {
		const char *option = options->option[i], *at = options->at[i];
		bool include = !strncmp(option, "include", 7);

		if (!strcmp(option, "filter"))
			r = rule_add(filter, at);
		else if (strstr(option, "-from"))
			r = file_read(filter, at, include);
		else
			r = pattern_add(filter, at, include);
	}
	return r;
}

json_t *filter_options_json(const struct path_filter *filter)
{
	json_t *rules = json_array();

	for (size_t i = 0; i < filter->len; i++)
		json_array_append_new(rules,
		                      name_escape(filter->rules[i].text));
	return rules;
}
