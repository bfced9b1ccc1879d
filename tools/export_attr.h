/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The attributes of exported files: owner, mode, times and extended attributes.
 * Users other than root skip the attributes that only root may set.
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
/* Free the copy's xattrs. */
void export_attr_release(struct export_attr *copy);

/*
 * Set the attributes of an open file.  The descriptor may be O_PATH, even of a
 * symlink.  Return 0 or a negative errno.
 */
int export_attr_set(int fd, const struct export_attr *want);
/*
 * Set the attributes of a file that must not be opened, such as a device.
 * -ESTALE: it has another type than wanted.
 */
int export_attr_set_name(int dir, const char *name,
                         const struct export_attr *want);
/*
 * Return 1 if a name, whose lstat(2) is `st`, has other attributes than wanted,
 * except for the atime; 0 if not; or a negative errno.
 */
int export_attr_differ(int dir, const char *name, const struct stat *st,
                       const struct export_attr *want);

#endif
