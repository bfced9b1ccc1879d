/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processes that keep a mount busy, or alive, or a file locked.  They are
 * looked up in /proc, as far as the caller may read it, and without calls into
 * the mounted file system, which may hang.
 */
#ifndef COPPICE_HOLDERS_H
#define COPPICE_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "mountinfo.h"

enum { HOLDERS_TEXT = PATH_MAX + 512 };

/*
 * Describe the users that prevent unmounting: a mount in it, or the processes
 * that use the mount by open files, directories and mappings, as "12 (vi), 34
 * (sh) and 5 more".  Return false if nothing was found.
 */
bool holders_busy(const struct mount_entry *mount, char ret_text[HOLDERS_TEXT]);

/*
 * Describe, in a clause, what keeps the file system on this device
 * (MAJOR:MINOR) alive after one of its mounts is gone: another mount here,
 * processes in mount namespaces that have a mount, or processes that have its
 * files open.  Return false if nothing was found.
 */
bool holders_elsewhere(const char *device, char ret_text[HOLDERS_TEXT]);

/*
 * Describe the process that has a file locked by flock(2), as "12 (vi)". Return
 * false if none was found: it may be of another PID namespace.
 */
bool holders_lock(const char *path, char ret_text[HOLDERS_TEXT]);

#endif
