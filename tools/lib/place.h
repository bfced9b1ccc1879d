/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stores that this process has open.  LMDB does not allow a process to open
 * a file twice: closing one of the two drops the locks of both.  The layers
 * below leave this to the program that uses them.  A library cannot, so it
 * keeps one list for all handles of the process.
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

/*
 * Add the directory `path` to the list.  -EBUSY: this process has the store
 * open; or an error of stat(2).
 */
int place_take(struct place *place, const char *path);
/* Remove a place, if it was taken. */
void place_release(struct place *place);

#endif
