/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The attributes of exported files: owner, mode, times and extended attributes.
 * What only root may set is left out for others.
 */
#ifndef COPPICE_EXPORT_ATTR_H
#define COPPICE_EXPORT_ATTR_H

#include <sys/stat.h>

#include "import_code.h"

struct export_attr {
	struct import_attr attr;
	struct import_bytes xattrs; /* encoded: names and values */
};

/* Copy the attributes, and the bytes that they refer to.  -ENOMEM */
int export_attr_copy(struct export_attr *to, const struct export_attr *from);
/* Free what export_attr_copy() has made. */
void export_attr_release(struct export_attr *copy);

/*
 * Give a file its attributes.  The descriptor may be of O_PATH; then that of a
 * symlink, too.
 */
int export_attr_set(int fd, const struct export_attr *want);
/* Do the same for what is not to be opened and has this type. */
int export_attr_set_name(int dir, const char *name,
                         const struct export_attr *want);
/*
 * Return 1 if a name, whose lstat(2) is `st`, has other attributes than wanted,
 * the time of access aside; 0 if not; or an error.
 */
int export_attr_differ(int dir, const char *name, const struct stat *st,
                       const struct export_attr *want);

#endif
