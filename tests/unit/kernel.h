/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A mount whose kernel is the test: it sends requests of any kind over a
 * socket that stands for /dev/fuse, and gets the answers.
 */
#ifndef COPPICE_KERNEL_H
#define COPPICE_KERNEL_H

#include <linux/fuse.h>

#include "fs_fixture.h"
#include "session.h"

struct kernel {
	struct mounts mounts;
	int fd;
	uint64_t unique;
	uint32_t uid, pid;    /* whose the requests are */
	pthread_mutex_t lock; /* guards `ended` */
	pthread_cond_t end;
	bool ended;
	uint64_t forgotten; /* node of the last FUSE_NOTIFY_INVAL_INODE */
	uint64_t watched; /* a node whose invalidations of pages are counted */
	unsigned dropped; /* their number */
	uint64_t dropped_end; /* the greatest end of them */
	uint32_t agreed;      /* the flags in the answer to INIT */
	size_t len;           /* of the last answer, its header left out */
	uint8_t data[8192];   /* the last answer, likewise */
};

/* Mount the state (0: the whole store) and answer to INIT. */
void kernel_mount(struct kernel *k, struct fixture *w, uint64_t state,
                  enum fs_snapdir snapdir);
/* The same with the state, snapdir and no_open of the parameters. */
void kernel_mount_with(struct kernel *k, struct fixture *w,
                       const struct session_params *params);
void kernel_umount(struct kernel *k);

/* Send a request without waiting for an answer. */
void kernel_send(struct kernel *k, uint32_t opcode, uint64_t nodeid,
                 const void *arg, size_t len);
/* Wait for the answer to the last request: 0, or a negative errno. */
int kernel_receive(struct kernel *k);
/* Both. */
int kernel_ask(struct kernel *k, uint32_t opcode, uint64_t nodeid,
               const void *arg, size_t len);

#endif
