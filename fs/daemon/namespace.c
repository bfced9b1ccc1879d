/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "util.h"

enum { VIEWS_MAX = 32 };

/* A process's view of the file systems: the start of its paths. */
struct view {
	int mounts; /* its mount namespace */
	int root;   /* its root directory */
};

static void view_release(struct view *view)
{
	close_fd(&view->mounts);
	close_fd(&view->root);
}

/* Open the view of a process; `pid` is its number in /proc, or "self". */
static int view_open(const char *pid, struct view *ret_view)
{
	struct view view = {-1, -1};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid);
	view.mounts = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%s/root", pid);
	if (view.mounts >= 0)
		view.root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (view.root < 0) {
		int err = -errno;

		view_release(&view);
		return err;
	}
	*ret_view = view;
	return 0;
}

/* Enter the view.  Set *ret_left once the process has left its namespace. */
static int view_enter(const struct view *view, bool *ret_left)
{
	if (setns(view->mounts, CLONE_NEWNS) < 0)
		return -errno;
	*ret_left = true;
	/* setns() has changed the root directory to the namespace's. */
	if (fchdir(view->root) < 0 || chroot(".") < 0)
		return -errno;
	return 0;
}

static bool same_file(int a, int b)
{
	struct stat st, other;

	return fstat(a, &st) == 0 && fstat(b, &other) == 0 &&
	       st.st_dev == other.st_dev && st.st_ino == other.st_ino;
}

/*
 * Return true if the path leads to the directory and both are read-only or both
 * are writable.
 */
static bool leads_to(const char *path, int dir)
{
	_cleanup_close_ int found =
	        open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statvfs vfs, other;

	return found >= 0 && same_file(found, dir) &&
	       fstatvfs(found, &vfs) == 0 && fstatvfs(dir, &other) == 0 &&
	       (vfs.f_flag & ST_RDONLY) == (other.f_flag & ST_RDONLY);
}

/*
 * Return the process ID of the parent in the same /proc, which may belong to
 * another pid namespace; 0: the parent is not there.
 */
static int parent_of(const char *pid)
{
	char path[64], line[512];
	_cleanup_fclose_ FILE *f = NULL;
	const char *end;
	int parent;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	end = strrchr(line,
	              ')'); /* the name before it may have any character */
	if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

/*
 * Open the views of the ancestors that are in other mount namespaces, the
 * nearest first, without repetitions.  Return their number.
 */
static size_t open_ancestors(const struct view *own,
                             struct view views[VIEWS_MAX])
{
	char pid[16] = "self";
	size_t count = 0;

	for (int parent; (parent = parent_of(pid)) > 0;) {
		struct view view;

		snprintf(pid, sizeof(pid), "%d", parent);
		if (view_open(pid, &view) < 0)
			continue;
		if (same_file(view.mounts, own->mounts) ||
		    (count && same_file(view.mounts, views[count - 1].mounts) &&
		     same_file(view.root, views[count - 1].root))) {
			view_release(&view);
			continue;
		}
		/* If there are too many, keep the farthest. */
		if (count == VIEWS_MAX)
			view_release(&views[--count]);
		views[count++] = view;
	}
	return count;
}

int namespace_leave(const char *path, int dir)
{
	struct view own, views[VIEWS_MAX];
	bool left = false, moved = false;
	size_t count;
	int err = 0;

	if (view_open("self", &own) < 0)
		return leads_to(path, dir) ? 0 : -ESTALE;
	count = open_ancestors(&own, views);
	for (size_t i = count; i-- > 0;) {
		moved = moved || (view_enter(&views[i], &left) == 0 &&
		                  leads_to(path, dir));
		view_release(&views[i]);
	}
	if (left && !moved)
		err = view_enter(&own, &left);
	view_release(&own);
	if (err == 0 && !leads_to(path, dir))
		err = -ESTALE;
	return err;
}
