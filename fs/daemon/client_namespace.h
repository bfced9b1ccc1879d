/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A private mount namespace of the command, in which a program finds other
 * directories at the paths that it expects.
 */
#ifndef COPPICE_CLIENT_NAMESPACE_H
#define COPPICE_CLIENT_NAMESPACE_H

/*
 * Move this single-threaded process to a new mount namespace.  The namespace
 * starts with all mounts of the former one; later mounts and unmounts in one do
 * not show in the other.  In a chroot(2) to a directory that is not the root of
 * a mount, this is true only of the mount that contains the absolute path `at`.
 * Without the privilege for a namespace, the process is moved to a new user
 * namespace, too, which maps only its user and group; the process has all
 * capabilities there until it executes a program.  On failure *ret_error is the
 * error message, to be freed.
 */
int client_namespace_enter(const char *at, char **ret_error);

/*
 * Bind-mount the directory `from` over the directory `at`.  On failure
 * *ret_error is the error message, to be freed.
 */
int client_namespace_bind(const char *from, const char *at, char **ret_error);

#endif
