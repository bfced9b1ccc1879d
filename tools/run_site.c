/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run_site.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "command.h"
#include "fs.h"
#include "mount_store.h"
#include "util.h"

/* ---- Mounts ------------------------------------------------------------- */

struct search {
	const char *store, *fork;
	const char *here; /* the state of the working directory; NULL: none */
	char device[32];  /* of the working directory, as in mountinfo */
	char root[PATH_MAX];  /* of the whole store; "": none found */
	char alone[PATH_MAX]; /* of `fork`; "": none found */
};

static void device_text(const struct stat *st, char ret_text[32])
{
	snprintf(ret_text, 32, "%u:%u", major(st->st_dev), minor(st->st_dev));
}

static bool serves_store(const struct search *s,
                         const struct mount_entry *mount)
{
	char found[PATH_MAX];

	return mount_store_find(mount->mountpoint, mount, found) == 0 &&
	       !strcmp(found, s->store);
}

/*
 * Note the mount if it is of the store or the fork.  The mount of the working
 * directory takes precedence.  Mounts of other stores may hang, and are not
 * accessed.
 */
static int search_mount(void *arg, const struct mount_entry *mount)
{
	char state[NAME_LEN_MAX * 2 + 2] = "", device[32];
	struct search *s = arg;
	bool is_here = s->here && !strcmp(mount->device, s->device);
	struct stat st;
	ssize_t len;
	char *to;

	if (!mount->coppice || (!is_here && strcmp(mount->source, s->store)) ||
	    stat(mount->mountpoint, &st) < 0)
		return 0;
	/* Ignore a mount that another one covers. */
	device_text(&st, device);
	if (strcmp(device, mount->device) ||
	    (!is_here && !serves_store(s, mount)))
		return 0;
	len = getxattr(mount->mountpoint, "user.coppice.state", state,
	               sizeof(state) - 1);
	if (len < 0 && errno != ENODATA)
		return 0;
	if (len > 0 &&
	    (NODE_INO(st.st_ino) != INO_ROOT || strcmp(state, s->fork)))
		return 0;
	to = len > 0 ? s->alone : s->root;
	if (!*to || is_here)
		strcpy(to, mount->mountpoint);
	return 0;
}

/* ---- The directory that the fork is mounted on -------------------------- */

/*
 * Find the root of the state that the working directory is in, by walking up
 * its path.  -ENOENT: the path does not contain it.
 */
static int root_above(const char *cwd, char ret_root[PATH_MAX])
{
	struct stat st, here;
	char path[PATH_MAX];

	if (stat(".", &here) < 0)
		return -errno;
	strcpy(path, cwd);
	while (stat(path, &st) == 0 && st.st_dev == here.st_dev) {
		char *slash = strrchr(path, '/');

		if (NODE_INO(st.st_ino) == INO_ROOT) {
			strcpy(ret_root, path);
			return 0;
		}
		if (slash == path)
			break;
		*slash = 0;
	}
	return -ENOENT;
}

static int at_given(const char *at, struct run_site *site)
{
	struct stat st;

	if (!realpath(at, site->at) || stat(site->at, &st) < 0) {
		complain("cannot mount on '%s': %s", at, strerror(errno));
		return EXIT_FAILED;
	}
	if (S_ISDIR(st.st_mode))
		return EXIT_DONE;
	complain("cannot mount on '%s': it is not a directory", at);
	return EXIT_FAILED;
}

static int at_found(const struct search *s, const char *cwd,
                    struct run_site *site)
{
	int len;

	struct statvfs vfs;

	if (s->here && !strcmp(s->here, s->fork) &&
	    root_above(cwd, site->at) == 0)
		len = (int)strlen(site->at);
	else if (*s->root)
		len = snprintf(site->at, sizeof(site->at), "%s/%s", s->root,
		               s->fork);
	else
		len = snprintf(site->at, sizeof(site->at), "%s", s->alone);
	if (len >= PATH_MAX) {
		complain("the path of '%s' is too long", s->fork);
		return EXIT_FAILED;
	}
	if (len) {
		if (statvfs(site->at, &vfs) == 0)
			site->flags = vfs.f_flag;
		return EXIT_DONE;
	}
	complain("'%s' is not mounted here: give the directory to mount its "
	         "fork on with --at",
	         s->fork);
	return EXIT_FAILED;
}

/* ---- The directory in which the command starts -------------------------- */

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
}

static int dir_find(const char *cwd, bool in_state, struct run_site *site)
{
	char inner[PATH_MAX] = "";
	ssize_t len = 0;

	if (!in_state && is_below(cwd, site->at)) {
		strcpy(site->dir, cwd);
		return EXIT_DONE;
	}
	if (in_state)
		len = getxattr(".", "user.coppice.path", inner,
		               sizeof(inner) - 1);
	if (len < 0) {
		complain("cannot read where the working directory is: %s",
		         strerror(errno));
		return EXIT_FAILED;
	}
	if (!strcmp(inner, "/"))
		*inner = 0;
	if (snprintf(site->dir, sizeof(site->dir), "%s%s", site->at, inner) <
	    PATH_MAX)
		return EXIT_DONE;
	complain("the path of the working directory is too long");
	return EXIT_FAILED;
}

int run_site_find(const char *store, const char *here, const char *fork,
                  const char *at, struct run_site *ret_site)
{
	_cleanup_free_ struct search *s = calloc(1, sizeof(*s));
	char cwd[PATH_MAX];
	struct stat st;
	int r;

	if (!s) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (!getcwd(cwd, sizeof(cwd)) || stat(".", &st) < 0) {
		complain("cannot find the working directory: %s",
		         strerror(errno));
		return EXIT_FAILED;
	}
	*s = (struct search){.store = store, .fork = fork, .here = here};
	device_text(&st, s->device);
	mount_entry_each(search_mount, s);
	strcpy(ret_site->root, s->root);
	ret_site->flags = ST_NODEV | ST_NOSUID;
	ret_site->is_unmounted = !here && !*s->root && !*s->alone;
	r = at ? at_given(at, ret_site) : at_found(s, cwd, ret_site);
	return r ? r : dir_find(cwd, here, ret_site);
}
