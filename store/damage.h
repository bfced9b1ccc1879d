/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log of damaged blocks.  Inside store/ only. */
#ifndef COPPICE_DAMAGE_H
#define COPPICE_DAMAGE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Damaged blocks that were logged lately: each is logged once. */
struct damage_log {
	pthread_mutex_t lock; /* guards the rest; no other is taken under it */
	uint64_t numbers[1024];
	size_t next;
};

#endif
