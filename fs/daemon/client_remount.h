/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changing the flags of a mount, in the command's process. */
#ifndef COPPICE_CLIENT_REMOUNT_H
#define COPPICE_CLIENT_REMOUNT_H

/*
 * Give the mount these flags (MS_RDONLY, MS_NODEV ...) and no others, and
 * return when everything written so far is durable.  On failure *ret_error is
 * the error message, to be freed.
 */
int client_remount(const char *mountpoint, unsigned long flags,
                   char **ret_error);
/* Make the mount read-only and keep its other flags. */
int client_remount_readonly(const char *mountpoint, char **ret_error);

#endif
