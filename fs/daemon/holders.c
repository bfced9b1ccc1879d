/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "holders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util.h"

enum {
	NAMED = 5, /* processes that are named; the others are counted */
	NAMESPACES = 64,
	NAME_LEN = 32,
	PATH_LEN = 64 + NAME_MAX,
};

struct search {
	unsigned device_major, device_minor;
	const char *device;
	uint64_t mount; /* mount ID; 0: any mount of the device */
	char *text;
	size_t len;
	unsigned found;
	/* Mount namespaces, as "mnt:[INODE]": this process's; those searched */
	char own[NAME_LEN];
	struct {
		char name[NAME_LEN];
		bool has; /* a mount of the device */
	} seen[NAMESPACES];
	unsigned seen_len;
};

static void add_text(struct search *s, const char *text)
{
	size_t len = MIN(strlen(text), HOLDERS_TEXT - 1 - s->len);

	memcpy(s->text + s->len, text, len);
	s->len += len;
	s->text[s->len] = 0;
}

/* Add "PID (NAME)", or only count the process if NAMED have been added. */
static void add_process(struct search *s, const char *pid)
{
	char path[PATH_LEN], name[NAME_LEN] = "?", item[PATH_LEN];
	_cleanup_fclose_ FILE *f = NULL;

	if (s->found++ >= NAMED)
		return;
	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (f && !fgets(name, sizeof(name), f))
		strcpy(name, "?");
	name[strcspn(name, "\n")] = 0;
	for (char *p = name; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	snprintf(item, sizeof(item), "%s%.20s (%s)", s->found > 1 ? ", " : "",
	         pid, name);
	add_text(s, item);
}

static void add_rest(struct search *s)
{
	char rest[40];

	if (s->found <= NAMED)
		return;
	snprintf(rest, sizeof(rest), " and %u more", s->found - NAMED);
	add_text(s, rest);
}

/* Call fn for each process but this one. */
static void each_process(struct search *s,
                         bool (*fn)(struct search *s, const char *pid))
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char self[NAME_LEN];

	snprintf(self, sizeof(self), "%d", (int)getpid());
	while (proc && (entry = readdir(proc))) {
		if (isdigit((unsigned char)*entry->d_name) &&
		    strcmp(entry->d_name, self) != 0 && fn(s, entry->d_name))
			add_process(s, entry->d_name);
	}
	if (proc)
		closedir(proc);
	add_rest(s);
}

/* ---- Files that a process uses ----------------------------------------- */

/* Return true if a link in /proc leads into the mount. */
static bool leads_in(const struct search *s, const char *path)
{
	struct statx st;

	/* Use cached attributes only: the daemon may hang. */
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0,
	          &st) < 0 ||
	    st.stx_dev_major != s->device_major ||
	    st.stx_dev_minor != s->device_minor)
		return false;
#ifdef STATX_MNT_ID
	if (s->mount && st.stx_mask & STATX_MNT_ID)
		return st.stx_mnt_id == s->mount;
#endif
	return true;
}

static bool has_open(const struct search *s, const char *pid)
{
	char path[PATH_LEN];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid,
		         entry->d_name);
		found = isdigit((unsigned char)*entry->d_name) &&
		        leads_in(s, path);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool has_mapped(const struct search *s, const char *pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char path[PATH_LEN];
	size_t size = 0;
	unsigned major, minor;

	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	f = fopen(path, "re");
	while (f && getline(&line, &size, f) >= 0) {
		/* START-END RIGHTS OFFSET DEVICE INODE PATH */
		if (sscanf(line, "%*s %*s %*s %x:%x", &major, &minor) == 2 &&
		    major == s->device_major && minor == s->device_minor)
			return true;
	}
	return false;
}

static bool uses_mount(struct search *s, const char *pid)
{
	static const char *const links[] = {"cwd", "root", "exe"};
	char path[PATH_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, links[i]);
		if (leads_in(s, path))
			return true;
	}
	return has_open(s, pid) || has_mapped(s, pid);
}

/* ---- Other mount namespaces --------------------------------------------- */

static int is_device(void *arg, const struct mount_entry *entry)
{
	const struct search *s = arg;

	return entry->coppice && strcmp(entry->device, s->device) == 0;
}

static bool namespace_name(const char *pid, char ret_name[NAME_LEN])
{
	char path[PATH_LEN];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", pid);
	len = readlink(path, ret_name, NAME_LEN - 1);
	if (len <= 0)
		return false;
	ret_name[len] = 0;
	return true;
}

static bool is_in_namespace(struct search *s, const char *pid)
{
	char path[PATH_LEN], name[NAME_LEN];
	bool has;

	if (!namespace_name(pid, name) || strcmp(name, s->own) == 0)
		return false;
	for (unsigned i = 0; i < s->seen_len; i++)
		if (strcmp(s->seen[i].name, name) == 0)
			return s->seen[i].has;
	snprintf(path, sizeof(path), "/proc/%.20s/mountinfo", pid);
	has = mount_entry_each_in(path, is_device, s) > 0;
	if (s->seen_len < NAMESPACES) {
		memcpy(s->seen[s->seen_len].name, name, NAME_LEN);
		s->seen[s->seen_len++].has = has;
	}
	return has;
}

/* ---- Locks -------------------------------------------------------------- */

/* Add the process that has the file locked by flock(2), if there is one. */
static void add_locker(struct search *s, const struct stat *st)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/locks", "re");
	unsigned device_major, device_minor;
	unsigned long long inode;
	char line[256], pid[NAME_LEN];

	while (f && !s->found && fgets(line, sizeof(line), f)) {
		/* NUMBER: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE ... */
		if (sscanf(line, "%*s FLOCK %*s %*s %31s %x:%x:%llu", pid,
		           &device_major, &device_minor, &inode) == 4 &&
		    inode == st->st_ino && device_major == major(st->st_dev) &&
		    device_minor == minor(st->st_dev) && atoi(pid) > 0)
			add_process(s, pid);
	}
}

bool holders_lock(const char *path, char ret_text[HOLDERS_TEXT])
{
	struct search s = {.text = ret_text};
	struct stat st;

	*ret_text = 0;
	if (stat(path, &st) == 0)
		add_locker(&s, &st);
	return s.found;
}

/* ---- The searches ------------------------------------------------------ */

static bool search_init(struct search *s, const char *device, char *text)
{
	*s = (struct search){.device = device, .text = text};
	*text = 0;
	return sscanf(device, "%u:%u", &s->device_major, &s->device_minor) == 2;
}

struct inner {
	uint64_t outer;
	char *text;
};

/* The last match is the topmost mount. */
static int find_inner(void *arg, const struct mount_entry *entry)
{
	struct inner *inner = arg;

	if (entry->parent == inner->outer)
		snprintf(inner->text, HOLDERS_TEXT, "the mount at '%s'",
		         entry->mountpoint);
	return 0;
}

bool holders_busy(const struct mount_entry *mount, char ret_text[HOLDERS_TEXT])
{
	struct inner inner = {mount->id, ret_text};
	struct search s;

	if (!search_init(&s, mount->device, ret_text))
		return false;
	mount_entry_each(find_inner, &inner);
	if (*ret_text)
		return true;
	s.mount = mount->id;
	each_process(&s, uses_mount);
	if (s.found || !leads_in(&s, "/proc/self/cwd"))
		return s.found;
	add_text(&s, "this command, whose directory is in it");
	return true;
}

bool holders_elsewhere(const char *device, char ret_text[HOLDERS_TEXT])
{
	_cleanup_free_ struct mount_entry *entry = malloc(sizeof(*entry));
	struct search s;

	if (!entry || !search_init(&s, device, ret_text))
		return false;
	if (mount_entry_find_device(device, entry) == 0) {
		snprintf(ret_text, HOLDERS_TEXT, "it is mounted at '%s', too",
		         entry->mountpoint);
		return true;
	}
	add_text(&s, "another mount namespace has it, that of ");
	if (namespace_name("self", s.own))
		each_process(&s, is_in_namespace);
	if (s.found)
		return true;
	s.len = 0;
	add_text(&s, "its files are in use by ");
	each_process(&s, uses_mount);
	return s.found;
}
