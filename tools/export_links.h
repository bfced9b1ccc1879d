/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hard links of an export's target. */
#ifndef COPPICE_EXPORT_LINKS_H
#define COPPICE_EXPORT_LINKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* All zero at first. */
struct export_links {
	void *made;    /* tree of inodes of the state with several names */
	void *claimed; /* tree of inodes of the target that have several names
	                */
};

/* The first name of an inode with several names. */
struct export_link {
	uint64_t ino;   /* in the state; the first field for number_compare() */
	char *path;     /* below the top, with a slash before each name */
	bool is_change; /* a dry run found that it would be replaced */
};

/* Note the first name of an inode.  -EPROTO: there is one; -ENOMEM. */
int links_add(struct export_links *links, uint64_t ino, const char *path,
              const char *name, bool is_change);
/* Return the first name of an inode; NULL: it could not be made. */
const struct export_link *links_find(const struct export_links *links,
                                     uint64_t ino);
/* Open the directory of the first name, without leaving `top`. */
int link_parent_open(const struct export_link *link, int top);

/*
 * Note that a file of the target stays under a name.  Return 0; -EEXIST if it
 * stays under another one already, which in the state is another file; -ENOMEM.
 */
int links_claim(struct export_links *links, const struct stat *st);
/* Return true if a file of the target stays under a name already. */
bool links_has(const struct export_links *links, const struct stat *st);
void links_release(struct export_links *links);

#endif
