/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_links.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "array.h"
#include "util.h"

/* A file of the target that is kept: see links_claim(). */
struct claim {
	uint64_t ino, dev;
};

static void link_free(void *arg)
{
	struct export_link *link = arg;

	free(link->path);
	free(link);
}

int links_add(struct export_links *links, uint64_t ino, const char *path,
              const char *name, bool is_change)
{
	struct export_link *link = malloc(sizeof(*link)), **found;

	if (!link)
		return -ENOMEM;
	link->ino = ino;
	link->is_change = is_change;
	if (asprintf(&link->path, "%s/%s", path, name) < 0) {
		free(link);
		return -ENOMEM;
	}
	found = tsearch(link, &links->made, number_compare);
	if (found && *found == link)
		return 0;
	link_free(link);
	return found ? -EPROTO : -ENOMEM;
}

const struct export_link *links_find(const struct export_links *links,
                                     uint64_t ino)
{
	const struct export_link want = {.ino = ino};
	struct export_link **found = tfind(&want, &links->made, number_compare);

	return found ? *found : NULL;
}

int link_parent_open(const struct export_link *link, int top)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
	                       .resolve =
	                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	size_t len = (size_t)(strrchr(link->path, '/') - link->path);
	_cleanup_free_ char *parent = strndup(link->path, len);
	long fd;

	if (!parent)
		return -ENOMEM;
	fd = syscall(SYS_openat2, top, *parent ? parent + 1 : ".", &how,
	             sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

/* ---- Claims ------------------------------------------------------------- */

static int claim_compare(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = number_order(x->ino, y->ino);

	return order ? order : number_order(x->dev, y->dev);
}

int links_claim(struct export_links *links, const struct stat *st)
{
	struct claim *claim, **found;

	if (st->st_nlink < 2)
		return 0;
	claim = malloc(sizeof(*claim));
	if (!claim)
		return -ENOMEM;
	*claim = (struct claim){st->st_ino, st->st_dev};
	found = tsearch(claim, &links->claimed, claim_compare);
	if (found && *found == claim)
		return 0;
	free(claim);
	return found ? -EEXIST : -ENOMEM;
}

bool links_has(const struct export_links *links, const struct stat *st)
{
	const struct claim claim = {st->st_ino, st->st_dev};

	return st->st_nlink > 1 &&
	       tfind(&claim, &links->claimed, claim_compare);
}

void links_release(struct export_links *links)
{
	tdestroy(links->made, link_free);
	tdestroy(links->claimed, free);
	*links = (struct export_links){0};
}
