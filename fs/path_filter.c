/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules that include and exclude files. */
#include "path_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "array.h"
#include "util.h"

/* ---- Patterns ----------------------------------------------------------- */

/*
 * Set *ret_match if the character is in the class [:NAME:] at *p, and move *p
 * after it.  Return false if there is no class at *p.
 */
static bool class_named(const char **p, unsigned char c, bool *ret_match)
{
	const char *end = strstr(*p, ":]");
	char name[16];
	size_t len;

	if (strncmp(*p, "[:", 2) || !end)
		return false;
	len = (size_t)(end - *p) - 2;
	if (len >= sizeof(name))
		return false;
	memcpy(name, *p + 2, len);
	name[len] = 0;
	*p = end + 2;
	*ret_match |= c < 128 && iswctype(c, wctype(name));
	return true;
}

/*
 * Match a character with the set at *p, after its '['.  *p is moved after the
 * ']'.  A set without an end matches nothing.
 */
static bool set_matches(const char **p, unsigned char c)
{
	bool negate = **p == '!' || **p == '^', match = false, first = true;
	const char *at = *p + negate;

	for (; *at && (*at != ']' || first); first = false) {
		unsigned char low, high;

		if (class_named(&at, c, &match))
			continue;
		if (*at == '\\' && at[1])
			at++;
		low = high = (unsigned char)*at++;
		if (*at == '-' && at[1] && at[1] != ']') {
			at += 1 + (at[1] == '\\' && at[2]);
			high = (unsigned char)*at++;
		}
		match |= c >= low && c <= high;
	}
	if (!*at)
		return false;
	*p = at + 1;
	return match != negate && c != '/';
}

/*
 * The result of a match.  An asterisk tries the rest of the pattern at one
 * place of the text after the other.  STOP and END skip places where the rest
 * cannot match; without them, the time would be exponential in the number of
 * asterisks.
 */
enum match {
	MATCH,
	MISS,
	STOP, /* further places up to the next slash fail, too */
	END,  /* all further places fail, too */
};

static enum match rest_match(const char *pattern, const char *text);

/* Match from an asterisk on. */
static enum match star_match(const char *pattern, const char *text)
{
	bool any = pattern[1] == '*';

	while (*pattern == '*')
		pattern++;
	if (!*pattern && any)
		return MATCH;
	for (;; text++) {
		enum match match = rest_match(pattern, text);

		if (match == MATCH || match == END || (match == STOP && !any))
			return match;
		if (!*text)
			return END;
		if (*text == '/' && !any)
			return STOP;
	}
}

/* Match all of a text with all of a pattern. */
static enum match rest_match(const char *pattern, const char *text)
{
	for (; *pattern; text++) {
		if (*pattern == '*')
			return star_match(pattern, text);
		if (!*text)
			return END;
		if (*pattern == '?') {
			if (*text == '/')
				return MISS;
			pattern++;
		} else if (*pattern == '[') {
			pattern++;
			if (!set_matches(&pattern, (unsigned char)*text))
				return MISS;
		} else {
			if (*pattern == '\\' && pattern[1])
				pattern++;
			if (*pattern++ != *text)
				return MISS;
		}
	}
	return *text ? MISS : MATCH;
}

/* ---- Rules -------------------------------------------------------------- */

/* Return the last `parts` components of a name. */
static const char *name_tail(const char *name, unsigned parts)
{
	const char *at = name + strlen(name);

	while (at > name && (at[-1] != '/' || --parts))
		at--;
	return at;
}

static bool text_matches(const struct path_rule *rule, const char *name)
{
	return rule->wild ? rest_match(rule->pattern, name) == MATCH
	                  : !strcmp(rule->pattern, name);
}

/* Match a name.  It may begin with a slash if rule->prefix. */
static bool rule_try(const struct path_rule *rule, const char *name)
{
	if (rule->anchored || rule->prefix)
		return text_matches(rule, name);
	if (!rule->any)
		return text_matches(rule, name_tail(name, rule->slashes + 1));
	/* A pattern with "**" inside is tried after every slash. */
	for (const char *at = name; at; at = strchr(at, '/')) {
		at += *at == '/';
		if (text_matches(rule, at))
			return true;
	}
	return false;
}

static bool rule_matches(const struct path_rule *rule, const char *path,
                         bool is_dir)
{
	const char *name = rule->prefix && !rule->anchored ? path : path + 1;
	_cleanup_free_ char *with_slash = NULL;

	if (rule->dirs_only && !is_dir)
		return false;
	if (rule_try(rule, name) ||
	    (rule->prefix && !rule->anchored && rule_try(rule, path + 1)))
		return true;
	if (!rule->suffix || !is_dir || asprintf(&with_slash, "%s/", name) < 0)
		return false;
	/* The suffix also matches the directory itself, with a slash added. */
	return rule_try(rule, with_slash);
}

bool path_filter_excludes(const struct path_filter *filter, const char *path,
                          bool is_dir)
{
	for (size_t i = 0; i < filter->len; i++)
		if (rule_matches(&filter->rules[i], path, is_dir))
			return !filter->rules[i].include;
	return false;
}

static void rule_release(struct path_rule *rule)
{
	free(rule->text);
	free(rule->pattern);
}

void path_filter_release(struct path_filter *filter)
{
	for (size_t i = 0; i < filter->len; i++)
		rule_release(&filter->rules[i]);
	free(filter->rules);
	*filter = (struct path_filter){0};
}

/* Return the part after the rule's first word.  NULL: the word is unknown. */
static const char *rule_pattern(const char *rule, bool *ret_include)
{
	static const struct {
		const char *word;
		bool include;
	} words[] = {{"- ", false},
	             {"+ ", true},
	             {"exclude ", false},
	             {"include ", true}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t len = strlen(words[i].word);

		if (strncmp(rule, words[i].word, len))
			continue;
		*ret_include = words[i].include;
		return rule + len;
	}
	return NULL;
}

int path_filter_add(struct path_filter *filter, const char *text)
{
	struct path_rule rule = {0}, *added;
	const char *pattern;
	size_t len;

	if (!strcmp(text, "!") || !strcmp(text, "clear")) {
		path_filter_release(filter);
		return 0;
	}
	pattern = rule_pattern(text, &rule.include);
	if (!pattern || !*pattern)
		return -EINVAL;
	rule.anchored = *pattern == '/';
	pattern += rule.anchored;
	len = strlen(pattern);
	rule.dirs_only = len && pattern[len - 1] == '/';
	len -= rule.dirs_only;
	rule.text = strdup(text);
	rule.pattern = strndup(pattern, len);
	added = array_add(&filter->rules, &filter->len, &filter->room);
	if (!rule.text || !rule.pattern || !added) {
		filter->len -= !!added;
		rule_release(&rule);
		return -ENOMEM;
	}
	rule.wild = strpbrk(rule.pattern, "*?[");
	rule.any = strstr(rule.pattern, "**");
	rule.prefix = !strncmp(rule.pattern, "**", 2);
	rule.suffix = len > 3 && !strcmp(rule.pattern + len - 4, "/***");
	for (const char *p = rule.pattern; *p; p++)
		rule.slashes += *p == '/';
	*added = rule;
	return 0;
}
