/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The intent log: a file beside LMDB's in which changes become durable by one
 * sync, before the commit of their transaction group.  The protocol is in
 * coppice-format(5).  Inside store/ only.
 *
 * The log is in use from the first fsync of an opening on.  The commit that
 * begins its use sets a feature bit and the record INTENT_RECORD, with a random
 * number, the nonce; each commit counts the record's group number up; a commit
 * that ends its use removes both.  An entry belongs to the group after the one
 * of the record.  So a commit makes the entries of its group void.
 *
 * Groups alternate between two halves of the file.  The entries of the open
 * group may be written while the syncing group is being committed, if the log
 * has all of the syncing group, too: its last entry says so.
 *
 * In a large log, changes that do not fit one entry go into several, a run. The
 * lock is released between them, so the state that they add up to is that of
 * the last one, and a run is replayed if all of it is there.
 */
#ifndef COPPICE_INTENT_LOG_H
#define COPPICE_INTENT_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "intent_file.h"
#include "intent_header.h"

struct store;
struct txg;
struct waiter;

#define INTENT_RECORD "log" /* of TABLE_META */

/* Without the last 8 bytes if halves have INTENT_HALF. */
enum { INTENT_RECORD_LEN = INTENT_NONCE + 8 + 8 };

/* A part of struct store; the store's lock guards it. */
struct intent_log {
	int fd;           /* -1: there is no file */
	bool active;      /* the open group's commit will have the record */
	bool wanted;      /* the next commit begins its use */
	bool unusable;    /* it could not be made: not tried again */
	unsigned paused;  /* it must not be begun to be used */
	uint64_t half;    /* bytes of a half as it is used; 0: none */
	uint64_t room;    /* bytes of a half that the file has space for */
	uint64_t need;    /* bytes that a group should have room for */
	bool stays;       /* there is no space for a larger one */
	unsigned calls;   /* of store_log() without it */
	size_t entry_max; /* bytes of an entry; less in tests */
	uint8_t nonce[INTENT_NONCE];
	uint64_t number;        /* of the open group, in the log */
	struct waiter *waiters; /* for the next write */
	bool writing;           /* a thread does that */
	/*
	 * Entries for the thread to write, as several have waited for one, or
	 * one had been written for them.  0: a caller writes its own.
	 */
	unsigned crowd;
	pthread_t thread;
	pthread_cond_t wake; /* of the thread */
	bool thread_runs;
	bool stopping; /* the thread is to end */
	struct intent_entry next;
	struct intent_entry last; /* of the syncing group; not yet written */
	bool chained;             /* the log has all of the syncing group */
	uint64_t logged;   /* entries written since the store was opened */
	uint64_t replayed; /* entries replayed then */
};

void intent_log_init(struct intent_log *log);
void intent_log_release(struct intent_log *log);
/* Return true if the log may take changes of any size.  Lock held. */
bool intent_log_has_runs(const struct store *store);

/*
 * Before the open group is closed: begin to use the log if that is wanted.
 * Lock held, and released meanwhile.
 */
void intent_log_prepare(struct store *store);
/*
 * Note that the open group is about to be closed; `next` will be the open one.
 * -ENOMEM.  Lock held.
 */
int intent_log_close_txg(struct store *store, struct txg *next);
/* Note that the syncing group was committed.  Lock held. */
void intent_log_committed(struct store *store);
/* Have the thread write for those who wait, if that is possible.  Lock held. */
void intent_log_serve(struct store *store);
/*
 * Make the next commit end the use of the log, and keep it from being used
 * until intent_log_resume().  Lock held.  -ENOMEM.
 */
int intent_log_pause(struct store *store);
void intent_log_resume(struct store *store);
/* Make the next commit end the use of the log.  Lock held.  -ENOMEM. */
int intent_log_end(struct store *store);
/* End the thread that writes the log.  Lock NOT held. */
void intent_log_stop_thread(struct store *store);
/* Delete the file, after a commit that has ended its use. */
void intent_log_remove(struct store *store);

/*
 * intent_replay.c: add the changes that only the log has to the open group of a
 * store that is being opened.  Their commit, if the store is open for writing,
 * ends the use of the log.  Lock NOT held.  -EUCLEAN: they are malformed; the
 * group must not be committed.
 */
int intent_log_replay(struct store *store);

#endif
