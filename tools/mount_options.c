/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of a mount. */
#include "mount_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "size.h"
#include "util.h"

/* Of mount(8), fstab and the kernel's table, and of no meaning here. */
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

static bool flag_parse(struct mount_text *text, const char *option)
{
	const struct {
		const char *name;
		bool *flag;
		bool value;
	} flags[] = {
	        {"ro", &text->readonly, true},
	        {"rw", &text->readonly, false},
	        {"allow_other", &text->allow_other, true},
	        {"dev", &text->dev, true},
	        {"nodev", &text->dev, false},
	        {"suid", &text->suid, true},
	        {"nosuid", &text->suid, false},
	        {"exec", &text->noexec, false},
	        {"noexec", &text->noexec, true},
	        {"symfollow", &text->nosymfollow, false},
	        {"nosymfollow", &text->nosymfollow, true},
	        {"sync", &text->sync, true},
	        {"async", &text->sync, false},
	        {"remount", &text->remount, true},
	        {"nonempty", &text->nonempty, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strcmp(option, flags[i].name))
			continue;
		*flags[i].flag = flags[i].value;
		return true;
	}
	return false;
}

static int snapdir_parse(struct mount_text *text, const char *value)
{
	static const char *const names[] = {
	        [SNAPDIR_HIDDEN] = "hidden",
	        [SNAPDIR_VISIBLE] = "visible",
	        [SNAPDIR_DISABLED] = "disabled",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		text->snapdir = (enum fs_snapdir)i;
		text->snapdir_set = true;
		return 0;
	}
	return -EINVAL;
}

static int export_parse(struct mount_text *text, const char *value)
{
	text->no_export = strcmp(value, "off") == 0;
	return text->no_export || strcmp(value, "on") == 0 ? 0 : -EINVAL;
}

/* 0; -EINVAL: the value is bad; -ENOENT: no such option. */
static int option_parse(struct mount_text *text, const char *option)
{
	const char *value = strchr(option, '=');
	size_t len = value ? (size_t)(value - option) : 0;

	if (flag_parse(text, option) || is_ignored(option))
		return 0;
	if (!value)
		return -ENOENT;
	value++;
	if (!strncmp(option, "state", len) && len == 5) {
		if (!*value)
			return -EINVAL;
		free(text->state);
		text->state = strdup(value);
		return text->state ? 0 : -ENOMEM;
	}
	if (!strncmp(option, "snapdir", len) && len == 7)
		return snapdir_parse(text, value);
	if (!strncmp(option, "memory", len) && len == 6)
		return size_parse(value, &text->memory) ? -EINVAL : 0;
	if (!strncmp(option, "rmdir", len) && len == 5) {
		text->rmdir_always = true;
		return strcmp(value, "always") ? -EINVAL : 0;
	}
	if (!strncmp(option, "nfs_export", len) && len == 10)
		return export_parse(text, value);
	return -ENOENT;
}

/* The next option, without its backslashes, into `out`; false at the end. */
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

int mount_text_parse(struct mount_text *text, const char *options,
                     char **ret_error)
{
	_cleanup_free_ char *option = malloc(strlen(options) + 1);
	int r = 0;

	if (!option)
		r = -ENOMEM;
	while (!r && option_next(&options, option)) {
		if (!*option)
			continue;
		r = option_parse(text, option);
		if (r == -ENOENT && text->sloppy)
			r = 0;
	}
	if (!r)
		return 0;
	if (r == -ENOMEM) {
		*ret_error = strdup("out of memory");
		return r;
	}
	if (asprintf(ret_error,
	             r == -ENOENT ? "unknown mount option '%s'"
	                          : "bad value in mount option '%s'",
	             option) < 0)
		*ret_error = NULL;
	return -EINVAL;
}

void mount_text_apply(struct mount_text *text, struct mount_options *options)
{
	char *extra = text->extra;

	snprintf(extra, sizeof(text->extra), "%s%s%s%s",
	         text->dev ? ",dev" : "", text->suid ? ",suid" : "",
	         text->noexec ? ",noexec" : "", text->sync ? ",sync" : "");
	options->state = text->state;
	options->snapdir = text->snapdir;
	options->snapdir_set = text->snapdir_set;
	options->rmdir_always = text->rmdir_always;
	options->sync = text->sync;
	options->no_export = text->no_export;
	options->readonly = text->readonly;
	options->nonempty = text->nonempty;
	options->nosymfollow = text->nosymfollow;
	options->allow_other = text->allow_other;
	options->memory = text->memory;
	options->extra = *extra ? extra + 1 : NULL;
}

void mount_text_release(struct mount_text *text)
{
	free(text->state);
}
