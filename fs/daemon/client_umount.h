/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unmounting, in the command's process. */
#ifndef COPPICE_CLIENT_UMOUNT_H
#define COPPICE_CLIENT_UMOUNT_H

/*
 * Unmount, and return when everything is durable and the mount is gone.  `path`
 * is the mount point, or the store if it is mounted at one place.  With
 * MNT_DETACH in flags the mount may live on for its users; with MNT_FORCE
 * requests under way fail, and the call waits for nothing.  Without MNT_FORCE,
 * a mount that is in use by no process that the caller can see is tried again
 * for two seconds; one whose user is found is refused at once (-EBUSY).
 * On failure *ret_error is the error message, to be freed.
 */
int client_umount(const char *path, int flags, char **ret_error);

#endif
