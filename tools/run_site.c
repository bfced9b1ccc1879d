/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run_site.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "command.h"
#include "fs.h"
#include "mount_store.h"
#include "util.h"

/* A directory in a mount of the store. */
struct spot {
	dev_t device;
	bool in_state;
	bool is_root;                     /* the root of its state */
	char state[NAME_LEN_MAX * 2 + 2]; /* with in_state */
};

/*
 * Look at a directory in the mount.  -ENODEV: it is not in a mount of the
 * store. `store`: NULL if the mount is known to be one.
 */
static int spot_read(const char *path, const char *store,
                     const struct mount_entry *mount, struct spot *ret_spot)
{
	char device[32], found[PATH_MAX];
	struct spot spot = {0};
	struct stat st;
	ssize_t len;

	if (stat(path, &st) < 0)
		return -errno;
	snprintf(device, sizeof(device), "%u:%u", major(st.st_dev),
	         minor(st.st_dev));
	if (!mount->coppice || strcmp(device, mount->device))
		return -ENODEV;
	if (store &&
	    (mount_store_find(path, mount, found) || strcmp(found, store)))
		return -ENODEV;
	len = getxattr(path, "user.coppice.state", spot.state,
	               sizeof(spot.state) - 1);
	if (len < 0 && errno != ENODATA)
		return -errno;
	spot.device = st.st_dev;
	spot.in_state = len > 0;
	spot.is_root = spot.in_state && NODE_INO(st.st_ino) == INO_ROOT;
	*ret_spot = spot;
	return 0;
}

/* ---- Mounts -------------------------------------------------------------- */

struct search {
	const char *store, *fork;
	const struct spot *here; /* the working directory */
	bool in_state;           /* it is in a state of the store */
	char device[32];         /* with in_state: that of its mount */
	char root[PATH_MAX];     /* of the whole store; "": none found */
	char alone[PATH_MAX];    /* of `fork`; "": none found */
};

/* Note the mount.  That of the working directory takes precedence. */
static int search_mount(void *arg, const struct mount_entry *mount)
{
	struct search *s = arg;
	bool known = s->in_state && !strcmp(mount->device, s->device);
	struct spot spot;
	char *to;

	if (!mount->coppice ||
	    spot_read(mount->mountpoint, known ? NULL : s->store, mount, &spot))
		return 0;
	if (spot.in_state && (!spot.is_root || strcmp(spot.state, s->fork)))
		return 0;
	to = spot.in_state ? s->alone : s->root;
	if (!*to || known)
		strcpy(to, mount->mountpoint);
	return 0;
}

/* ---- The directory that the fork is mounted on ----------------------------
 */

/*
 * Find the root of the state that the working directory is in, upwards along
 * its path.  -ENOENT: the path does not lead through it.
 */
static int root_above(const char *cwd, const struct spot *here,
                      char ret_root[PATH_MAX])
{
	char path[PATH_MAX];
	struct stat st;

	strcpy(path, cwd);
	while (stat(path, &st) == 0 && st.st_dev == here->device) {
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

	if (s->in_state && !strcmp(s->here->state, s->fork) &&
	    root_above(cwd, s->here, site->at) == 0)
		return EXIT_DONE;
	len = *s->root ? snprintf(site->at, sizeof(site->at), "%s/%s", s->root,
	                          s->fork)
	               : snprintf(site->at, sizeof(site->at), "%s", s->alone);
	if (len >= PATH_MAX) {
		complain("the path of '%s' is too long", s->fork);
		return EXIT_FAILED;
	}
	if (len)
		return EXIT_DONE;
	complain("'%s' is not mounted here: give the directory to mount its "
	         "fork on with --at",
	         s->fork);
	return EXIT_FAILED;
}

/* ---- The directory in which the command starts -----------------------------
 */

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

int run_site_find(const char *store, const char *fork, const char *at,
                  struct run_site *ret_site)
{
	_cleanup_free_ struct mount_entry *mount = malloc(sizeof(*mount));
	_cleanup_free_ struct search *s = calloc(1, sizeof(*s));
	struct spot here = {0};
	char cwd[PATH_MAX];
	struct stat st;
	int r;

	if (!mount || !s) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	*s = (struct search){.store = store, .fork = fork, .here = &here};
	if (!getcwd(cwd, sizeof(cwd)) || stat(".", &st) < 0) {
		complain("cannot find the working directory: %s",
		         strerror(errno));
		return EXIT_FAILED;
	}
	snprintf(s->device, sizeof(s->device), "%u:%u", major(st.st_dev),
	         minor(st.st_dev));
	s->in_state = mount_entry_find_device(s->device, mount) == 0 &&
	              spot_read(".", store, mount, &here) == 0 && here.in_state;
	mount_entry_each(search_mount, s);
	strcpy(ret_site->root, s->root);
	ret_site->is_unmounted = !s->in_state && !*s->root && !*s->alone;
	r = at ? at_given(at, ret_site) : at_found(s, cwd, ret_site);
	return r ? r : dir_find(cwd, s->in_state, ret_site);
}
