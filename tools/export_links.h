/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hard links of an export's target. */
#ifndef COPPICE_EXPORT_LINKS_H
#define COPPICE_EXPORT_LINKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* All zero at first. */
struct export_links {
	void *made;    /* tree of struct export_link */
	void *claimed; /* tree of files of the target: see links_claim() */
};

/* The first name of an inode with several names. */
struct export_link {
	uint64_t ino;   /* in the state; must be first, for number_compare() */
	char *path;     /* below the top, with a slash before each name */
	bool is_change; /* a dry run found that it would be replaced */
};

/* Note the first name of an inode.  -EPROTO: it has one already; -ENOMEM. */
int links_add(struct export_links *links, uint64_t ino, const char *path,
              const char *name, bool is_change);
/* Return the first name of an inode; NULL: none could be made. */
const struct export_link *links_find(const struct export_links *links,
                                     uint64_t ino);
/* Open the directory of the first name, without leaving `top`. */
int link_parent_open(const struct export_link *link, int top);

/*
 * Note that a file of the target is kept, under one of its names.  -EEXIST: it
 * is already kept under another name, which in the state is another file;
 * -ENOMEM.
 */
int links_claim(struct export_links *links, const struct stat *st);
/* Return true if links_claim() was called for the file under another name. */
bool links_has(const struct export_links *links, const struct stat *st);
void links_release(struct export_links *links);

#endif
