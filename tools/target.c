/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "target.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "command.h"
#include "fs.h"
#include "mount_store.h"
#include "util.h"

/* The store and state that a path inside a mount belongs to. */
struct resolved_path {
	char *store; /* NULL: unknown, because it was moved */
	char *state; /* NULL: the mount's root, above all states */
	bool own;    /* the path is the state's own directory */
};

static void resolved_path_release(struct resolved_path *resolved)
{
	free(resolved->store);
	free(resolved->state);
}

/* Resolve a path.  -ENODEV: it is not inside a mounted store. */
static int path_resolve(const char *path, struct resolved_path *ret_resolved)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	_cleanup_free_ struct mount_entry *mount = malloc(sizeof(*mount));
	char name[NAME_LEN_MAX * 2 + 2], device[32], store[PATH_MAX];
	struct stat st;
	ssize_t len;
	int r;

	if (!mount)
		return -ENOMEM;
	if (stat(path, &st))
		return -errno;
	snprintf(device, sizeof(device), "%u:%u", major(st.st_dev),
	         minor(st.st_dev));
	r = mount_entry_find_device(device, mount);
	if (r || !mount->coppice)
		return !r || r == -ENOENT ? -ENODEV : r;
	len = getxattr(path, "user.coppice.state", name, sizeof(name));
	if (len < 0 && errno != ENODATA)
		return -errno;
	if (len > 0)
		resolved.state = strndup(name, (size_t)len);
	if (!mount_store_find(path, mount, store))
		resolved.store = strdup(store);
	resolved.own = NODE_INO(st.st_ino) == INO_ROOT;
	if (len > 0 && !resolved.state)
		return -ENOMEM;
	*ret_resolved = resolved;
	resolved = (struct resolved_path){0};
	return 0;
}

static bool is_store(const char *path)
{
	char data[PATH_MAX];

	return (size_t)snprintf(data, sizeof(data), "%s/data.mdb", path) <
	               sizeof(data) &&
	       access(data, F_OK) == 0;
}

/*
 * Return true if the argument is a path rather than the name of a state.  Any
 * path in a mount counts unless an option has selected the store; so does the
 * path of a store, which is then reported as an error.
 */
static bool is_path(const struct target *target, const char *arg)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};

	return *arg == '/' || *arg == '.' ||
	       ((!target->store || target->by_path) &&
	        (path_resolve(arg, &resolved) == 0 || is_store(arg)));
}

int target_canonical(const char *store, char **ret_path)
{
	char *path = realpath(store, NULL);

	if (!path) {
		complain("cannot find the store '%s': %s", store,
		         strerror(errno));
		return EXIT_FAILED;
	}
	*ret_path = path;
	return EXIT_DONE;
}

int target_init(struct target *target, const char *store)
{
	*target = (struct target){0};
	if (!store)
		store = command_store;
	if (!store)
		store = getenv("COPPICE_STORE");
	return store && *store ? target_canonical(store, &target->store)
	                       : EXIT_DONE;
}

void target_release(struct target *target)
{
	free(target->store);
	target->store = NULL;
}

/* Select the path's store, or fail if another one is selected. */
static int target_join(struct target *target, const char *arg,
                       struct resolved_path *resolved)
{
	if (!resolved->store) {
		complain("'%s' is in a store that was moved after it was "
		         "mounted: name the state, and the store with -s",
		         arg);
		return EXIT_FAILED;
	}
	if (!target->store) {
		target->store = steal(&resolved->store);
		target->by_path = true;
		return EXIT_DONE;
	}
	if (!strcmp(target->store, resolved->store))
		return EXIT_DONE;
	complain("'%s' is in the store '%s', not in '%s'", arg, resolved->store,
	         target->store);
	return EXIT_FAILED;
}

static int path_complain(const char *path, int err)
{
	if (err == -ENODEV && is_store(path))
		complain("'%s' is a store, not a path in one that is mounted: "
		         "use -s '%s'",
		         path, path);
	else if (err == -ENODEV)
		complain("'%s' is not inside a mounted store", path);
	else
		complain("cannot open '%s': %s", path, strerror(-err));
	return EXIT_FAILED;
}

static int target_resolve(struct target *target, const char *arg,
                          struct resolved_path *ret_resolved)
{
	struct resolved_path resolved = {0};
	int r = path_resolve(arg, &resolved);

	if (r)
		return path_complain(arg, r);
	r = target_join(target, arg, &resolved);
	if (r) {
		resolved_path_release(&resolved);
		return r;
	}
	*ret_resolved = resolved;
	return EXIT_DONE;
}

/* Cut off the slashes and "/." after the last component. */
static void path_trim(char *path)
{
	size_t len = strlen(path);

	while (len > 1 && (path[len - 1] == '/' ||
	                   (path[len - 1] == '.' && path[len - 2] == '/')))
		path[--len] = 0;
}

static bool is_mount_root(const char *path)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};

	return path_resolve(path, &resolved) == 0 && !resolved.state;
}

/*
 * Return the name of the link FORK~NAME or FORK~N in a mount's root that the
 * path is, or leads to through other links; the caller frees it.  NULL: none.
 */
static char *link_name(const char *path)
{
	char here[PATH_MAX], target[PATH_MAX], dir[PATH_MAX];

	for (int hops = 0; hops < 40 && strlen(path) < sizeof(here); hops++) {
		char *base;
		ssize_t len;

		memmove(here, path, strlen(path) + 1);
		path_trim(here);
		len = readlink(here, target, sizeof(target) - 1);
		if (len < 0)
			return NULL;
		target[len] = 0;
		base = strrchr(here, '/');
		snprintf(dir, sizeof(dir), "%.*s",
		         base ? (int)(base + 1 - here) : 1, base ? here : ".");
		base = base ? base + 1 : here;
		if (strchr(base, '~') && is_mount_root(dir))
			return strdup(base);
		if (*target == '/' || !strcmp(dir, "."))
			path = target;
		else if (strlen(dir) + strlen(target) < sizeof(dir))
			path = strcat(dir, target);
		else
			return NULL;
	}
	return NULL;
}

/*
 * Return true if the path is a symlink.  With a slash at its end, the path
 * stands for the link's target.
 */
static bool is_symlink(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

int target_state(struct target *target, const char *arg, bool own,
                 char **ret_name)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	int r;

	if (!is_path(target, arg)) {
		*ret_name = strdup(arg);
		return EXIT_DONE;
	}
	r = target_resolve(target, arg, &resolved);
	if (r)
		return r;
	if (!resolved.state) {
		complain("'%s' is not inside a state", arg);
		return EXIT_FAILED;
	}
	if (own && !resolved.own) {
		complain("'%s' is not a state but something in '%s'", arg,
		         resolved.state);
		return EXIT_FAILED;
	}
	/* Pass on a link's position, so that the store can refuse it. */
	*ret_name = own ? link_name(arg) : NULL;
	if (!*ret_name && own && is_symlink(arg)) {
		complain("'%s' is a symlink; name the state itself, '%s'", arg,
		         resolved.state);
		return EXIT_FAILED;
	}
	if (!*ret_name)
		*ret_name = steal(&resolved.state);
	return EXIT_DONE;
}

int target_new_fork(struct target *target, const char *arg, char **ret_name)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(arg, '/');
	int r;

	if (!slash) {
		*ret_name = strdup(arg);
		return EXIT_DONE;
	}
	parent = slash == arg ? strdup("/")
	                      : strndup(arg, (size_t)(slash - arg));
	r = target_resolve(target, parent, &resolved);
	if (r)
		return r;
	if (resolved.state) {
		complain("'%s': a fork's directory is in the mount's root",
		         arg);
		return EXIT_FAILED;
	}
	*ret_name = strdup(slash + 1);
	return EXIT_DONE;
}

int target_select(struct target *target, const char *path)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};

	return target_resolve(target, path, &resolved);
}

int target_list(struct target *target, const char *arg, char **ret_name)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	int r;

	if (!is_path(target, arg))
		return target_state(target, arg, false, ret_name);
	r = target_resolve(target, arg, &resolved);
	if (r)
		return r;
	*ret_name = steal(&resolved.state);
	return EXIT_DONE;
}

int target_here(struct target *target, char **ret_name)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};

	*ret_name = NULL;
	if (path_resolve(".", &resolved) == 0 && resolved.state &&
	    (!target->store ||
	     (resolved.store && !strcmp(target->store, resolved.store))))
		*ret_name = steal(&resolved.state);
	return *ret_name && !target->store ? target_join(target, ".", &resolved)
	                                   : EXIT_DONE;
}

/* ---- Paths in states ----------------------------------------------------- */

/*
 * Split the path into a directory that exists, and the rest, which may be
 * missing: *ret_rest points into `path`.  A final symlink belongs to the rest,
 * so that it is not followed, unless it is in a mount's root or a .snap, where
 * symlinks stand for states and directories in them.
 */
static int path_cut(const char *path, char *ret_dir, size_t size,
                    const char **ret_rest)
{
	size_t len = strlen(path);
	struct stat st;
	bool links;

	if (len >= size)
		return -ENAMETOOLONG;
	strcpy(ret_dir, path);
	if (lstat(ret_dir, &st) == 0 && S_ISDIR(st.st_mode)) {
		*ret_rest = path + len;
		return 0;
	}
	for (;;) {
		while (len && ret_dir[len - 1] == '/')
			len--;
		while (len && ret_dir[len - 1] != '/')
			len--;
		*ret_rest = path + len;
		if (!len)
			strcpy(ret_dir, ".");
		else
			ret_dir[len] = 0;
		if (stat(ret_dir, &st) == 0 && S_ISDIR(st.st_mode))
			break;
		if (!len || (errno != ENOENT && errno != ENOTDIR))
			return -errno;
	}
	/* Follow the symlinks of a mount's root and of .snap directories. */
	links = is_mount_root(ret_dir) || (st.st_ino & NODE_VIRTUAL);
	if (links && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		strcpy(ret_dir, path);
		*ret_rest = path + strlen(path);
	}
	return 0;
}

/*
 * Return true if a component is "..", which cannot be resolved in a missing
 * path.
 */
static bool has_dotdot(const char *path)
{
	for (; path; path = strchr(path, '/')) {
		path += strspn(path, "/");
		if (!strncmp(path, "..", 2) && (!path[2] || path[2] == '/'))
			return true;
	}
	return false;
}

/* Resolve a path in a mount to its state and the path in it. */
static int path_in_state(struct target *target, const char *arg,
                         char **ret_name, char **ret_path)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	char dir[PATH_MAX], inner[PATH_MAX];
	const char *rest;
	ssize_t len;
	int r = path_cut(arg, dir, sizeof(dir), &rest);

	if (r || has_dotdot(rest))
		return path_complain(arg, r ? r : -ENOENT);
	r = target_resolve(target, dir, &resolved);
	if (r)
		return r;
	if (!resolved.state) {
		complain("'%s' is not inside a state", arg);
		return EXIT_FAILED;
	}
	len = getxattr(dir, "user.coppice.path", inner, sizeof(inner));
	if (len < 0)
		return path_complain(arg, -errno);
	if (asprintf(ret_path, "%.*s%s%s", (int)len, inner,
	             *rest && len > 1 ? "/" : "", rest) < 0)
		return path_complain(arg, -ENOMEM);
	*ret_name = steal(&resolved.state);
	return EXIT_DONE;
}

/* Return true if the path, which may be missing, is inside a mounted state. */
static bool is_inside(const char *arg)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	char dir[PATH_MAX];
	const char *rest;

	return strchr(arg, '/') &&
	       path_cut(arg, dir, sizeof(dir), &rest) == 0 &&
	       path_resolve(dir, &resolved) == 0 && resolved.state;
}

int target_path(struct target *target, const char *arg, char **ret_name,
                char **ret_path)
{
	const char *cut = strstr(arg, ":/");
	bool is_absolute = *arg == '/' || *arg == '.';

	if (cut && !is_absolute && !memchr(arg, '/', (size_t)(cut - arg))) {
		*ret_name = strndup(arg, (size_t)(cut - arg));
		*ret_path = strdup(cut + 1);
		return EXIT_DONE;
	}
	if (is_absolute || is_path(target, arg) || (!cut && is_inside(arg)))
		return path_in_state(target, arg, ret_name, ret_path);
	/* The rest is a name; only FORK/.snap/SNAPSHOT has slashes. */
	*ret_name = cut ? strndup(arg, (size_t)(cut - arg)) : strdup(arg);
	*ret_path = strdup(cut ? cut + 1 : "/");
	return EXIT_DONE;
}

/* The mounted stores of this user; the search ends at the second. */
struct only {
	unsigned count;
	char store[PATH_MAX]; /* the first */
};

static int only_add(void *arg, const struct mount_entry *entry)
{
	struct only *only = arg;
	char store[PATH_MAX];
	struct stat st;

	if (!entry->coppice)
		return 0;
	if (mount_store_find(entry->mountpoint, entry, store))
		snprintf(store, sizeof(store), "%s", entry->source);
	if (stat(store, &st) || (geteuid() && st.st_uid != geteuid()) ||
	    (only->count && !strcmp(only->store, store)))
		return 0;
	memcpy(only->store, store, sizeof(store));
	return ++only->count > 1;
}

int target_store(struct target *target)
{
	_cleanup_(resolved_path_release) struct resolved_path resolved = {0};
	struct only only = {0};

	if (target->store)
		return EXIT_DONE;
	if (path_resolve(".", &resolved) == 0)
		return target_join(target, ".", &resolved);
	mount_entry_each(only_add, &only);
	if (only.count == 1 && !target->careful) {
		target->store = strdup(only.store);
		return EXIT_DONE;
	}
	if (only.count == 1)
		complain("which store? Only '%s' is mounted: use -s '%s' if it "
		         "is that one",
		         only.store, only.store);
	else
		complain("which store? Use -s STORE, or set COPPICE_STORE");
	return EXIT_USAGE;
}
