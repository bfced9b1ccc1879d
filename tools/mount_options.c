/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mount_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "autosnap.h"
#include "size.h"
#include "util.h"

/* Return true if the option belongs to mount(8), fstab or the kernel. */
static bool is_ignored(const char *option)
{
	static const char *const words[] = {
	        "defaults",   "auto",        "noauto",
	        "user",       "nouser",      "users",
	        "owner",      "group",       "_netdev",
	        "nofail",     "atime",       "noatime",
	        "relatime",   "norelatime",  "diratime",
	        "nodiratime", "strictatime", "nostrictatime",
	        "lazytime",   "nolazytime",  "silent",
	        "loud",       "iversion",    "noiversion",
	        "mand",       "nomand",      "default_permissions",
	};
	static const char *const beginnings[] = {
	        "x-",      "X-",       "user=",     "comment=",  "uhelper=",
	        "helper=", "user_id=", "group_id=", "rootmode=", "max_read=",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(option, words[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (!strncmp(option, beginnings[i], strlen(beginnings[i])))
			return true;
	return false;
}

static bool flag_parse(struct parsed_options *parsed, const char *option)
{
	const struct {
		const char *name;
		bool *flag;
		bool value;
	} flags[] = {
	        {"ro", &parsed->readonly, true},
	        {"rw", &parsed->readonly, false},
	        {"allow_other", &parsed->allow_other, true},
	        {"dev", &parsed->dev, true},
	        {"nodev", &parsed->dev, false},
	        {"suid", &parsed->suid, true},
	        {"nosuid", &parsed->suid, false},
	        {"exec", &parsed->noexec, false},
	        {"noexec", &parsed->noexec, true},
	        {"symfollow", &parsed->nosymfollow, false},
	        {"nosymfollow", &parsed->nosymfollow, true},
	        {"sync", &parsed->sync, true},
	        {"async", &parsed->sync, false},
	        {"remount", &parsed->remount, true},
	        {"nonempty", &parsed->nonempty, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strcmp(option, flags[i].name))
			continue;
		*flags[i].flag = flags[i].value;
		return true;
	}
	return false;
}

static int snapdir_parse(struct parsed_options *parsed, const char *value)
{
	static const char *const names[] = {
	        [SNAPDIR_HIDDEN] = "hidden",
	        [SNAPDIR_VISIBLE] = "visible",
	        [SNAPDIR_DISABLED] = "disabled",
	        [SNAPDIR_ROOT] = "root",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		parsed->snapdir = (enum fs_snapdir)i;
		parsed->snapdir_set = true;
		return 0;
	}
	return -EINVAL;
}

static int snapopen_parse(struct parsed_options *parsed, const char *value)
{
	parsed->snapopen_late = strcmp(value, "late") == 0;
	return parsed->snapopen_late || strcmp(value, "early") == 0 ? 0
	                                                            : -EINVAL;
}

static int export_parse(struct parsed_options *parsed, const char *value)
{
	parsed->no_export = strcmp(value, "off") == 0;
	return parsed->no_export || strcmp(value, "on") == 0 ? 0 : -EINVAL;
}

static int log_parse(struct parsed_options *parsed, const char *value)
{
	parsed->no_log = strcmp(value, "off") == 0;
	return parsed->no_log || strcmp(value, "on") == 0 ? 0 : -EINVAL;
}

static int autosnap_parse(struct parsed_options *parsed, const char *value)
{
	int64_t seconds;

	if (duration_parse(value, &seconds) || seconds < AUTOSNAP_MIN_S)
		return -EINVAL;
	parsed->autosnap = seconds;
	return 0;
}

static int locks_parse(struct parsed_options *parsed, const char *value)
{
	parsed->store_locks = strcmp(value, "store") == 0;
	return parsed->store_locks || strcmp(value, "mount") == 0 ? 0 : -EINVAL;
}

static int access_parse(struct parsed_options *parsed, const char *value)
{
	parsed->root_only = strcmp(value, "root") == 0;
	return parsed->root_only || strcmp(value, "checked") == 0 ? 0 : -EINVAL;
}

static int xattr_parse(struct parsed_options *parsed, const char *value)
{
	parsed->no_xattr = strcmp(value, "off") == 0;
	return parsed->no_xattr || strcmp(value, "on") == 0 ? 0 : -EINVAL;
}

static int cpu_latency_parse(struct parsed_options *parsed, const char *value)
{
	parsed->no_cpu_latency = strcmp(value, "off") == 0;
	return parsed->no_cpu_latency || strcmp(value, "on") == 0 ? 0 : -EINVAL;
}

static int trash_parse(struct parsed_options *parsed, const char *value)
{
	parsed->trash = 0;
	parsed->trash_set = true;
	if (!strcmp(value, "0"))
		return 0;
	return duration_parse(value, &parsed->trash) ||
	                       parsed->trash > TRASH_TIME_MAX
	               ? -EINVAL
	               : 0;
}

/* Add rules to the policy.  Each `keep=` adds to those before it. */
static int keep_parse(struct parsed_options *parsed, const char *value)
{
	struct retention policy = {0};
	char *all = NULL;

	if (retention_parse(&policy, value))
		return -EINVAL;
	if (asprintf(&all, "%s%s%s", parsed->keep ? parsed->keep : "",
	             parsed->keep ? "+" : "", value) < 0)
		return -ENOMEM;
	free(parsed->keep);
	parsed->keep = all;
	return 0;
}

static int state_parse(struct parsed_options *parsed, const char *value)
{
	if (!*value)
		return -EINVAL;
	free(parsed->state);
	parsed->state = strdup(value);
	return parsed->state ? 0 : -ENOMEM;
}

static int memory_parse(struct parsed_options *parsed, const char *value)
{
	return size_parse(value, &parsed->memory) ? -EINVAL : 0;
}

static int rmdir_parse(struct parsed_options *parsed, const char *value)
{
	parsed->rmdir_always = strcmp(value, "always") == 0;
	return parsed->rmdir_always ? 0 : -EINVAL;
}

/* The options with values, and the values that they take, for messages. */
static const struct value_option {
	const char *name;
	int (*parse)(struct parsed_options *parsed, const char *value);
	const char *takes;
} value_options[] = {
        {"state", state_parse, "the name of a state"},
        {"snapdir", snapdir_parse, "hidden, visible, root or disabled"},
        {"snapopen", snapopen_parse, "early or late"},
        {"memory", memory_parse, "a size such as 512M"},
        {"log", log_parse, "on or off"},
        {"autosnap", autosnap_parse, "a time of at least 6s, such as 15m"},
        {"keep", keep_parse, "rules such as last:10 or within:1d+daily:30"},
        {"trash", trash_parse, "0 or a time such as 12h or 7d"},
        {"rmdir", rmdir_parse, "always"},
        {"nfs_export", export_parse, "on or off"},
        {"locks", locks_parse, "mount or store"},
        {"xattr", xattr_parse, "on or off"},
        {"access", access_parse, "checked or root"},
        {"cpu_latency", cpu_latency_parse, "on or off"},
};

static const struct value_option *value_option_find(const char *option)
{
	size_t len = strcspn(option, "=");

	for (size_t i = 0; option[len] && i < ARRAY_SIZE(value_options); i++)
		if (!strncmp(option, value_options[i].name, len) &&
		    !value_options[i].name[len])
			return &value_options[i];
	return NULL;
}

/* Add one option.  -EINVAL: bad value; -ENOENT: unknown option. */
static int option_parse(struct parsed_options *parsed, const char *option)
{
	const struct value_option *known;

	if (flag_parse(parsed, option) || is_ignored(option))
		return 0;
	known = value_option_find(option);
	return known ? known->parse(parsed, strchr(option, '=') + 1) : -ENOENT;
}

/* Return the message for an option that option_parse() refused. */
static char *option_complaint(const char *option, int err)
{
	char *message = NULL;
	int r;

	if (err == -EINVAL)
		r = asprintf(&message,
		             "bad value in mount option '%s': it takes %s",
		             option, value_option_find(option)->takes);
	else
		r = asprintf(&message, "unknown mount option '%s'", option);
	return r < 0 ? NULL : message;
}

/* Copy the next option, unescaped, to `out`.  Return false at the end. */
static bool option_next(const char **at, char *out)
{
	const char *p = *at;

	if (!*p)
		return false;
	for (; *p && *p != ','; p++) {
		if (*p == '\\' && p[1])
			p++;
		*out++ = *p;
	}
	*out = '\0';
	*at = *p ? p + 1 : p;
	return true;
}

int parsed_options_add(struct parsed_options *parsed, const char *options,
                       char **ret_error)
{
	_cleanup_free_ char *option = malloc(strlen(options) + 1);
	int r = 0;

	if (!option)
		r = -ENOMEM;
	while (!r && option_next(&options, option)) {
		if (!*option)
			continue;
		r = option_parse(parsed, option);
		if (r == -ENOENT && parsed->sloppy)
			r = 0;
	}
	if (!r)
		return 0;
	if (r == -ENOMEM) {
		*ret_error = strdup("out of memory");
		return r;
	}
	*ret_error = option_complaint(option, r);
	return -EINVAL;
}

void parsed_options_apply(struct parsed_options *parsed,
                          struct mount_options *options)
{
	char *extra = parsed->extra;

	snprintf(extra, sizeof(parsed->extra), "%s%s%s%s",
	         parsed->dev ? ",dev" : "", parsed->suid ? ",suid" : "",
	         parsed->noexec ? ",noexec" : "", parsed->sync ? ",sync" : "");
	options->state = parsed->state;
	/* Disable .snap by default: a mount of one state is faster without. */
	if (parsed->state && !parsed->snapdir_set)
		parsed->snapdir = SNAPDIR_DISABLED;
	options->snapdir = parsed->snapdir;
	options->snapopen_late = parsed->snapopen_late;
	options->rmdir_always = parsed->rmdir_always;
	options->sync = parsed->sync;
	options->no_export = parsed->no_export;
	options->store_locks = parsed->store_locks;
	options->readonly = parsed->readonly;
	options->nonempty = parsed->nonempty;
	options->nosymfollow = parsed->nosymfollow;
	options->allow_other = parsed->allow_other;
	options->root_only = parsed->root_only;
	options->no_xattr = parsed->no_xattr;
	options->no_cpu_latency = parsed->no_cpu_latency;
	options->memory = parsed->memory;
	options->no_log = parsed->no_log;
	options->autosnap = parsed->autosnap;
	options->keep = parsed->keep;
	options->trash = parsed->trash;
	options->trash_set = parsed->trash_set;
	options->extra = *extra ? extra + 1 : NULL;
}

void parsed_options_release(struct parsed_options *parsed)
{
	free(parsed->state);
	free(parsed->keep);
}
