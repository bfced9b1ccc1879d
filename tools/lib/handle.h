/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The structs of the library's handles, and the checks and errors that its
 * functions share.
 */
#ifndef COPPICE_LIB_HANDLE_H
#define COPPICE_LIB_HANDLE_H

#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "batch_code.h"
#include "coppice.h"
#include "fs.h"
#include "place.h"

/* A version that handles of snapshots hold beside a process that writes. */
struct marked {
	uint64_t version;
	size_t holds;
};

struct coppice {
	const volatile bool *own; /* false in a process that was forked */
	char *path;
	bool readonly; /* the caller changes nothing */
	bool beside;   /* another process may be writing to the store */
	struct place place;
	struct store *store;
	struct forest *forest;
	struct fs *fs;
	/* guarded by the store's lock */
	struct marked *marked; /* ascending */
	size_t marked_len, marked_room;
	/* the daemon that has the store, for changes */
	pthread_mutex_t socket_lock;
	int socket;  /* -1: none; guarded by socket_lock from opening on */
	bool remote; /* changes go through the daemon */
	atomic_int event_fd;           /* see event.c; -1: none */
	_Atomic uint64_t event_commit; /* the last commit that was reported */
};

struct coppice_state {
	struct coppice *store;
	uint64_t number;
	uint32_t generation;
	bool readonly;
	struct state_hold hold; /* of a snapshot; guarded by the store's lock */
	struct known_dirs *_Atomic dirs; /* see path.c; NULL: none yet */
};

struct coppice_batch {
	struct coppice *store;
	struct batch_bytes bytes;
	uint64_t number; /* fork of the last operation; 0: none */
};

/* ---- Beginning ---------------------------------------------------------- */

/* Return -ECHILD if the process is not the one that opened the store. */
int store_check(const struct coppice *store);
/* Return -ECHILD likewise, or -EROFS. */
int store_check_writable(const struct coppice *store);
/* Return -EINVAL if unknown flags are set. */
int flags_check(unsigned flags, unsigned known);

/* Return true if the caller's struct has room for a field. */
#define HAS_FIELD(p, field)                                                    \
	((p)->size >= offsetof(__typeof__(*(p)), field) + sizeof((p)->field))
/*
 * Copy a filled-in struct to the caller's, as far as that has room.  `size`
 * comes first in both and keeps the caller's value.
 */
#define STRUCT_RETURN(ret, from)                                               \
	struct_return(ret, (ret)->size, &(from), sizeof(from))
int struct_return(void *ret, size_t room, const void *from, size_t size);

/* ---- Failing ------------------------------------------------------------ */

/* Describe a failure for coppice_error(), and return err, which is negative. */
int fail_text(int err, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Describe a failure as "cannot VERB 'NAME': REASON". */
int fail_name(int err, const char *verb, const char *name);
/* Describe a failure as "cannot VERB 'PATH' in 'STATE': REASON". */
int fail_path(int err, const char *verb, const struct coppice_state *state,
              const char *path, size_t len);
/* Return the reason for an error in a few words. */
const char *error_reason(int err);

/* ---- The tree of a state ------------------------------------------------ */

/*
 * Return the tree of a state as it is now.  Lock held.  -ESTALE: it was
 * deleted.
 */
int state_tree_now(struct coppice_state *state, struct tree **ret_tree);
/*
 * Hold the tree of a state as it is now.  Lock held.  A process that reads
 * beside the one that writes cannot hold the tree of a fork: then the hold is
 * empty.
 */
int state_hold_now(struct coppice_state *state, struct state_hold *ret_hold);
/*
 * Call fn with `tree`, which is held, or if that is NULL, with the tree of the
 * state as it is now.  The lock is shared.  If fn returns -EAGAIN because data
 * is missing in memory, fn is called once more, with the lock held.
 */
int state_look(struct coppice_state *state, struct tree *tree,
               int (*fn)(struct coppice_state *state, struct tree *tree,
                         void *arg),
               void *arg);
/*
 * Find a path in a tree.  Lock held or shared.  *ret_type: DT_*.  -ENOENT;
 * -ENOTDIR; -ENAMETOOLONG; -EINVAL: the path has "." or ".." in it.
 */
int state_path(struct coppice_state *state, struct tree *tree, const char *path,
               uint64_t *ret_ino, uint8_t *ret_type);

void known_dirs_destroy(struct known_dirs *dirs); /* or NULL */
/*
 * Return the key of a path's entry in its directory, as a hint for tree_warm().
 * The key's inode is 0 if the directory is not known.  Lock held or shared.
 */
struct key state_path_key(struct coppice_state *state, struct tree *tree,
                          const char *path);

/* Return true if a file can have the range of a read. */
static inline bool range_possible(const struct coppice_get *get)
{
	return get->size <= SSIZE_MAX && get->offset <= INT64_MAX;
}

/*
 * Do one read of `tree`, which is held, or if that is NULL, of the state as it
 * is now.  The result is that of coppice_get(), without a message.
 */
ssize_t get_one(struct coppice_state *state, struct tree *tree,
                const struct coppice_get *get);

/* Return the time in nanoseconds since 1970. */
static inline int64_t timestamp_ns(struct timestamp t)
{
	return t.sec * INT64_C(1000000000) + t.nsec;
}
enum coppice_type mode_type(uint32_t mode);

/* ---- Requests ----------------------------------------------------------- */

/*
 * Return a request of a verb, then pairs of keys and texts, then NULL.  A pair
 * whose text is NULL is left out.  NULL: no memory.
 */
json_t *request_new(const char *verb, ...) __attribute__((sentinel));
/* Set a flag of a request, which may be NULL; return the request. */
json_t *request_flag(json_t *request, const char *key);
/*
 * Run a request of control.h in the daemon or here, and release it.  A request
 * that is NULL fails with -ENOMEM.  The daemon gets fd, too (-1: none).
 * ret_answer may be NULL.  If the request fails, coppice_error() returns its
 * message.
 */
int request_run(struct coppice *store, json_t *request, int fd,
                json_t **ret_answer);
/*
 * Run a request that changes the store.  A change that the daemon made is
 * durable afterwards, so that this process can see it.
 */
int request_change(struct coppice *store, json_t *request);

/* ---- Events ------------------------------------------------------------- */

/* Report a change that this process has made. */
void event_post(struct coppice *store);

/* ---- Holds of readers --------------------------------------------------- */

/*
 * Hold the tree of a snapshot that was just found.  Lock held, and released
 * meanwhile if another process writes to the store.  -ENOENT: it was deleted.
 */
int snapshot_hold(struct coppice *store, struct state *snapshot,
                  struct state_hold *ret_hold);
/* Release the hold; an empty one is allowed.  Lock held. */
void snapshot_release(struct coppice *store, struct state_hold *hold);

#endif
