/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deferred replies, which wait for invalidations; the thread that sends them
 * (the replier); and the thread that invalidates the nodes of deleted states
 * (the forgetter).
 */
#include "inval.h"

#include <errno.h>
#include <stdlib.h>

#include "gone_locks.h"
#include "util.h"

enum { BACKGROUND_MAX = 16, KEYS_MAX = CHANGES_NODES + 2 * CHANGES_NAMES };
#define DEFER_MAX_NS INT64_C(1000000000)
#define DEFER_HASTY_NS INT64_C(100000000)

/* A deferred reply.  Guarded by coherence.lock. */
struct deferred {
	struct deferred *prev, *next;
	struct session *session; /* whose request it answers; may be NULL */
	void (*run)(void *arg);
	bool listed; /* in the list */
	bool background;
	unsigned refs; /* waiters, the list, and the runner */
	int64_t due;   /* mono_ns() when it is sent at the latest */
	unsigned key_count;
	node_t keys[KEYS_MAX];
	_Alignas(max_align_t) char arg[];
};

struct coherence {
	pthread_mutex_t lock;          /* guards the fields below */
	pthread_cond_t changed;        /* for the replier */
	pthread_cond_t deleted;        /* for the forgetter */
	struct deferred *first, *last; /* in the order of `due` */
	struct deferred *ready;        /* to be sent, see replier_main() */
	bool idle; /* the replier sleeps without a timeout */
	bool gone; /* states were deleted */
	bool stopping;
	struct mounts *mounts;
	pthread_t replier, forgetter;
};

uint64_t coherence_epoch(struct session *session)
{
	return atomic_load(&session->epoch);
}

/* ---- Deferred replies (coherence.lock held) ----------------------------- */

static void deferred_list(struct coherence *coherence, struct deferred *d,
                          int64_t patience)
{
	d->listed = true;
	d->due = mono_ns() + patience;
	d->refs++;
	d->prev = coherence->last;
	while (d->prev && d->prev->due > d->due)
		d->prev = d->prev->prev;
	d->next = d->prev ? d->prev->next : coherence->first;
	if (d->prev)
		d->prev->next = d;
	else
		coherence->first = d;
	if (d->next)
		d->next->prev = d;
	else
		coherence->last = d;
	if (d->session && d->background)
		d->session->deferred_background++;
	if (coherence->idle || patience < DEFER_MAX_NS)
		pthread_cond_signal(&coherence->changed);
}

/* Remove a reply from the list; the caller gets the list's reference. */
static void deferred_unlist(struct coherence *coherence, struct deferred *d)
{
	d->listed = false;
	if (d->prev)
		d->prev->next = d->next;
	else
		coherence->first = d->next;
	if (d->next)
		d->next->prev = d->prev;
	else
		coherence->last = d->prev;
	if (d->session && d->background)
		d->session->deferred_background--;
}

static void deferred_unref(struct deferred *d)
{
	if (--d->refs == 0)
		free(d);
}

static bool has_key(const struct deferred *d, node_t node)
{
	for (unsigned i = 0; i < d->key_count; i++) {
		if (d->keys[i] == node)
			return true;
	}
	return false;
}

/*
 * Return true if the request of the reply may hold a lock that the invalidation
 * needs.  The invalidation of a directory's inode needs none, so the root
 * directory of a state, which the call that deletes the state names, does not
 * count.
 */
static bool collides(const struct deferred *d, const struct inval *inval)
{
	uint64_t state = NODE_STATE(inval->node);

	if (inval->kind != INVAL_STATE)
		return has_key(d, inval->node);
	for (unsigned i = 0; i < d->key_count; i++) {
		if (NODE_STATE(d->keys[i]) == state &&
		    NODE_INO(d->keys[i]) != INO_ROOT)
			return true;
	}
	return false;
}

/*
 * Move the replies of the session that collide with the invalidation (NULL: all
 * of them) from the list to *released.
 */
static void release_keyed(struct coherence *coherence,
                          const struct session *session,
                          const struct inval *inval, struct deferred **released)
{
	for (struct deferred *d = coherence->first, *next; d; d = next) {
		next = d->next;
		if (d->session != session || (inval && !collides(d, inval)))
			continue;
		deferred_unlist(coherence, d);
		d->next = *released;
		*released = d;
	}
}

/* Return true if the rules, or too long a queue, forbid deferring the reply. */
static bool must_answer(const struct deferred *d)
{
	if (!d->session)
		return false;
	if (d->background && d->session->deferred_background >= BACKGROUND_MAX)
		return true;
	if (d->session->invals_count > INVALS_LONG)
		return true;
	for (struct inval *at = d->session->invals_newest; at; at = at->older) {
		if (at->spares != d && collides(d, at))
			return true;
	}
	return false;
}

/* Send the replies.  Lock NOT held. */
static void run_released(struct coherence *coherence, struct deferred *released)
{
	while (released) {
		struct deferred *d = released;

		released = d->next;
		d->run(d->arg);
		if (d->session)
			session_unref(d->session);
		pthread_mutex_lock(&coherence->lock);
		deferred_unref(d);
		pthread_mutex_unlock(&coherence->lock);
	}
}

/* ---- Posting ------------------------------------------------------------ */

static void inval_link(struct inval *inval)
{
	struct session *session = inval->session;

	inval->posted = mono_ns();
	inval->older = session->invals_newest;
	if (inval->older)
		inval->older->newer = inval;
	else
		session->invals_oldest = inval;
	session->invals_newest = inval;
	session->invals_count++;
}

static void inval_unlink(struct inval *inval)
{
	struct session *session = inval->session;

	if (inval->older)
		inval->older->newer = inval->newer;
	else
		session->invals_oldest = inval->newer;
	if (inval->newer)
		inval->newer->older = inval->older;
	else
		session->invals_newest = inval->older;
	session->invals_count--;
}

/* Remove a waiter's reference; if it was the last one, the reply is ready. */
static void deferred_advance(struct coherence *coherence, struct deferred *d)
{
	/* Only the references of the list and of this waiter are left. */
	if (d->listed && d->refs == 2) {
		deferred_unlist(coherence, d);
		d->next = coherence->ready;
		coherence->ready = d;
		pthread_cond_signal(&coherence->changed);
	}
	deferred_unref(d);
}

/* Run in the session's notifier, which cannot send replies: see notifier.h. */
static void inval_run(struct notifier_job *job, int fd)
{
	struct inval *inval = (struct inval *)job;
	struct session *session = inval->session;
	struct coherence *coherence = session->mounts->coherence;

	pthread_mutex_lock(&coherence->lock);
	inval->started = true;
	pthread_mutex_unlock(&coherence->lock);
	inval_notify(inval, fd);
	pthread_mutex_lock(&coherence->lock);
	inval_unlink(inval);
	while (inval->waiters) {
		struct waiter *waiter = inval->waiters;

		inval->waiters = waiter->next;
		deferred_advance(coherence, waiter->deferred);
		free(waiter);
	}
	pthread_mutex_unlock(&coherence->lock);
	session_unref(session);
	free(inval);
}

static struct deferred *deferred_create(const struct changes *changes,
                                        void (*run)(void *arg), const void *arg,
                                        size_t size)
{
	struct deferred *d = calloc(1, sizeof(*d) + size);

	if (!d)
		return NULL;
	d->run = run;
	memcpy(d->arg, arg, size);
	d->background = changes->background;
	d->session = changes->session;
	if (d->session)
		session_ref(d->session);
	if (!d->session || changes->unlocked)
		return d;
	for (unsigned i = 0; i < changes->node_count; i++)
		d->keys[d->key_count++] = changes->nodes[i].node;
	for (unsigned i = 0; i < changes->name_count; i++) {
		d->keys[d->key_count++] = changes->names[i].parent;
		if (changes->names[i].child)
			d->keys[d->key_count++] = changes->names[i].child;
	}
	return d;
}

/*
 * Return true, and log it once, if the session's invalidations have hung for
 * too long to wait for them.
 */
static bool hangs(struct session *session)
{
	const struct inval *oldest = session->invals_oldest;

	if (!oldest || (session->invals_count <= INVALS_LONG &&
	                mono_ns() - oldest->posted <= DEFER_MAX_NS))
		return false;
	if (!session->hang_logged)
		log_warning("'%s' does not drop its cache: it may "
		            "show old content",
		            session->mountpoint);
	session->hang_logged = true;
	return true;
}

static void post_all(struct coherence *coherence, struct invals *invals,
                     struct deferred **released)
{
	struct inval *next;

	for (struct inval *at = invals->first; at; at = next) {
		next = at->next;
		release_keyed(coherence, at->session, at, released);
		at->job.run = inval_run;
		inval_link(at);
		notifier_post(at->names ? at->session->name_notifier
		                        : at->session->notifier,
		              &at->job);
	}
}

/*
 * Post the invalidations.  The reply `d` (NULL: none) waits for them, for
 * `patience` nanoseconds at most.  Move the replies to be sent to *released.
 */
static void post(struct coherence *coherence, struct invals *invals,
                 struct deferred *d, int64_t patience,
                 struct deferred **released)
{
	post_all(coherence, invals, released);
	while (invals->waiters) {
		struct waiter *waiter = invals->waiters;

		invals->waiters = waiter->next;
		if (!d || hangs(waiter->inval->session)) {
			free(waiter);
			continue;
		}
		waiter->deferred = d;
		d->refs++;
		if (waiter->inval->first)
			waiter->inval->spares = d;
		waiter->next = waiter->inval->waiters;
		waiter->inval->waiters = waiter;
	}
	if (!d)
		return;
	/*
	 * Posting may have added invalidations of the reply's session, so check
	 * the rules only now.
	 */
	if (d->refs && !must_answer(d)) {
		deferred_list(coherence, d, patience);
		return;
	}
	d->refs++;
	d->next = *released;
	*released = d;
}

bool coherence_announce(const struct changes *changes, void (*run)(void *arg),
                        const void *arg, size_t size)
{
	struct coherence *coherence = changes->mounts->coherence;
	struct invals invals = {.last = &invals.first};
	struct deferred *d = NULL, *released = NULL;
	struct tail tails[CHANGES_NODES] = {0};

	if (changes->mounts->count <= 1 && changes->session && !changes->own &&
	    !changes->own_pages && !changes->gone && !changes->links)
		return false;
	if (changes->gone || changes->links)
		inval_collect_states(&invals, changes);
	for (unsigned i = 0; i < changes->node_count; i++) {
		if (changes->nodes[i].data)
			tails[i] = inval_tail(changes, &changes->nodes[i]);
	}
	pthread_mutex_lock(&coherence->lock);
	inval_collect(&invals, changes, tails);
	if (invals.waiters)
		d = deferred_create(changes, run, arg, size);
	post(coherence, &invals, d,
	     changes->hasty ? DEFER_HASTY_NS : DEFER_MAX_NS, &released);
	if (changes->gone) {
		coherence->gone = true;
		pthread_cond_signal(&coherence->deleted);
	}
	pthread_mutex_unlock(&coherence->lock);
	run_released(coherence, released);
	return d;
}

/* An event that one thread waits for. */
struct event {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool happened;
};

static void event_happen(void *arg)
{
	struct event *event = *(struct event **)arg;

	pthread_mutex_lock(&event->lock);
	event->happened = true;
	pthread_cond_signal(&event->changed);
	pthread_mutex_unlock(&event->lock);
}

void coherence_announce_wait(struct changes *changes)
{
	struct event event = {PTHREAD_MUTEX_INITIALIZER,
	                      PTHREAD_COND_INITIALIZER, false};
	struct event *arg = &event;
	bool waits;

	pthread_rwlock_rdlock(&changes->mounts->policy);
	waits = coherence_announce(changes, event_happen, &arg, sizeof(arg));
	pthread_rwlock_unlock(&changes->mounts->policy);
	pthread_mutex_lock(&event.lock);
	while (waits && !event.happened)
		pthread_cond_wait(&event.changed, &event.lock);
	pthread_mutex_unlock(&event.lock);
	pthread_cond_destroy(&event.changed);
	pthread_mutex_destroy(&event.lock);
}

void coherence_release(struct session *session)
{
	struct coherence *coherence = session->mounts->coherence;
	struct deferred *released = NULL;

	pthread_mutex_lock(&coherence->lock);
	release_keyed(coherence, session, NULL, &released);
	pthread_mutex_unlock(&coherence->lock);
	run_released(coherence, released);
}

/* ---- The thread that sends replies -------------------------------------- */

/*
 * Wait for the condition until `when`, a time of mono_ns().  Return false after
 * the timeout.  Lock held, but released meanwhile.
 */
static bool wait_until(struct coherence *coherence, pthread_cond_t *cond,
                       int64_t when)
{
	struct timespec ts = {when / 1000000000, when % 1000000000};

	return pthread_cond_timedwait(cond, &coherence->lock, &ts) == 0;
}

/*
 * Wait until a reply is ready or has been deferred for too long.  Lock held,
 * but released meanwhile.  New replies wake the thread only after a while
 * without any.
 */
static void wait_ready(struct coherence *coherence)
{
	int64_t due = coherence->first ? coherence->first->due
	                               : mono_ns() + DEFER_MAX_NS;

	if (wait_until(coherence, &coherence->changed, due) || coherence->first)
		return;
	coherence->idle = true;
	while (!coherence->first && !coherence->ready && !coherence->stopping)
		pthread_cond_wait(&coherence->changed, &coherence->lock);
	coherence->idle = false;
}

/* Return the replies to be sent.  *ret_late: they have waited for too long. */
static struct deferred *take_ready(struct coherence *coherence, bool *ret_late)
{
	struct deferred *ready = coherence->ready, *next = coherence->first;

	coherence->ready = NULL;
	*ret_late = !ready && next && mono_ns() >= next->due;
	if (*ret_late) {
		deferred_unlist(coherence, next);
		next->next = NULL;
		ready = next;
	}
	return ready;
}

static void *replier_main(void *arg)
{
	struct coherence *coherence = arg;

	pthread_mutex_lock(&coherence->lock);
	while (!coherence->stopping || coherence->ready) {
		bool overdue;
		struct deferred *ready = take_ready(coherence, &overdue);

		if (ready) {
			pthread_mutex_unlock(&coherence->lock);
			if (overdue)
				log_debug("replied to a change before all "
				          "mounts dropped the old content");
			run_released(coherence, ready);
			pthread_mutex_lock(&coherence->lock);
		} else {
			wait_ready(coherence);
		}
	}
	pthread_mutex_unlock(&coherence->lock);
	return NULL;
}

/* ---- The thread that forgets deleted states ----------------------------- */

static void *forgetter_main(void *arg)
{
	struct coherence *coherence = arg;
	int64_t next = 0;

	pthread_mutex_lock(&coherence->lock);
	while (!coherence->stopping) {
		int64_t now = mono_ns();

		if (!coherence->gone) {
			pthread_cond_wait(&coherence->deleted,
			                  &coherence->lock);
			continue;
		}
		if (now < next) {
			wait_until(coherence, &coherence->deleted, next);
			continue;
		}
		coherence->gone = false;
		pthread_mutex_unlock(&coherence->lock);
		mounts_each(coherence->mounts, inval_forget_gone, NULL);
		locks_fail_gone(coherence->mounts);
		pthread_mutex_lock(&coherence->lock);
		/* Use at most a tenth of one processor. */
		next = now + 10 * (mono_ns() - now);
	}
	pthread_mutex_unlock(&coherence->lock);
	return NULL;
}

/* ---- Creating and destroying -------------------------------------------- */

static void stop(struct coherence *coherence, pthread_t thread)
{
	pthread_mutex_lock(&coherence->lock);
	coherence->stopping = true;
	pthread_cond_signal(&coherence->changed);
	pthread_cond_signal(&coherence->deleted);
	pthread_mutex_unlock(&coherence->lock);
	pthread_join(thread, NULL);
}

static void coherence_free(struct coherence *coherence)
{
	pthread_cond_destroy(&coherence->deleted);
	pthread_cond_destroy(&coherence->changed);
	pthread_mutex_destroy(&coherence->lock);
	free(coherence);
}

int coherence_create(struct mounts *mounts, struct coherence **ret_coherence)
{
	struct coherence *coherence = calloc(1, sizeof(*coherence));
	int err;

	if (!coherence)
		return -ENOMEM;
	coherence->mounts = mounts;
	pthread_mutex_init(&coherence->lock, NULL);
	cond_init_monotonic(&coherence->changed);
	cond_init_monotonic(&coherence->deleted);
	err = pthread_create(&coherence->replier, NULL, replier_main,
	                     coherence);
	if (!err) {
		err = pthread_create(&coherence->forgetter, NULL,
		                     forgetter_main, coherence);
		if (err)
			stop(coherence, coherence->replier);
	}
	if (err) {
		coherence_free(coherence);
		return -err;
	}
	*ret_coherence = coherence;
	return 0;
}

void coherence_destroy(struct coherence *coherence)
{
	if (!coherence)
		return;
	stop(coherence, coherence->replier);
	stop(coherence, coherence->forgetter);
	coherence_free(coherence);
}
