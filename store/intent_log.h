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
 * In a large log, changes that do not fit one entry go into several, a run.
 * The lock is released between them, so the changes are consistent only at the
 * end of a run.  A run is replayed if all of it is there.
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

/* The last 8 bytes are left out if halves have INTENT_HALF bytes. */
enum { INTENT_RECORD_LEN = INTENT_NONCE + 8 + 8 };

/* A part of struct store; the store's lock guards it. */
struct intent_log {
	int fd;           /* -1: there is no file */
	bool active;      /* the open group's commit will have the record */
	bool wanted;      /* the next commit begins its use */
	bool unusable;    /* the file could not be made: do not try again */
	unsigned paused;  /* calls of intent_log_pause() not yet resumed */
	uint64_t half;    /* bytes of a half in use; 0: none */
	uint64_t room;    /* bytes of a half that the file has space for */
	uint64_t need;    /* bytes of a group that should fit */
	bool stays;       /* there is no space for a larger file */
	unsigned calls;   /* of store_log() while the log is not in use */
	size_t entry_max; /* bytes of an entry; less in tests */
	uint8_t nonce[INTENT_NONCE];
	uint64_t number;        /* of the open group, in the log */
	struct waiter *waiters; /* for the next write */
	bool writing;           /* a thread writes entries */
	/*
	 * Entries that are left to the thread since several callers waited at
	 * once, or one found its changes logged.  0: a caller writes its own.
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
 * Before the open group is closed, begin to use the log if that is wanted.
 * Lock held, and released meanwhile.
 */
void intent_log_prepare(struct store *store);
/*
 * Encode the rest of the open group, which is about to be closed, and track the
 * changes of `next`, which will be the open one.  -ENOMEM.  Lock held.
 */
int intent_log_close_txg(struct store *store, struct txg *next);
/* Drop the last entry of the syncing group, which was committed.  Lock held. */
void intent_log_committed(struct store *store);
/* Let the thread write for the waiters, if that is possible.  Lock held. */
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
 * intent_replay.c: while the store is opened, add the changes that only the log
 * has to the open group.  If the store is open for writing, their commit ends
 * the use of the log.  Lock NOT held.  -EUCLEAN: the changes are malformed; the
 * group must not be committed.
 */
int intent_log_replay(struct store *store);

#endif
