/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory on which coppice run mounts its forks, and the one in which its
 * commands start.
 */
#ifndef COPPICE_RUN_SITE_H
#define COPPICE_RUN_SITE_H

#include <limits.h>
#include <stdbool.h>

struct run_site {
	char at[PATH_MAX];   /* the directory that a fork is mounted on */
	char dir[PATH_MAX];  /* in which the command starts */
	char root[PATH_MAX]; /* a mount of the whole store, in which forks are
	                        directories; "": none */
	unsigned long flags; /* ST_NODEV etc.: of the mount that is covered, or
	                        else the defaults of a mount */
	bool is_unmounted;   /* no mount keeps a daemon of the store running */
};

/*
 * Find the place for forks of `fork`: `at`, or, if that is NULL, the directory
 * where `fork` is mounted.  `here` is the state of the store that the working
 * directory is in, or NULL.  Commands start at the same path of their fork if
 * the working directory is in a state, else in the fork's root, or in the
 * working directory if that is below `at`.  Complain about errors, and return
 * an exit code.
 */
int run_site_find(const char *store, const char *here, const char *fork,
                  const char *at, struct run_site *ret_site);

#endif
