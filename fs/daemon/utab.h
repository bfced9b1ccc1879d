/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table in which mount(8) notes what the kernel does not (/run/mount/utab).
 *
 * umount(8), run by root with an absolute path, asks the kernel for no more
 * than "fuse" as the type of a mount, and calls no helper of ours, unless that
 * table names one.  The helper makes everything durable; without it umount(8)
 * returns before the daemon has written what it has in memory.
 */
#ifndef COPPICE_UTAB_H
#define COPPICE_UTAB_H

/* Note the helper for a mount, where it is installed and we are root. */
void utab_add(const char *source, const char *mountpoint);
/* Remove what utab_add() noted. */
void utab_remove(const char *mountpoint);

#endif
