/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Invalidations, and the replies that wait for them. */
#include "coherence.h"

#include <errno.h>
#include <stdlib.h>

#include "util.h"

enum { BACKGROUND_MAX = 16, KEYS_MAX = CHANGES_NODES + 2 * CHANGES_NAMES };
#define DEFER_MAX_NS INT64_C(1000000000)

enum inval_kind {
	INVAL_PAGES,
	INVAL_ATTRS,
	INVAL_NAME,
	INVAL_SIZE, /* the file is at least as long as off + 1 */
	INVAL_BARRIER,
};

/* One notification to one session. */
struct inval {
	struct notifier_job job;
	struct inval *next;      /* in the list that was collected */
	struct session *session; /* with a reference */
	struct deferred *waiter; /* guarded by coherence.lock, as the next */
	struct inval *older, *newer; /* pending ones of the session */
	int64_t posted;              /* mono_ns() */
	enum inval_kind kind;
	bool names;   /* it goes through that queue */
	bool expire;  /* INVAL_NAME: look it up anew, and leave mounts alone */
	node_t node;  /* INVAL_NAME: the parent; 0: nothing it may wait for */
	uint64_t off, len;
	uint8_t byte; /* INVAL_SIZE: the one at off */
	char name[];
};

/* Those that were found necessary. */
struct invals {
	struct inval *first, **last;
};

/* A reply that waits.  Guarded by coherence.lock. */
struct deferred {
	struct deferred *prev, *next;
	struct session *session; /* whose request it answers; may be NULL */
	void (*run)(void *arg);
	bool listed; /* it waits */
	bool background;
	unsigned refs; /* invalidations that wait for it, and its runner */
	int64_t since;
	unsigned key_count;
	node_t keys[KEYS_MAX];
	_Alignas(max_align_t) char arg[];
};

struct coherence {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct deferred *first, *last; /* the oldest first */
	struct deferred *ready;        /* to be sent, see replier_main() */
	bool gone;                     /* states were deleted */
	bool stopping;
	struct mounts *mounts;
	pthread_t replier, forgetter;
};

/* ---- What changed ------------------------------------------------------- */

static struct change_node *add_node(struct changes *changes, node_t node)
{
	struct change_node *at = &changes->nodes[changes->node_count];

	if (!node || changes->node_count == CHANGES_NODES)
		return NULL;
	changes->node_count++;
	*at = (struct change_node){.node = node};
	return at;
}

void changes_attrs(struct changes *changes, node_t node)
{
	add_node(changes, node);
}

void changes_data(struct changes *changes, node_t node, uint64_t off,
                  uint64_t len)
{
	struct change_node *at = add_node(changes, node);

	if (!at)
		return;
	at->data = true;
	at->off = off;
	at->len = len;
}

void changes_name(struct changes *changes, node_t parent, const char *name,
                  node_t child)
{
	if (changes->name_count < CHANGES_NAMES)
		changes->names[changes->name_count++] =
		        (struct change_name){parent, child, name};
}

uint64_t coherence_epoch(struct session *session)
{
	return atomic_load(&session->epoch);
}

/* ---- Collecting --------------------------------------------------------- */

/*
 * Names have a queue of their own, and what must come after them uses it, too:
 * a directory's lock may be held by one who waits for a file's, and that by a
 * write whose reply waits for pages.
 */
static struct inval *add_inval(struct invals *invals, struct session *session,
                               enum inval_kind kind, node_t node,
                               const char *name)
{
	size_t len = name ? strlen(name) + 1 : 0;
	struct inval *inval = calloc(1, sizeof(*inval) + len);

	if (!inval) {
		log_error("cannot invalidate what a mount has cached: "
		          "out of memory");
		return NULL;
	}
	session_ref(session);
	inval->session = session;
	inval->kind = kind;
	inval->names = kind == INVAL_NAME;
	inval->node = node;
	if (name)
		memcpy(inval->name, name, len);
	*invals->last = inval;
	invals->last = &inval->next;
	return inval;
}

/*
 * An answer with this node is under way to the kernel, which does not have the
 * inode yet.  A lookup holds the parent's lock until the inode is there: wait
 * for that by invalidating the names, then invalidate the attributes.
 */
static void add_settling(struct invals *invals, struct session *session,
                         node_t node)
{
	struct fs_name names[8];
	size_t count = fs_names(session->fs, node, names, ARRAY_SIZE(names));

	for (size_t i = 0; i < count; i++) {
		struct inval *inval;

		if (!known_has(session->known, names[i].parent))
			continue;
		inval = add_inval(invals, session, INVAL_NAME,
		                  names[i].parent, names[i].name);
		if (inval)
			inval->expire = true;
	}
	if (count) {
		struct inval *inval = add_inval(invals, session, INVAL_ATTRS,
		                                node, NULL);

		if (inval)
			inval->names = true;
	}
}

/* This waits for nothing, so that threads which handle requests may do it. */
static void inval_attrs_now(struct invals *invals, struct session *session,
                            node_t node)
{
	if (wire_inval_inode(session->fd, session_ino(session, node), -1, 0) ==
	    -ENOENT)
		add_settling(invals, session, node);
}

/* Wait for other changes' invalidations of the node that are not done yet. */
static void add_barriers(struct invals *invals, struct session *session,
                         node_t node)
{
	bool pages = false, names = false;

	for (const struct inval *at = session->invals_newest; at;
	     at = at->older) {
		pages |= at->node == node && !at->names;
		names |= at->node == node && at->names;
	}
	if (pages)
		add_inval(invals, session, INVAL_BARRIER, 0, NULL);
	if (names) {
		struct inval *inval =
		        add_inval(invals, session, INVAL_BARRIER, 0, NULL);

		if (inval)
			inval->names = true;
	}
}

static bool reaches(const struct session *session, node_t node)
{
	return !session->state || session->state == NODE_STATE(node);
}

/* Where a file ends. */
struct tail {
	uint64_t off; /* of the last byte */
	uint8_t byte;
	bool valid;
};

static bool needs_tail(const struct changes *changes,
                       const struct session *session, node_t node)
{
	return (session != changes->session || changes->own_size) &&
	       reaches(session, node) && known_is_open(session->known, node);
}

/*
 * A kernel with the file open learns that it is longer only if it is told, or
 * asked for its attributes; until then it refuses to map or to copy what lies
 * beyond the end that it knows.  Pages are marked before the byte is read: a
 * change after that makes it be forgotten.
 */
static struct tail load_tail(const struct changes *changes,
                             const struct change_node *change)
{
	struct fs *fs = changes->mounts->fs;
	struct tail tail = {0};
	struct fs_data data;
	bool needed = false;
	struct stat st;

	for (struct session *s = changes->mounts->first; s; s = s->next) {
		if (!needs_tail(changes, s, change->node))
			continue;
		needed = true;
		known_mark(s->known, change->node, KNOWN_PAGES);
	}
	if (!needed || fs_getattr(fs, change->node, &st) || !st.st_size ||
	    (change->len && change->off + change->len < (uint64_t)st.st_size))
		return tail;
	tail.off = (uint64_t)st.st_size - 1;
	if (fs_read(fs, change->node, (off_t)tail.off, 1, &data))
		return tail;
	if (data.len == 1) {
		tail.byte = *(uint8_t *)data.iov[0].iov_base;
		tail.valid = true;
	}
	fs_data_release(&data);
	return tail;
}

static void add_tail(struct invals *invals, struct session *session,
                     node_t node, const struct tail *tail)
{
	struct inval *inval =
	        add_inval(invals, session, INVAL_SIZE, node, NULL);

	if (!inval)
		return;
	inval->off = tail->off;
	inval->byte = tail->byte;
}

static void collect_node(struct invals *invals, struct session *session,
                         const struct change_node *change)
{
	unsigned taken = known_take(
	        session->known, change->node,
	        change->data ? KNOWN_ATTRS | KNOWN_PAGES : KNOWN_ATTRS);
	struct inval *inval;

	if (taken & KNOWN_PAGES) {
		inval = add_inval(invals, session, INVAL_PAGES, change->node,
		                  NULL);
		if (inval && !(taken & KNOWN_WHOLE)) {
			inval->off = change->off;
			inval->len = change->len;
		}
		return;
	}
	if (taken & KNOWN_ATTRS)
		inval_attrs_now(invals, session, change->node);
	add_barriers(invals, session, change->node);
}

/* gently: what is mounted below it stays as long as the name means the same. */
static void add_name(struct invals *invals, struct session *session,
                     const struct change_name *change, bool gently)
{
	struct inval *inval = add_inval(invals, session, INVAL_NAME,
	                                change->parent, change->name);

	if (inval)
		inval->expire = gently;
}

static void add_listing(struct invals *invals, struct session *session,
                        node_t dir)
{
	struct inval *inval =
	        add_inval(invals, session, INVAL_PAGES, dir, NULL);

	if (inval)
		inval->names = true;
}

/*
 * The invalidation of a name waits for all who read the directory at the
 * moment, so that the one of its pages, after it, finds what they cached.
 */
static void collect_name(struct invals *invals, struct session *session,
                         const struct change_name *change, bool gently)
{
	bool known_name;
	unsigned taken;

	if (!known_has(session->known, change->parent))
		return;
	known_name = negatives_take(session->negatives, change->parent,
	                            change->name);
	if (change->child && known_has(session->known, change->child))
		known_name = true;
	taken = known_take(session->known, change->parent,
	                   KNOWN_ATTRS | KNOWN_PAGES | KNOWN_WHOLE);
	if (known_name || (taken & KNOWN_PAGES))
		add_name(invals, session, change, gently);
	if (taken & KNOWN_PAGES)
		add_listing(invals, session, change->parent);
	else if (taken & KNOWN_ATTRS)
		inval_attrs_now(invals, session, change->parent);
	if (!known_name && !(taken & KNOWN_PAGES))
		add_barriers(invals, session, change->parent);
}

static void collect_in(struct invals *invals, struct session *session,
                       const struct changes *changes, const struct tail *tails)
{
	for (unsigned i = 0; i < changes->name_count; i++) {
		if (reaches(session, changes->names[i].parent))
			collect_name(invals, session, &changes->names[i],
			             !changes->session);
	}
	for (unsigned i = 0; i < changes->node_count; i++) {
		node_t node = changes->nodes[i].node;

		if (!reaches(session, node))
			continue;
		if (!changes->barrier)
			collect_node(invals, session, &changes->nodes[i]);
		if (tails[i].valid && needs_tail(changes, session, node))
			add_tail(invals, session, node, &tails[i]);
		if (changes->barrier)
			add_barriers(invals, session, node);
	}
}

/* coherence.lock and policy held. */
static void collect(struct invals *invals, const struct changes *changes,
                    const struct tail *tails)
{
	struct mounts *mounts = changes->mounts;

	for (struct session *s = mounts->first; s; s = s->next) {
		if (s != changes->session && !changes->barrier)
			atomic_fetch_add(&s->epoch, 1);
		if (s != changes->session || changes->own)
			collect_in(invals, s, changes, tails);
	}
}

/* ---- States that are gone, and symlinks to states ----------------------- */

static bool is_gone(struct fs *fs, uint64_t number)
{
	struct forest *forest = fs_forest(fs);
	struct state *state;
	int err;

	if (!number)
		return false;
	store_lock(forest_store(forest));
	err = state_get(forest, number, &state);
	store_unlock(forest_store(forest));
	return err == -ESTALE;
}

/* The session's nodes of the state, with their pages. */
static void add_state(struct invals *invals, struct session *session,
                      uint64_t state, bool open)
{
	_cleanup_free_ node_t *nodes = NULL;
	size_t count = 0;

	if (known_list(session->known, state, open, &nodes, &count) < 0) {
		log_error("cannot make a mount forget a state: out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++)
		add_inval(invals, session, INVAL_PAGES, nodes[i], NULL);
}

/* What the session has open of deleted states. */
static void collect_gone(struct invals *invals, struct session *session)
{
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (known_states(session->known, true, &states, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (is_gone(session->fs, states[i]))
			add_state(invals, session, states[i], true);
	}
}

/* Policy held. */
static void collect_states(struct invals *invals, const struct changes *changes)
{
	for (struct session *s = changes->mounts->first; s; s = s->next) {
		if (changes->gone)
			collect_gone(invals, s);
		/* The symlinks to snapshots are nodes of state 0. */
		if (changes->links && !s->state)
			add_state(invals, s, 0, false);
	}
}

/* ---- Deferred replies (coherence.lock held) ----------------------------- */

static void deferred_list(struct coherence *coherence, struct deferred *d)
{
	d->listed = true;
	d->since = mono_ns();
	d->refs++;
	d->prev = coherence->last;
	d->next = NULL;
	if (coherence->last)
		coherence->last->next = d;
	else
		coherence->first = d;
	coherence->last = d;
	if (d->session && d->background)
		d->session->deferred_background++;
	if (coherence->first == d)
		pthread_cond_broadcast(&coherence->changed);
}

/* Take it off the list; its runner has the list's reference. */
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
 * Move the replies of the session that name the node (0: any node) from the
 * list to *released.
 */
static void release_keyed(struct coherence *coherence,
                          const struct session *session, node_t node,
                          struct deferred **released)
{
	for (struct deferred *d = coherence->first, *next; d; d = next) {
		next = d->next;
		if (d->session != session || (node && !has_key(d, node)))
			continue;
		deferred_unlist(coherence, d);
		d->next = *released;
		*released = d;
	}
}

/* Whether the rules forbid to let the reply wait. */
static bool must_answer(const struct deferred *d)
{
	if (!d->session)
		return false;
	if (d->background && d->session->deferred_background >= BACKGROUND_MAX)
		return true;
	for (struct inval *at = d->session->invals_newest; at; at = at->older) {
		if (has_key(d, at->node))
			return true;
	}
	return false;
}

/* Lock NOT held. */
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
}

/* In the session's notifier, which cannot send replies: see notifier.h. */
static void inval_run(struct notifier_job *job, int fd)
{
	struct inval *inval = (struct inval *)job;
	struct session *session = inval->session;
	struct coherence *coherence = session->mounts->coherence;
	struct deferred *waiter = inval->waiter;
	uint64_t ino = session_ino(session, inval->node);

	switch (inval->kind) {
	case INVAL_PAGES:
		wire_inval_inode(fd, ino, (int64_t)inval->off,
		                 (int64_t)inval->len);
		break;
	case INVAL_ATTRS:
		wire_inval_inode(fd, ino, -1, 0);
		break;
	case INVAL_NAME:
		/* To expire a name is known since protocol 7.38. */
		wire_inval_entry(fd, ino, inval->name,
		                 inval->expire && session->wire.minor >= 38);
		break;
	case INVAL_SIZE:
		wire_store_byte(fd, ino, inval->off, inval->byte);
		/* It was only a means. */
		wire_inval_inode(fd, ino, (int64_t)inval->off, 1);
		break;
	case INVAL_BARRIER:
		break;
	}
	pthread_mutex_lock(&coherence->lock);
	inval_unlink(inval);
	/* The list's reference, and this one's: it was the last. */
	if (waiter && waiter->listed && waiter->refs == 2) {
		deferred_unlist(coherence, waiter);
		waiter->next = coherence->ready;
		coherence->ready = waiter;
		pthread_cond_broadcast(&coherence->changed);
	}
	if (waiter)
		deferred_unref(waiter);
	pthread_mutex_unlock(&coherence->lock);
	session_unref(session);
	free(inval);
}

static struct deferred *deferred_create(const struct changes *changes,
                                        void (*run)(void *arg),
                                        const void *arg, size_t size)
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

/* One that has hung for so long is not waited for. */
static bool hangs(struct session *session)
{
	const struct inval *oldest = session->invals_oldest;

	if (!oldest || mono_ns() - oldest->posted <= DEFER_MAX_NS)
		return false;
	if (!session->hang_told)
		log_warning("'%s' does not give up what it has cached: it may "
		            "show old content",
		            session->mountpoint);
	session->hang_told = true;
	return true;
}

/* d: the reply that waits for them; NULL: none does. */
static void post(struct coherence *coherence, struct invals *invals,
                 struct deferred *d, struct deferred **released)
{
	struct inval *next;

	for (struct inval *at = invals->first; at; at = next) {
		next = at->next;
		if (at->node)
			release_keyed(coherence, at->session, at->node,
			              released);
		if (d && !hangs(at->session)) {
			at->waiter = d;
			d->refs++;
		}
		at->job.run = inval_run;
		inval_link(at);
		notifier_post(at->names ? at->session->name_notifier
		                        : at->session->notifier,
		              &at->job);
	}
	if (!d)
		return;
	/* Its own session may have been among them. */
	if (d->refs && !must_answer(d)) {
		deferred_list(coherence, d);
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
	    !changes->gone && !changes->links)
		return false;
	if (changes->gone || changes->links)
		collect_states(&invals, changes);
	for (unsigned i = 0; i < changes->node_count; i++) {
		if (changes->nodes[i].data)
			tails[i] = load_tail(changes, &changes->nodes[i]);
	}
	pthread_mutex_lock(&coherence->lock);
	collect(&invals, changes, tails);
	if (invals.first)
		d = deferred_create(changes, run, arg, size);
	post(coherence, &invals, d, &released);
	if (changes->gone) {
		coherence->gone = true;
		pthread_cond_broadcast(&coherence->changed);
	}
	pthread_mutex_unlock(&coherence->lock);
	run_released(coherence, released);
	return d;
}

/* One thread waits for another. */
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
	release_keyed(coherence, session, 0, &released);
	pthread_mutex_unlock(&coherence->lock);
	run_released(coherence, released);
}

/* ---- The thread that sends replies -------------------------------------- */

/* Lock held, but not while it waits. */
static void wait_until(struct coherence *coherence, int64_t when)
{
	struct timespec ts = {when / 1000000000, when % 1000000000};

	pthread_cond_timedwait(&coherence->changed, &coherence->lock, &ts);
}

/* The replies that waited long enough; *ret_late: for too long. */
static struct deferred *take_ready(struct coherence *coherence, bool *ret_late)
{
	struct deferred *ready = coherence->ready, *oldest = coherence->first;

	coherence->ready = NULL;
	*ret_late = !ready && oldest &&
	            mono_ns() - oldest->since >= DEFER_MAX_NS;
	if (*ret_late) {
		deferred_unlist(coherence, oldest);
		oldest->next = NULL;
		ready = oldest;
	}
	return ready;
}

static void *replier_main(void *arg)
{
	struct coherence *coherence = arg;

	pthread_mutex_lock(&coherence->lock);
	while (!coherence->stopping || coherence->ready) {
		bool late;
		struct deferred *ready = take_ready(coherence, &late);

		if (ready) {
			pthread_mutex_unlock(&coherence->lock);
			if (late)
				log_debug("a change is answered before all "
				          "mounts have forgotten the old");
			run_released(coherence, ready);
			pthread_mutex_lock(&coherence->lock);
		} else if (coherence->first) {
			wait_until(coherence,
			           coherence->first->since + DEFER_MAX_NS);
		} else {
			pthread_cond_wait(&coherence->changed,
			                  &coherence->lock);
		}
	}
	pthread_mutex_unlock(&coherence->lock);
	return NULL;
}

/* ---- The thread that forgets deleted states ----------------------------- */

/*
 * Attributes alone: a page that is not open is reached through OPEN, which
 * fails.
 */
static int forget_gone(void *arg, struct session *session)
{
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (known_states(session->known, false, &states, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ node_t *nodes = NULL;
		size_t n = 0;

		if (!is_gone(session->fs, states[i]) ||
		    known_list(session->known, states[i], false, &nodes, &n))
			continue;
		for (size_t j = 0; j < n; j++)
			wire_inval_inode(session->fd,
			                 session_ino(session, nodes[j]), -1, 0);
	}
	return 0;
}

static void *forgetter_main(void *arg)
{
	struct coherence *coherence = arg;
	int64_t next = 0;

	pthread_mutex_lock(&coherence->lock);
	while (!coherence->stopping) {
		int64_t now = mono_ns();

		if (!coherence->gone) {
			pthread_cond_wait(&coherence->changed,
			                  &coherence->lock);
			continue;
		}
		if (now < next) {
			wait_until(coherence, next);
			continue;
		}
		coherence->gone = false;
		pthread_mutex_unlock(&coherence->lock);
		mounts_each(coherence->mounts, forget_gone, NULL);
		pthread_mutex_lock(&coherence->lock);
		/* A tenth of one processor, at the most. */
		next = now + 10 * (mono_ns() - now);
	}
	pthread_mutex_unlock(&coherence->lock);
	return NULL;
}

/* ---- All of it ---------------------------------------------------------- */

static void stop(struct coherence *coherence, pthread_t thread)
{
	pthread_mutex_lock(&coherence->lock);
	coherence->stopping = true;
	pthread_cond_broadcast(&coherence->changed);
	pthread_mutex_unlock(&coherence->lock);
	pthread_join(thread, NULL);
}

static void coherence_free(struct coherence *coherence)
{
	pthread_cond_destroy(&coherence->changed);
	pthread_mutex_destroy(&coherence->lock);
	free(coherence);
}

int coherence_create(struct mounts *mounts, struct coherence **ret_coherence)
{
	struct coherence *coherence = calloc(1, sizeof(*coherence));
	pthread_condattr_t attr;
	int err;

	if (!coherence)
		return -ENOMEM;
	coherence->mounts = mounts;
	pthread_mutex_init(&coherence->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&coherence->changed, &attr);
	pthread_condattr_destroy(&attr);
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
