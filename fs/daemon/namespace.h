/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's mount namespace. */
#ifndef COPPICE_NAMESPACE_H
#define COPPICE_NAMESPACE_H

/*
 * Move this single-threaded process to the mount namespace and root directory
 * of the farthest ancestor for which `path` leads to the open directory `dir`;
 * stay if there is none, or without the privilege to move.  The working
 * directory may change.
 *
 * Return 0 if `path` leads to `dir` afterwards, -ESTALE if it does not, or
 * another error if the process could not return to its own namespace.
 */
int namespace_leave(const char *path, int dir);

#endif
