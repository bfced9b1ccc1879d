/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of states: check them, and resolve the longer forms. */
#include "name.h"
#include "forest.h"
#include "position.h"
#include "util.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>

/* ---- Checking ----------------------------------------------------------- */

static int name_check_bytes(const char *name)
{
	size_t len = strlen(name);

	if (!len)
		return -EINVAL;
	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x20 || c == 0x7f || c == '/')
			return -EINVAL;
	}
	return 0;
}

int name_check_fork(const char *name)
{
	int r = name_check_bytes(name);

	if (r < 0)
		return r;
	if (name[0] == '.')
		return -EINVAL;
	/*
	 * FORK~SNAPSHOT and FORK~@TIME mean a snapshot, so no fork may be
	 * called that; FORK~SNAPSHOT@REST is a fork made from one.
	 */
	for (const char *p = strchr(name, '~'); p; p = strchr(p + 1, '~'))
		if (!strchr(p + (p[1] == '@' ? 2 : 1), '@'))
			return -EINVAL;
	return 0;
}

int name_check_snapshot(const char *name)
{
	int r = name_check_bytes(name);

	if (r < 0)
		return r;
	if (!strcmp(name, ".") || !strcmp(name, "..") || strchr(name, '~'))
		return -EINVAL;
	return 0;
}

/* ---- Times -------------------------------------------------------------- */

static const int64_t second_ns = 1000000000;

/* Return the last moment before this second. */
static int64_t time_before(int64_t sec)
{
	if (sec > INT64_MAX / second_ns)
		return INT64_MAX;
	if (sec <= INT64_MIN / second_ns)
		return INT64_MIN;
	return sec * second_ns - 1;
}

/* Parse -N with a unit: a time before now. */
static int parse_ago(const char *text, int64_t now, int64_t *ret_time)
{
	static const struct {
		char unit;
		int64_t sec;
	} units[] = {{'s', 1},
	             {'m', 60},
	             {'h', 3600},
	             {'d', 86400},
	             {'w', 7 * 86400}};
	int64_t n = 0;
	int64_t ago;

	if (*text != '-' || !isdigit((unsigned char)text[1]))
		return -EINVAL;
	for (text++; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, *text - '0', &n))
			return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (text[0] != units[i].unit || text[1])
			continue;
		if (__builtin_mul_overflow(n, units[i].sec * second_ns, &ago) ||
		    __builtin_sub_overflow(now, ago, ret_time))
			*ret_time = INT64_MIN;
		return 0;
	}
	return -EINVAL;
}

/*
 * Return the last moment, or with `first` the first one, of the local day that
 * is `days` after today.
 */
static int parse_day(int64_t now, int days, bool first, int64_t *ret_time)
{
	time_t sec = (time_t)(now / second_ns);
	struct tm tm;

	if (!localtime_r(&sec, &tm))
		return -EINVAL;
	tm.tm_mday += days + !first;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	*ret_time = time_before(mktime(&tm)) + first;
	return 0;
}

/* Parse exactly `digits` digits and move *text after them. */
static bool parse_digits(const char **text, int digits, int *ret_number)
{
	int n = 0;

	for (int i = 0; i < digits; i++, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return false;
		n = n * 10 + (**text - '0');
	}
	*ret_number = n;
	return true;
}

static bool parse_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* Parse YYYY-MM-DD, a day that the calendar has. */
static bool parse_date(const char **text, struct tm *tm)
{
	struct tm is = {.tm_hour = 12};

	if (!parse_digits(text, 4, &tm->tm_year) || !parse_char(text, '-') ||
	    !parse_digits(text, 2, &tm->tm_mon) || !parse_char(text, '-') ||
	    !parse_digits(text, 2, &tm->tm_mday))
		return false;
	is.tm_year = tm->tm_year -= 1900;
	is.tm_mon = tm->tm_mon -= 1;
	is.tm_mday = tm->tm_mday;
	/* timegm() turns a day that does not exist into a later one. */
	timegm(&is);
	return is.tm_mon == tm->tm_mon && is.tm_mday == tm->tm_mday;
}

/* Parse HH:MM (*ret_span: 60 seconds) or HH:MM:SS (1 second). */
static bool parse_clock(const char **text, struct tm *tm, int *ret_span)
{
	bool seconds;

	if (!parse_digits(text, 2, &tm->tm_hour) || !parse_char(text, ':') ||
	    !parse_digits(text, 2, &tm->tm_min))
		return false;
	seconds = parse_char(text, ':');
	if (seconds && !parse_digits(text, 2, &tm->tm_sec))
		return false;
	*ret_span = seconds ? 1 : 60;
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

/*
 * Return the last moment, or with `first` the first one, of a day, minute or
 * second in the form of ISO 8601.
 */
static int parse_iso(const char *text, int64_t now, bool first,
                     int64_t *ret_time)
{
	struct tm tm = {0};
	time_t sec = (time_t)(now / second_ns);
	bool dated = strlen(text) > 2 && text[2] != ':', clock, utc;
	int span = 0;

	if (dated && !parse_date(&text, &tm))
		return -EINVAL;
	clock = !dated || parse_char(&text, 'T') || parse_char(&text, ' ');
	if (clock && !parse_clock(&text, &tm, &span))
		return -EINVAL;
	utc = parse_char(&text, 'Z');
	if (*text)
		return -EINVAL;
	if (!dated) {
		struct tm today;

		if (!(utc ? gmtime_r(&sec, &today) : localtime_r(&sec, &today)))
			return -EINVAL;
		tm.tm_year = today.tm_year;
		tm.tm_mon = today.tm_mon;
		tm.tm_mday = today.tm_mday;
	}
	if (!clock && !first)
		tm.tm_mday++;
	tm.tm_isdst = -1;
	sec = utc ? timegm(&tm) : mktime(&tm);
	*ret_time = time_before(sec + (first ? 0 : span));
	*ret_time += first && *ret_time < INT64_MAX;
	return 0;
}

static int parse_time(const char *text, int64_t now, bool first,
                      int64_t *ret_time)
{
	if (!strcmp(text, "now")) {
		*ret_time = now;
		return 0;
	}
	if (!strcmp(text, "today"))
		return parse_day(now, 0, first, ret_time);
	if (!strcmp(text, "yesterday"))
		return parse_day(now, -1, first, ret_time);
	if (text[0] == '-')
		return parse_ago(text, now, ret_time);
	return parse_iso(text, now, first, ret_time);
}

int name_parse_time(const char *text, int64_t now, int64_t *ret_time)
{
	return parse_time(text, now, false, ret_time);
}

int name_parse_first(const char *text, int64_t now, int64_t *ret_time)
{
	return parse_time(text, now, true, ret_time);
}

/* ---- Resolving ---------------------------------------------------------- */

/* Larger numbers are dates (20261120) rather than positions. */
enum { POSITION_LIKELY = 9999999 };

/* Parse a decimal number.  -EINVAL: it is anything else. */
static int parse_count(const char *text, uint64_t *ret_count)
{
	uint64_t n = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text) ||
		    __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return -EINVAL;
	}
	*ret_count = n;
	return 0;
}

bool name_is_position(const char *name)
{
	uint64_t n;
	int64_t at;

	if (name[0] == '@')
		return !name_parse_time(name + 1, now_ns(), &at);
	return !parse_count(name, &n) && n <= POSITION_LIKELY;
}

/* Find a fork's snapshot by N or @TIME. */
static int resolve_position(struct forest *forest, const struct state *fork,
                            const char *suffix, struct state **ret_state)
{
	uint64_t n;
	int64_t at;
	int r;

	if (suffix[0] == '@') {
		r = name_parse_time(suffix + 1, now_ns(), &at);
		if (r < 0)
			return r;
		return position_at(forest, fork->number, at, ret_state);
	}
	if (!parse_count(suffix, &n))
		return !n || n > fork->snapshots
		               ? -ENOENT
		               : position_nth(forest, fork->number, n,
		                              ret_state);
	return *suffix ? -ENOENT : -EINVAL;
}

static int resolve_pair(struct forest *forest, const char *name,
                        size_t fork_len, struct state **ret_fork)
{
	char fork[NAME_LEN_MAX + 1];

	if (!fork_len || fork_len > NAME_LEN_MAX)
		return -EINVAL;
	memcpy(fork, name, fork_len);
	fork[fork_len] = 0;
	return state_find(forest, 0, fork, ret_fork);
}

static int position_find(struct forest *forest, const char *name,
                         struct state **ret_state)
{
	const char *cut = strrchr(name, '~');
	struct state *fork;
	int r = cut ? resolve_pair(forest, name, (size_t)(cut - name), &fork)
	            : -EINVAL;

	return r ? r : resolve_position(forest, fork, cut + 1, ret_state);
}

int state_at_position(struct forest *forest, const char *name,
                      struct state **ret_state)
{
	int r = position_find(forest, name, ret_state);

	while (r == -EAGAIN && !forest->undo) {
		store_unlock(forest->store);
		r = store_yield(forest->store);
		store_lock(forest->store);
		if (!r)
			r = position_find(forest, name, ret_state);
	}
	return r;
}

int state_named(struct forest *forest, const char *name,
                struct state **ret_state)
{
	static const char snap[] = "/.snap/";
	const char *cut = strstr(name, snap);
	struct state *fork;
	int r;

	if (cut) {
		const char *snapshot = cut + strlen(snap);

		r = resolve_pair(forest, name, (size_t)(cut - name), &fork);
		if (!r)
			r = name_check_snapshot(snapshot);
		return r ? r
		         : state_find(forest, fork->number, snapshot,
		                      ret_state);
	}
	r = strlen(name) > NAME_LEN_MAX
	            ? -ENOENT
	            : state_find(forest, 0, name, ret_state);
	/* No snapshot's name or time has a '~': split at the last one. */
	cut = strrchr(name, '~');
	if (r != -ENOENT || !cut)
		return r == -ENOENT && name_check_fork(name) ? -EINVAL : r;
	r = resolve_pair(forest, name, (size_t)(cut - name), &fork);
	return r ? r : state_find(forest, fork->number, cut + 1, ret_state);
}

int state_resolve(struct forest *forest, const char *name,
                  struct state **ret_state)
{
	int r = state_named(forest, name, ret_state);

	if (r != -ENOENT || !strchr(name, '~') || strchr(name, '/'))
		return r;
	return state_at_position(forest, name, ret_state);
}

int state_source(struct forest *forest, const char *name,
                 struct state **ret_state)
{
	char prefix[FULL_NAME_MAX];
	size_t len = strlen(name);
	char *cut;

	if (len >= sizeof(prefix))
		return -ENAMETOOLONG;
	if (!strchr(name, '@') && !forest->meta.default_state) {
		*ret_state = NULL;
		return 0;
	}
	if (!strchr(name, '@'))
		return state_default(forest, ret_state);
	memcpy(prefix, name, len + 1);
	while ((cut = strrchr(prefix, '@'))) {
		int r;

		*cut = 0;
		r = *prefix ? state_resolve(forest, prefix, ret_state)
		            : -ENOENT;
		if (r != -ENOENT && r != -EINVAL)
			return r;
	}
	return -ENOENT;
}

void state_full_name(struct forest *forest, const struct state *state,
                     char out[NAME_LEN_MAX * 2 + 2])
{
	struct state *fork, *other;

	if (!state->fork || state_load(forest, state->fork, &fork)) {
		snprintf(out, FULL_NAME_MAX, "%s", state->name);
		return;
	}
	snprintf(out, FULL_NAME_MAX, "%s~%s", fork->name, state->name);
	if (strlen(out) <= NAME_LEN_MAX && !state_find(forest, 0, out, &other))
		snprintf(out, FULL_NAME_MAX, "%.250s/.snap/%.250s", fork->name,
		         state->name);
}
