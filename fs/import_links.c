/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Imported inodes with several names. */
#include "import_links.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

struct link {
	uint64_t ino, dev; /* the key; dev is 0 in `claimed` */
	uint64_t to;       /* in the state */
	uint64_t left;     /* names that have not come yet */
};

static int link_compare(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static struct link *link_find(void *const *root, uint64_t ino, uint64_t dev)
{
	struct link want = {ino, dev, 0, 0}, **found;

	found = tfind(&want, root, link_compare);
	return found ? *found : NULL;
}

static int link_add(void **root, const struct link *link)
{
	struct link *copy = malloc(sizeof(*copy)), **found;

	if (!copy)
		return -ENOMEM;
	*copy = *link;
	found = tsearch(copy, root, link_compare);
	if (!found || *found != copy)
		free(copy);
	return found ? 0 : -ENOMEM;
}

static void link_del(void **root, struct link *link)
{
	tdelete(link, root, link_compare);
	free(link);
}

int import_links_add(struct importing *im, const struct import_attr *attr,
                     uint64_t ino)
{
	const struct link link = {attr->ino, attr->dev, ino,
	                          attr->inode.nlink - 1};
	const struct link claim = {ino, 0, 0, 0};
	int err = link_add(&im->links, &link);

	return err ? err : link_add(&im->claimed, &claim);
}

bool import_links_has(struct importing *im, const struct import_attr *attr)
{
	return link_find(&im->links, attr->ino, attr->dev);
}

bool import_links_take(struct importing *im, const struct import_attr *attr,
                       uint64_t *ret_ino)
{
	struct link *link = link_find(&im->links, attr->ino, attr->dev);

	if (!link)
		return false;
	*ret_ino = link->to;
	if (link->left && !--link->left)
		link_del(&im->links, link);
	return true;
}

bool import_links_claimed(struct importing *im, uint64_t ino)
{
	return link_find(&im->claimed, ino, 0);
}

void import_links_release(struct importing *im)
{
	tdestroy(im->links, free);
	tdestroy(im->claimed, free);
}
