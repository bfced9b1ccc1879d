/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts being served: one session each, and what they know of each other.
 * How their caches are kept coherent is in coherence.h.
 *
 * Locks, in the order they are taken: mounts.policy, mounts.append,
 * coherence.lock, the store's, and, each last of all, those of known,
 * negatives, the watchdog, session.lock and notifier.lock.
 */
#ifndef COPPICE_SESSION_H
#define COPPICE_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "fs.h"
#include "lookups.h"
#include "loop.h"
#include "negative.h"
#include "notifier.h"
#include "watchdog.h"
#include "protocol.h"

struct fuse_session;
struct fuse_lowlevel_ops;
struct session;
struct mounts;
struct coherence;
struct inval;

/* What one mount is to be. Strings are the caller's. */
struct session_params {
	int fd;         /* /dev/fuse, mounted; taken over on success */
	uint64_t state; /* the state that is its root; 0: the whole store */
	uint32_t generation; /* of that state */
	bool state_readonly;
	enum fs_snapdir snapdir;
	bool rmdir_always;
	bool sync;              /* changes are durable when they are answered */
	bool no_export;         /* refuse file handles */
	const char *mountpoint; /* as the client called it, to be told */
	const char *device;     /* its st_dev as MAJOR:MINOR */
};

enum { SESSION_STATES_CACHED = 1024 };

/* All sessions of a daemon. */
struct mounts {
	struct fs *fs;
	struct coherence *coherence;
	/*
	 * Held to read while a request is handled; to write while a session
	 * comes or goes, so that all see the same sessions.
	 */
	pthread_rwlock_t policy;
	/*
	 * Guarded by policy, as the next three; changed with the store's lock
	 * held, too.
	 */
	struct session *first;
	unsigned count;
	unsigned whole;    /* of them, mounts of the whole store */
	uint64_t *mounted; /* states that are shared, sorted */
	size_t mounted_count;
	/* number << 1 | readonly, at number % SESSION_STATES_CACHED */
	_Atomic uint64_t states[SESSION_STATES_CACHED];
	/* Called, from its own thread, when a session has ended. */
	void (*ended)(void *arg);
	void *ended_arg;
	pthread_mutex_t append; /* makes an append to a shared file one step */
	_Atomic uint64_t next_id;
	/* Sessions that could not be freed; guarded by policy. */
	struct session *left;
	_Atomic int64_t threads_logged; /* see watchdog.h */
};

struct session {
	struct session *next; /* guarded by mounts.policy */
	struct mounts *mounts;
	struct fs *fs;
	struct fuse_session *fuse;
	struct lookups *lookups;
	struct protocol protocol; /* written while INIT is answered */
	int fd;                   /* the device */
	int init_fd;              /* gives what libfuse answers to INIT */
	uint64_t state;
	bool state_readonly;
	bool rmdir_always;
	_Atomic bool sync; /* changes are durable when they are answered */
	enum fs_snapdir snapdir;
	char *mountpoint;
	char *device;
	uint64_t id;
	struct negatives *negatives;
	struct loop *loop;
	struct watchdog watchdog;
	struct notifier *notifier, *name_notifier;
	_Atomic uint64_t epoch; /* see coherence_epoch() */
	/* guarded by coherence.lock, as what follows up to hang_logged */
	struct inval *invals_oldest, *invals_newest;
	size_t invals_count;
	unsigned deferred_background;
	bool hang_logged;
	pthread_mutex_t lock; /* guards refs */
	unsigned refs; /* who holds a pointer, requests to answer included */
};

/* fs stays the caller's. */
int mounts_init(struct mounts *mounts, struct fs *fs, void (*ended)(void *arg),
                void *ended_arg);
/* All sessions must have ended. */
void mounts_release(struct mounts *mounts);
unsigned mounts_count(struct mounts *mounts);
/* Call fn with each session, until it returns nonzero, and return that. */
int mounts_each(struct mounts *mounts,
                int (*fn)(void *arg, struct session *session), void *arg);

/*
 * Begin to serve a mount; it lives until the kernel lets go of it.
 * *ret_id names it.
 */
int session_start(struct mounts *mounts, const struct session_params *params,
                  uint64_t *ret_id);
/* End it though the kernel still has it: requests then fail there. */
void session_abort(struct session *session);
void session_ref(struct session *session);
void session_unref(struct session *session);

/* Return true if another session reaches the state, and it can change. */
bool session_shares(struct session *session, uint64_t state);

/*
 * Node numbers: those of the one state a session mounts are the inode's own
 * there, so that the root has the number the kernel wants it to have.
 */
static inline node_t session_node(const struct session *session, uint64_t ino)
{
	if (session->state && NODE_STATE(ino) == 0)
		return NODE(session->state, ino);
	return ino;
}

static inline uint64_t session_ino(const struct session *session, node_t node)
{
	if (session->state && NODE_STATE(node) == session->state)
		return NODE_INO(node);
	return node;
}

/*
 * Return true if the session's root directory is the node or leads to it: a
 * mount of a state reaches no other state but, where it shows a fork's .snap,
 * the snapshots in there.  Takes the store's lock.
 */
bool session_reaches(const struct session *session, node_t node);

/* ---- Changes over the control socket ------------------------------------ */

/*
 * Invalidate what all sessions have cached of states that were deleted: what is
 * open before this returns, the rest soon.
 */
void mounts_states_gone(struct mounts *mounts);
/*
 * The same for a name that came (fresh) or went in the root directory (fork 0)
 * or in a fork's .snap.
 */
void mounts_name_changed(struct mounts *mounts, uint64_t fork, const char *name,
                         bool fresh);

/* ---- Between session.c, mounted_states.c, and others ----------------------
 */

extern const struct fuse_lowlevel_ops handlers;
extern const size_t handlers_size;

enum { KEEP_FOR_LONG = 86400 }; /* seconds, for the kernel */

/* Answer ESTALE to a request about a node that the session does not reach. */
bool reach_refuse(const struct session *session, const void *request,
                  size_t len);

/* Answer the request if it is one that statx.c is for. */
bool statx_answer(struct session *session, const void *request, size_t len);

/*
 * Return true if a session's kernel may mean a state that was deleted by the
 * number; else forget what is remembered of it.  Store's lock held.
 */
bool mounted_states_in_use(void *arg, uint64_t number);

/* With policy held to write: the session comes (-ENOMEM), or goes. */
int mounted_states_join(struct mounts *mounts, struct session *session);
void mounted_states_leave(struct mounts *mounts, struct session *session);

/* References to all sessions but one, in an array to be freed. */
int mounts_others(struct mounts *mounts, const struct session *but,
                  struct session ***ret_sessions, size_t *ret_count);

#endif
