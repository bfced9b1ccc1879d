/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records every write and sync that is made to a store's data.mdb and to its
 * intent log, and makes some of them fail: the system calls' names are defined
 * in the program itself, so that LMDB's calls end here.
 */
#ifndef COPPICE_SHIM_H
#define COPPICE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The bytes of the file that a disk writes at once, or not. */
enum { SECTOR = 512 };

/* The files of a store that are recorded. */
enum recorded { RECORDED_DATA, RECORDED_LOG, RECORDED_FILES };
extern const char *const recorded_names[RECORDED_FILES];

enum event_kind {
	EVENT_WRITE,
	EVENT_TRUNCATE,
	EVENT_SYNC,
	/*
	 * A sync that failed.  Any of what was written before may be on disk;
	 * the system takes it for written, and no later sync writes it.
	 */
	EVENT_LOST_SYNC,
};

struct event {
	enum event_kind kind;
	enum recorded file;
	bool synced; /* EVENT_WRITE: was on disk when the call returned */
	off_t off;   /* EVENT_TRUNCATE: the new size */
	size_t len;
	uint8_t *data;
	/* The last value of shim_tell() before the call. */
	uint64_t issued, acked;
};

struct recording {
	/* The files when the recording began; a missing one is empty. */
	uint8_t *base[RECORDED_FILES];
	size_t base_len[RECORDED_FILES];
	struct event *events;
	size_t len, room;
};

/* From now on, everything done to the files of the store at the path. */
void shim_start(const char *path);
/* Return the recording; the caller owns it. */
struct recording shim_stop(void);
void recording_release(struct recording *recording);

/*
 * Make calls to the files fail that write, sync or change its size.  To be used
 * after shim_start(), and over again.
 */
enum fail_how {
	FAIL_NOTHING, /* is done */
	FAIL_DONE,    /* a write is done all the same */
	/*
	 * Half of a write is done, and nothing said but that.  A sector of the
	 * file is written whole or not: one within a sector fails undone.
	 */
	FAIL_SHORT,
	FAIL_HOWS,
};
struct failing {
	bool meta_only;   /* of the writes through a descriptor that syncs */
	bool grants_only; /* of the calls that take disk space */
	uint64_t pass;    /* so many are let through first */
	uint64_t count;   /* so many fail then */
	int error;
	enum fail_how how;
};
void shim_fail(const struct failing *failing);
/* Return how many have failed since shim_fail(), and how many succeeded. */
uint64_t shim_failed(void);
uint64_t shim_passed(void);

/* Return how many changes were begun, and how many are known to be durable. */
void shim_tell(uint64_t issued, uint64_t acked);

#endif
