/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/mount.h>

#include "program.h"
#include "util.h"

/* Decode \ooo, the escape of spaces and other special characters. */
static void decode(char *text)
{
	char *out = text;

	for (const char *p = text; *p; out++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' &&
		    p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			*out = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 |
			              (p[3] - '0'));
			p += 4;
		} else {
			*out = *p++;
		}
	}
	*out = 0;
}

static void copy(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = 0;
}

/* ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS TAG… - TYPE SOURCE OPTIONS */
static bool parse(char *line, struct mount_entry *entry)
{
	char *fields[6], *rest = line, *type, *source, *user;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i] = strsep(&rest, " ");
		if (!fields[i] || !rest)
			return false;
	}
	while (rest[0] != '-' || rest[1] != ' ') {
		strsep(&rest, " ");
		if (!rest)
			return false;
	}
	rest += 2;
	type = strsep(&rest, " ");
	source = strsep(&rest, " \n");
	if (!type || !source)
		return false;
	entry->id = strtoull(fields[0], NULL, 10);
	entry->parent = strtoull(fields[1], NULL, 10);
	copy(entry->device, sizeof(entry->device), fields[2]);
	decode(fields[4]);
	copy(entry->mountpoint, sizeof(entry->mountpoint), fields[4]);
	decode(source);
	copy(entry->source, sizeof(entry->source), source);
	entry->coppice = strcmp(type, "fuse.coppice") == 0;
	user = rest ? strstr(rest, "user_id=") : NULL;
	entry->user =
	        user ? (uid_t)strtoul(strchr(user, '=') + 1, NULL, 10) : 0;
	return true;
}

int mount_entry_each(int (*fn)(void *arg, const struct mount_entry *entry),
                     void *arg)
{
	return mount_entry_each_in("/proc/self/mountinfo", fn, arg);
}

int mount_entry_each_in(const char *path,
                        int (*fn)(void *arg, const struct mount_entry *entry),
                        void *arg)
{
	_cleanup_free_ struct mount_entry *entry = malloc(sizeof(*entry));
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!f)
		return -errno;
	if (!entry)
		return -ENOMEM;
	while (!r && getline(&line, &size, f) >= 0) {
		if (parse(line, entry))
			r = fn(arg, entry);
	}
	return r;
}

struct search {
	const char *mountpoint, *device, *source; /* NULL: any */
	struct mount_entry *found;
	int count;
};

static int search_entry(void *arg, const struct mount_entry *entry)
{
	struct search *s = arg;

	if ((s->mountpoint && strcmp(entry->mountpoint, s->mountpoint) != 0) ||
	    (s->device && strcmp(entry->device, s->device) != 0) ||
	    (s->source &&
	     (!entry->coppice || strcmp(entry->source, s->source) != 0)))
		return 0;
	/* The last match is the topmost mount. */
	*s->found = *entry;
	s->count++;
	return 0;
}

int mount_entry_find(const char *mountpoint, struct mount_entry *ret_entry)
{
	struct search s = {.mountpoint = mountpoint, .found = ret_entry};
	int r = mount_entry_each(search_entry, &s);

	return r ? r : s.count ? 0 : -ENOENT;
}

int mount_entry_find_device(const char *device, struct mount_entry *ret_entry)
{
	struct search s = {.device = device, .found = ret_entry};
	int r = mount_entry_each(search_entry, &s);

	return r ? r : s.count ? 0 : -ENOENT;
}

int mount_entry_find_source(const char *source, struct mount_entry *ret_entry)
{
	struct search s = {.source = source, .found = ret_entry};
	int r = mount_entry_each(search_entry, &s);

	return r ? r : s.count;
}

int mountpoint_resolve(const char *path, char ret_path[PATH_MAX])
{
	char dir_copy[PATH_MAX], base_copy[PATH_MAX], parent[PATH_MAX];
	const char *base;
	int len;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (realpath(path, ret_path))
		return 0;
	if (errno != ENOTCONN && errno != ECONNABORTED && errno != EACCES)
		return -errno;
	strcpy(dir_copy, path);
	strcpy(base_copy, path);
	base = basename(base_copy);
	if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return -ENOTCONN;
	if (!realpath(dirname(dir_copy), parent))
		return -errno;
	len = snprintf(ret_path, PATH_MAX, "%s/%s",
	               strcmp(parent, "/") == 0 ? "" : parent, base);
	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int mountpoint_sync(const char *mountpoint)
{
	_cleanup_close_ int fd =
	        open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsync(fd) == 0)
		return 0;
	/* A deleted state has nothing to save. */
	return errno == ESTALE ? 0 : -errno;
}

/*
 * Unmount by the set-user-ID program fusermount3, which reports errors only as
 * text.
 */
static int fusermount(const char *mountpoint, int flags, char *message,
                      size_t size)
{
	const char *const argv[] = {"fusermount3",
	                            flags & MNT_DETACH ? "-uz" : "-u", "--",
	                            mountpoint, NULL};
	int status = program_run(argv, message, size);

	if (status == 0)
		return 0;
	if (status < 0)
		snprintf(message, size, "cannot run fusermount3: %s",
		         strerror(-status));
	else if (!*message)
		snprintf(message, size, "fusermount3 failed");
	return strstr(message, strerror(EBUSY)) ? -EBUSY : -EPERM;
}

int mountpoint_unmount(const char *mountpoint, int flags, char *ret_reason,
                       size_t size)
{
	int err = 0;

	if (umount2(mountpoint, UMOUNT_NOFOLLOW | flags) < 0)
		err = -errno;
	if (err == -EPERM && geteuid() != 0)
		return fusermount(mountpoint, flags, ret_reason, size);
	snprintf(ret_reason, size, "%s", strerror(-err));
	return err;
}
