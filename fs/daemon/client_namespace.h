/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A mount namespace of the command's own, for a program that is to find other
 * directories in places that it knows.
 */
#ifndef COPPICE_CLIENT_NAMESPACE_H
#define COPPICE_CLIENT_NAMESPACE_H

/*
 * Move this single-threaded process to a new mount namespace.  It has all
 * mounts of the former one; what is mounted and unmounted in one of the two
 * later does not show in the other.  In a chroot(2) to a directory that is not
 * the root of a mount, this holds for the mount of the absolute path `at`
 * alone. Without the privilege for a namespace, the process is moved to a new
 * user namespace, too, which has its own user and group alone, and where it has
 * all capabilities until it executes a program.  On failure *ret_error is the
 * error message, to be freed.
 */
int client_namespace_enter(const char *at, char **ret_error);

/*
 * Mount the directory `from` on the directory `at`, too, over what is
 * there.  On failure *ret_error is the error message, to be freed.
 */
int client_namespace_bind(const char *from, const char *at, char **ret_error);

#endif
