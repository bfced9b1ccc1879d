/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stores that this process has open.  LMDB does not allow a process to open
 * a file twice: closing one of the two drops the locks of both.  The static
 * libraries of the layers leave that to their program; a library cannot, so it
 * has the one list that all handles of a process share.
 */
#ifndef COPPICE_LIB_PLACE_H
#define COPPICE_LIB_PLACE_H

#include <sys/types.h>

/* A store's directory. */
struct place {
	struct place *next;
	dev_t dev;
	ino_t ino;
	pid_t pid; /* 0: not taken */
};

/* Take a place.  -EBUSY: this process has it. */
int place_take(struct place *place, const char *path);
/* Give it back, if it was taken. */
void place_release(struct place *place);

#endif
