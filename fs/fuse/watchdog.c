/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watchdog.h"

#include <linux/fuse.h>

#include "util.h"
#include "whereabouts.h"

#define NS INT64_C(1000000000)

_Static_assert(sizeof(struct fuse_in_header) <= LOOP_HEAD, "all of it");

void watchdog_init(struct watchdog *dog, const char *mountpoint,
                   _Atomic int64_t *threads_logged)
{
	*dog = (struct watchdog){
	        .mountpoint = mountpoint,
	        .threads_logged = threads_logged,
	};
	pthread_mutex_init(&dog->lock, NULL);
}

void watchdog_release(struct watchdog *dog)
{
	pthread_mutex_destroy(&dog->lock);
}

static struct watched watched_of(const void *request)
{
	const struct fuse_in_header *in = request;

	if (!in)
		return (struct watched){0};
	return (struct watched){in->opcode, in->pid, in->nodeid};
}

void watchdog_defer(struct watchdog *dog, struct deferral *deferral)
{
	deferral->request = watched_of(loop_request());
	deferral->since = 0;
	deferral->next = NULL;
	pthread_mutex_lock(&dog->lock);
	deferral->prev = dog->last;
	*(dog->last ? &dog->last->next : &dog->first) = deferral;
	dog->last = deferral;
	pthread_mutex_unlock(&dog->lock);
}

void watchdog_settle(struct watchdog *dog, struct deferral *deferral)
{
	struct deferral *next, *prev;

	pthread_mutex_lock(&dog->lock);
	next = deferral->next;
	prev = deferral->prev;
	*(prev ? &prev->next : &dog->first) = next;
	*(next ? &next->prev : &dog->last) = prev;
	pthread_mutex_unlock(&dog->lock);
}

/* ---- Reports ------------------------------------------------------------ */

static const char *opcode_name(uint32_t opcode)
{
	static const char *const names[] = {
	        [FUSE_LOOKUP] = "LOOKUP",
	        [FUSE_FORGET] = "FORGET",
	        [FUSE_GETATTR] = "GETATTR",
	        [FUSE_SETATTR] = "SETATTR",
	        [FUSE_READLINK] = "READLINK",
	        [FUSE_SYMLINK] = "SYMLINK",
	        [FUSE_MKNOD] = "MKNOD",
	        [FUSE_MKDIR] = "MKDIR",
	        [FUSE_UNLINK] = "UNLINK",
	        [FUSE_RMDIR] = "RMDIR",
	        [FUSE_RENAME] = "RENAME",
	        [FUSE_LINK] = "LINK",
	        [FUSE_OPEN] = "OPEN",
	        [FUSE_READ] = "READ",
	        [FUSE_WRITE] = "WRITE",
	        [FUSE_STATFS] = "STATFS",
	        [FUSE_RELEASE] = "RELEASE",
	        [FUSE_FSYNC] = "FSYNC",
	        [FUSE_SETXATTR] = "SETXATTR",
	        [FUSE_GETXATTR] = "GETXATTR",
	        [FUSE_LISTXATTR] = "LISTXATTR",
	        [FUSE_REMOVEXATTR] = "REMOVEXATTR",
	        [FUSE_FLUSH] = "FLUSH",
	        [FUSE_INIT] = "INIT",
	        [FUSE_OPENDIR] = "OPENDIR",
	        [FUSE_READDIR] = "READDIR",
	        [FUSE_RELEASEDIR] = "RELEASEDIR",
	        [FUSE_FSYNCDIR] = "FSYNCDIR",
	        [FUSE_ACCESS] = "ACCESS",
	        [FUSE_CREATE] = "CREATE",
	        [FUSE_INTERRUPT] = "INTERRUPT",
	        [FUSE_DESTROY] = "DESTROY",
	        [FUSE_IOCTL] = "IOCTL",
	        [FUSE_BATCH_FORGET] = "BATCH_FORGET",
	        [FUSE_FALLOCATE] = "FALLOCATE",
	        [FUSE_READDIRPLUS] = "READDIRPLUS",
	        [FUSE_RENAME2] = "RENAME2",
	        [FUSE_LSEEK] = "LSEEK",
	        [FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE",
	        [FUSE_SYNCFS] = "SYNCFS",
	        /* Newer than some headers. */
	        [51] = "TMPFILE",
	        [52] = "STATX",
	};

	if (opcode < ARRAY_SIZE(names) && names[opcode])
		return names[opcode];
	return "request";
}

static void report(const struct watchdog *dog, const struct watched *request,
                   int64_t age, const char *where)
{
	log_warning("'%s': not answered for %jd s: %s (%u) of node %ju by "
	            "process %u, %s",
	            dog->mountpoint, (intmax_t)(age / NS),
	            opcode_name(request->opcode), request->opcode,
	            (uintmax_t)request->node, request->pid, where);
}

/* Return the reason to wait: the disk (sync), or other mounts. */
static enum watched_kind deferral_kind(const struct deferral *deferral)
{
	bool sync = deferral->request.opcode == FUSE_FSYNC ||
	            deferral->request.opcode == FUSE_FSYNCDIR;

	return sync ? WATCHED_SYNC : WATCHED_OTHER;
}

/*
 * Count the overdue deferrals and copy the oldest of each kind.  Return true if
 * there are any deferrals.
 */
static bool deferred_count(struct watchdog *dog, int64_t now,
                           size_t overdue[WATCHED_KINDS],
                           struct deferral oldest[WATCHED_KINDS])
{
	bool any;

	pthread_mutex_lock(&dog->lock);
	for (struct deferral *d = dog->first; d; d = d->next) {
		enum watched_kind kind = deferral_kind(d);

		if (!d->since)
			d->since = now;
		if (now - d->since >= WATCHDOG_S * NS && overdue[kind]++ == 0)
			oldest[kind] = *d;
	}
	any = dog->first;
	pthread_mutex_unlock(&dog->lock);
	return any;
}

/*
 * Report the oldest overdue answer of each kind, once until no answer of that
 * kind is overdue.  Set *alarm unless a slow disk explains the delay.  Return
 * true if there are any deferrals.
 */
static bool deferred_look(struct watchdog *dog, int64_t now, bool *alarm)
{
	static const char *const where[WATCHED_KINDS] = {
	        [WATCHED_SYNC] = "waiting for the disk",
	        [WATCHED_OTHER] = "waiting for other mounts",
	};
	struct deferral oldest[WATCHED_KINDS];
	size_t overdue[WATCHED_KINDS] = {0};
	bool any = deferred_count(dog, now, overdue, oldest);

	for (int kind = 0; kind < WATCHED_KINDS; kind++) {
		if (overdue[kind] && !dog->logged_deferred[kind]) {
			report(dog, &oldest[kind].request,
			       now - oldest[kind].since, where[kind]);
			*alarm |= kind != WATCHED_SYNC;
		}
		dog->logged_deferred[kind] = overdue[kind];
	}
	return any;
}

static bool busy_is_logged(const struct watchdog *dog,
                           const struct loop_busy *busy)
{
	for (size_t i = 0; i < dog->logged_count; i++) {
		if (dog->logged[i].thread == busy->thread &&
		    dog->logged[i].since == busy->since)
			return true;
	}
	return false;
}

/* Report, once, each request that has kept a worker busy for too long. */
static void busy_look(struct watchdog *dog, const struct loop_busy *busy,
                      size_t count, int64_t now, bool *alarm)
{
	struct loop_busy overdue[LOOP_WORKERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < count && n < LOOP_WORKERS_MAX; i++) {
		struct watched request = watched_of(busy[i].head);
		char where[32];

		if (now - busy[i].since < WATCHDOG_S * NS)
			continue;
		overdue[n++] = busy[i];
		if (busy_is_logged(dog, &busy[i]))
			continue;
		snprintf(where, sizeof(where), "in thread %jd",
		         (intmax_t)busy[i].thread);
		report(dog, &request, now - busy[i].since, where);
		*alarm = true;
	}
	for (dog->logged_count = 0; dog->logged_count < n;
	     dog->logged_count++) {
		dog->logged[dog->logged_count].thread =
		        overdue[dog->logged_count].thread;
		dog->logged[dog->logged_count].since =
		        overdue[dog->logged_count].since;
	}
}

static void threads_report(struct watchdog *dog, int64_t now)
{
	int64_t last = atomic_load(dog->threads_logged);

	if ((!last || now - last >= WHEREABOUTS_S * NS) &&
	    atomic_compare_exchange_strong(dog->threads_logged, &last, now))
		whereabouts_log();
}

/* Return true if a logged request is still not answered. */
static bool has_logged(const struct watchdog *dog)
{
	bool logged = dog->logged_count;

	for (int kind = 0; kind < WATCHED_KINDS; kind++)
		logged |= dog->logged_deferred[kind];
	return logged;
}

bool watchdog_look(struct watchdog *dog, const struct loop_busy *busy,
                   size_t count, int64_t now)
{
	bool before = has_logged(dog), alarm = false, deferred;

	busy_look(dog, busy, count, now, &alarm);
	deferred = deferred_look(dog, now, &alarm);
	if (alarm)
		threads_report(dog, now);
	if (before && !has_logged(dog))
		log_warning("'%s': all overdue requests are answered",
		            dog->mountpoint);
	return deferred;
}
