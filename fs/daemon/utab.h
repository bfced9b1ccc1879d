/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mount(8)'s own table of mounts, /run/mount/utab.
 *
 * When root runs umount(8) with an absolute path, it sees only "fuse" as the
 * type of a mount, and does not run our helper unless the table names it.  The
 * helper makes everything durable; without it umount(8) returns before the
 * daemon has written the changes in its memory.
 */
#ifndef COPPICE_UTAB_H
#define COPPICE_UTAB_H

/* Add the helper of a mount, if it is installed and the caller is root. */
void utab_add(const char *source, const char *mountpoint);
/* Remove the entry that utab_add() has added. */
void utab_remove(const char *mountpoint);

#endif
