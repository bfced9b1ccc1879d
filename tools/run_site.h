/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The place at which coppice run shows its forks, and the directory in which
 * its commands start.
 */
#ifndef COPPICE_RUN_SITE_H
#define COPPICE_RUN_SITE_H

#include <limits.h>
#include <stdbool.h>

struct run_site {
	char at[PATH_MAX];   /* the directory that a fork is mounted on */
	char dir[PATH_MAX];  /* in which the command starts */
	char root[PATH_MAX]; /* a mount of the whole store, in which forks are
	                        directories; "": there is none */
	unsigned long flags; /* ST_NODEV and so on: of the mount that is there,
	                        or else the defaults of a mount */
	bool is_unmounted;   /* no mount keeps a daemon of the store running */
};

/*
 * Find the place for forks of `fork`: `at`, or if it is NULL the directory in
 * which `fork` stands.  `here` is the state of the store that the working
 * directory is in, or NULL.  The working directory is mapped to the same path
 * in the fork if it is in a state, and else to the fork's root.  Complains
 * itself and returns an exit code.
 */
int run_site_find(const char *store, const char *here, const char *fork,
                  const char *at, struct run_site *ret_site);

#endif
