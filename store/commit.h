/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The committer: the thread that writes transaction groups.  Inside store/
 * only. */
#ifndef COPPICE_COMMIT_H
#define COPPICE_COMMIT_H

struct store;
struct waiter;

/* Start the thread.  Return 0 or a negative errno. */
int commit_start_thread(struct store *store);
/*
 * Commit the pending changes and end the thread.  If commits fail for too long,
 * return the last error.
 */
int commit_stop_thread(struct store *store);
/*
 * Wait until all changes made so far are on disk.  Lock held, and released
 * meanwhile.
 */
int commit_wait_all(struct store *store);
/* Ask for a commit of the open group.  Lock held. */
void commit_ask(struct store *store);
/* Move all waiters to the front of another list. */
void waiters_take(struct waiter **from, struct waiter **to);
/* Call the waiters and free them.  Lock NOT held. */
void waiters_call(struct waiter *waiter, int err);

#endif
