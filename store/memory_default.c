/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory_default.h"

#include <limits.h>

#include "util.h"

#define DEFAULT_LEAST (UINT64_C(16) << 20)

enum {
	SHARE = 32,      /* of the physical memory: a 32nd part */
	LIMIT_SHARE = 4, /* of any limit: a quarter */
};

_Static_assert(PATH_MAX == 4096, "width of the fields in limit_of_mount()");

/* A hierarchy of cgroups: the process's own one, and where it is mounted. */
struct hierarchy {
	const char *root;
	bool unified;        /* cgroup v2 */
	char path[PATH_MAX]; /* of the process's cgroup */
};

static FILE *file_open(const char *root, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s", root, name) < 0)
		return path = NULL, NULL;
	return fopen(path, "re");
}

/* Return the number in a file of a cgroup; UINT64_MAX: "max", or no file. */
static uint64_t limit_read(const char *dir, const char *name)
{
	_cleanup_fclose_ FILE *f = file_open(dir, name);
	unsigned long long bytes;

	return f && fscanf(f, "%llu", &bytes) == 1 ? bytes : UINT64_MAX;
}

/* Return the physical memory in bytes; 0: unknown. */
static uint64_t physical_read(const char *root)
{
	_cleanup_fclose_ FILE *f = file_open(root, "/proc/meminfo");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			break;
	}
	return (uint64_t)kib << 10;
}

/* Return true if the word is one of a list that commas separate. */
static bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, word, len) && strchr(",\n", p[len]))
			return true;
	}
	return false;
}

/*
 * Find the process's cgroup in lines like 4:memory:/PATH (v1) and 0::/PATH
 * (v2).  Return false if the hierarchy does not exist.
 */
static bool path_find(struct hierarchy *self)
{
	_cleanup_fclose_ FILE *f = file_open(self->root, "/proc/self/cgroup");
	char line[PATH_MAX + 128];

	while (f && fgets(line, sizeof(line), f)) {
		char *rest = line, *path;
		const char *id = strsep(&rest, ":");
		const char *controllers = strsep(&rest, ":");

		path = strsep(&rest, "\n");
		if (!path || strlen(path) >= sizeof(self->path))
			continue;
		if (self->unified ? !strcmp(id, "0") && !*controllers
		                  : list_has(controllers, "memory")) {
			strcpy(self->path, path);
			return true;
		}
	}
	return false;
}

/*
 * Return the path below the mount whose root is this cgroup.  A container may
 * see another part of the hierarchy than its own: then only the mount's root.
 */
static const char *path_below(const struct hierarchy *self, const char *top)
{
	size_t len = strcmp(top, "/") ? strlen(top) : 0;
	const char *rest = self->path + len;

	return !strncmp(self->path, top, len) && (!*rest || *rest == '/') ? rest
	                                                                  : "";
}

/* Return the lowest limit of a cgroup and those above it, up to the mount. */
static uint64_t limit_walk(const struct hierarchy *self, const char *mountpoint,
                           const char *below)
{
	const char *name =
	        self->unified ? "/memory.max" : "/memory.limit_in_bytes";
	_cleanup_free_ char *dir = NULL;
	uint64_t limit = UINT64_MAX;
	size_t top;

	if (asprintf(&dir, "%s%s%s", self->root, mountpoint, below) < 0)
		return dir = NULL, limit;
	top = strlen(self->root) + strlen(mountpoint);
	for (;;) {
		uint64_t bytes = limit_read(dir, name);

		limit = MIN(limit, bytes);
		if (strlen(dir) <= top)
			return limit;
		*strrchr(dir, '/') = 0;
	}
}

/*
 * Return the limit that a line of mountinfo leads to: ID PARENT MAJ:MIN ROOT
 * MOUNTPOINT OPTIONS TAG… - TYPE SOURCE OPTIONS.  UINT64_MAX: none.
 */
static uint64_t limit_of_mount(const struct hierarchy *self, char *line)
{
	char top[PATH_MAX], mountpoint[PATH_MAX], type[16], options[256];
	const char *tail = strstr(line, " - ");

	if (!tail ||
	    sscanf(line, "%*s %*s %*s %4095s %4095s", top, mountpoint) != 2 ||
	    sscanf(tail, " - %15s %*s %255s", type, options) != 2)
		return UINT64_MAX;
	if (self->unified
	            ? strcmp(type, "cgroup2")
	            : strcmp(type, "cgroup") || !list_has(options, "memory"))
		return UINT64_MAX;
	return limit_walk(self, mountpoint, path_below(self, top));
}

/* Return the lowest limit of the process in a hierarchy; UINT64_MAX: none. */
static uint64_t limit_find(const char *root, bool unified)
{
	struct hierarchy self = {.root = root, .unified = unified};
	_cleanup_fclose_ FILE *f = file_open(root, "/proc/self/mountinfo");
	_cleanup_free_ char *line = NULL;
	uint64_t limit = UINT64_MAX;
	size_t size = 0;

	if (!path_find(&self))
		return limit;
	while (f && getline(&line, &size, f) >= 0) {
		uint64_t bytes = limit_of_mount(&self, line);

		limit = MIN(limit, bytes);
	}
	return limit;
}

uint64_t memory_default(const char *root)
{
	uint64_t physical = physical_read(root);
	uint64_t bytes = MAX(physical / SHARE, MEMORY_DEFAULT_USUAL);
	uint64_t v1 = limit_find(root, false), v2 = limit_find(root, true);
	uint64_t limit = MIN(physical ? physical : UINT64_MAX, MIN(v1, v2));

	bytes = MIN(bytes, MEMORY_DEFAULT_MOST);
	return MAX(MIN(bytes, limit / LIMIT_SHARE), DEFAULT_LEAST);
}
