/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coherence between sessions: who shares what, and what is announced. */
#include "session.h"

#include <errno.h>
#include <stdlib.h>

#include "util.h"

/* ---- Who reaches what (policy held) ------------------------------------- */

static unsigned reach(const struct mounts *mounts, uint64_t state)
{
	unsigned count = mounts->whole;

	for (struct session *s = mounts->first; state && s; s = s->next)
		count += s->state == state;
	return count;
}

static int compare_states(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The states with a session of their own that another one reaches, too. */
static void recount(struct mounts *mounts)
{
	size_t count = 0;

	for (struct session *s = mounts->first; s; s = s->next) {
		if (s->state && !s->state_readonly &&
		    reach(mounts, s->state) > 1)
			mounts->mounted[count++] = s->state;
	}
	qsort(mounts->mounted, count, sizeof(uint64_t), compare_states);
	mounts->mounted_count = count;
}

int share_join(struct mounts *mounts, struct session *session)
{
	uint64_t *grown =
	        realloc(mounts->mounted, (mounts->count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	mounts->mounted = grown;
	session->next = mounts->first;
	mounts->first = session;
	mounts->count++;
	mounts->whole += session->state == 0;
	recount(mounts);
	return 0;
}

void share_leave(struct mounts *mounts, struct session *session)
{
	struct session **at = &mounts->first;

	while (*at != session)
		at = &(*at)->next;
	*at = session->next;
	mounts->count--;
	mounts->whole -= session->state == 0;
	recount(mounts);
}

/* A snapshot never changes, nor does what it is: remembered by number. */
static bool state_readonly(struct mounts *mounts, uint64_t number)
{
	_Atomic uint64_t *cached =
	        &mounts->states[number % SESSION_STATES_CACHED];
	uint64_t known = atomic_load_explicit(cached, memory_order_relaxed);
	struct forest *forest = fs_forest(mounts->fs);
	struct state *state;
	bool readonly = false;

	if (known >> 1 == number)
		return known & 1;
	store_lock(forest_store(forest));
	if (state_get(forest, number, &state) == 0) {
		readonly = state->flags & STATE_READONLY;
		atomic_store_explicit(cached, number << 1 | readonly,
		                      memory_order_relaxed);
	}
	store_unlock(forest_store(forest));
	return readonly;
}

bool session_shares(struct session *session, uint64_t state)
{
	struct mounts *mounts = session->mounts;

	if (mounts->count == 1)
		return false;
	if (mounts->whole < 2 || session->state) {
		/* Another than a session's own state is a snapshot there. */
		if (session->state && session->state != state)
			return false;
		return bsearch(&state, mounts->mounted, mounts->mounted_count,
		               sizeof(state), compare_states);
	}
	return state == 0 || !state_readonly(mounts, state);
}

/* ---- Forgetting --------------------------------------------------------- */

static void forget_nodes(struct session *session, const node_t *nodes,
                         size_t count)
{
	for (size_t i = 0; i < count; i++) {
		known_take_cached(session->known, nodes[i]);
		wire_inval_inode(session->fd, session_ino(session, nodes[i]),
		                 true);
	}
}

static void forget_name(struct session *session, node_t parent,
                        const char *name, bool gently)
{
	/* To expire a name is known since protocol 7.38. */
	wire_inval_entry(session->fd, session_ino(session, parent), name,
	                 gently && session->wire.minor >= 38);
}

/* A name that some inode has in its state. */
struct place {
	node_t parent;
	char name[NAME_LEN_MAX + 1];
};

enum { PLACES = 128 };

/*
 * Names of the nodes from *at on, as many as fit; one with so many that they
 * do not fit at all is left at the slot *from.  Takes the store's lock.
 */
static size_t collect_places(struct fs *fs, const node_t *nodes, size_t count,
                             size_t *at, uint64_t *from, struct place *places)
{
	struct forest *forest = fs_forest(fs);
	struct store *store = forest_store(forest);
	struct state *state;
	size_t found = 0;

	store_lock(store);
	if (state_get(forest, NODE_STATE(nodes[0]), &state) < 0)
		*at = count;
	for (; *at < count && found < PLACES; (*at)++, *from = 0) {
		struct key key = {NODE_INO(nodes[*at]), ITEM_BACKREF, *from};
		struct cursor cursor;
		struct item item;
		int err = cursor_seek(&cursor, &state->version->tree, &key,
		                      &item);

		while (err == 0 && item.key.ino == key.ino &&
		       item.key.kind == ITEM_BACKREF && found < PLACES) {
			struct backref_item b;

			if (backref_decode(item.value, item.len, &b) == 0) {
				places[found].parent =
				        NODE(state->number, b.parent);
				memcpy(places[found].name, b.name, b.name_len);
				places[found++].name[b.name_len] = 0;
			}
			*from = item.key.off + 1;
			err = cursor_next(&cursor, &item);
		}
		if (err == 0 && item.key.ino == key.ino &&
		    item.key.kind == ITEM_BACKREF)
			break; /* more of this one */
	}
	store_unlock(store);
	return found;
}

static void forget_names_in(struct session *session, const node_t *nodes,
                            size_t count)
{
	_cleanup_free_ struct place *places = calloc(PLACES, sizeof(*places));
	uint64_t from = 0;
	size_t at = 0;

	while (places && at < count) {
		size_t found = collect_places(session->fs, nodes, count, &at,
		                              &from, places);

		for (size_t i = 0; i < found; i++)
			forget_name(session, places[i].parent, places[i].name,
			            true);
	}
}

/* The names of states, in the root directory or in a fork's .snap. */
static void forget_states_in(struct session *session, uint64_t fork)
{
	struct forest *forest = fs_forest(session->fs);
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (known_states(session->known, &states, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		char name[NAME_LEN_MAX + 1] = "";
		struct state *state;

		store_lock(forest_store(forest));
		if (states[i] && state_get(forest, states[i], &state) == 0 &&
		    state->fork == fork)
			memcpy(name, state->name, sizeof(name));
		store_unlock(forest_store(forest));
		if (*name)
			forget_name(session,
			            fork ? NODE(fork, INO_SNAPDIR) : NODE_ROOT,
			            name, true);
	}
}

static void forget_negative(void *arg, node_t parent, const char *name)
{
	forget_name(arg, parent, name, true);
}

/* All that the session's kernel may have cached of a state. */
static void forget_state(struct session *session, uint64_t state)
{
	node_t root = NODE(state, INO_ROOT);
	_cleanup_free_ node_t *nodes = NULL;
	size_t count = 0;

	if (known_list(session->known, state, false, &nodes, &count) < 0) {
		log_error("cannot make a mount forget a state: out of memory");
		return;
	}
	forget_nodes(session, nodes, count);
	forget_nodes(session, &root, 1);
	if (state && count)
		forget_names_in(session, nodes, count);
	negatives_take(session->negatives, state, forget_negative, session);
	forget_states_in(session, state);
}

/* The states that only `session` reached until `newcomer` came. */
static void settle_one(struct mounts *mounts, struct session *session,
                       const struct session *newcomer)
{
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (known_states(session->known, &states, &count) < 0)
		return;
	for (size_t i = 0; i <= count; i++) {
		/* The root is known without having been looked up. */
		uint64_t state = i < count ? states[i] : session->state;
		bool lone;

		pthread_rwlock_rdlock(&mounts->policy);
		lone = session_shares(session, state) &&
		       reach(mounts, state) == 2 &&
		       (!newcomer->state || newcomer->state == state);
		pthread_rwlock_unlock(&mounts->policy);
		if (lone)
			forget_state(session, state);
	}
}

void share_settle(struct mounts *mounts, struct session *session)
{
	_cleanup_free_ struct session **others = NULL;
	size_t count = 0;

	if (mounts_others(mounts, session, &others, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		settle_one(mounts, others[i], session);
		session_unref(others[i]);
	}
}

/* ---- Announcements by anyone -------------------------------------------- */

/* What the session has of states that are no more. */
static void forget_gone(struct session *session, bool in_use)
{
	struct forest *forest = fs_forest(session->fs);
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (known_states(session->known, &states, &count) < 0)
		return;
	for (size_t i = 0; i <= count; i++) {
		uint64_t number = i < count ? states[i] : session->state;
		node_t root = NODE(number, INO_ROOT);
		_cleanup_free_ node_t *nodes = NULL;
		struct state *state;
		size_t n = 0;
		int err;

		store_lock(forest_store(forest));
		err = number ? state_get(forest, number, &state) : 0;
		store_unlock(forest_store(forest));
		if (err != -ESTALE)
			continue;
		if (known_list(session->known, number, in_use, &nodes, &n) == 0)
			forget_nodes(session, nodes, n);
		forget_nodes(session, &root, 1);
	}
}

static int forget_gone_in_use(void *arg, struct session *session)
{
	forget_gone(session, true);
	return 0;
}

static int forget_gone_all(void *arg, struct session *session)
{
	forget_gone(session, false);
	return 0;
}

/* The symlinks to snapshots are the nodes of state 0. */
static int forget_links(void *arg, struct session *session)
{
	_cleanup_free_ node_t *nodes = NULL;
	size_t count = 0;

	if (known_list(session->known, 0, false, &nodes, &count) == 0)
		forget_nodes(session, nodes, count);
	return 0;
}

struct name_change {
	uint64_t fork;
	const char *name;
};

static int forget_change(void *arg, struct session *session)
{
	const struct name_change *change = arg;
	node_t parent =
	        change->fork ? NODE(change->fork, INO_SNAPDIR) : NODE_ROOT;

	if (session->state && session->state != change->fork)
		return 0;
	forget_name(session, parent, change->name, true);
	forget_nodes(session, &parent, 1);
	return forget_links(NULL, session);
}

void mounts_name_changed(struct mounts *mounts, uint64_t fork, const char *name)
{
	struct name_change change = {fork, name};

	mounts_each(mounts, forget_change, &change);
}

/* ---- Announcements by those who handle requests ------------------------- */

enum job_kind { JOB_DATA, JOB_GONE, JOB_LINKS };

struct job {
	struct notifier_job job;
	struct mounts *mounts;
	enum job_kind kind;
	struct announcement announcement;
	node_t node;
	size_t count; /* of the sessions to tell, each with a reference */
	struct session *sessions[];
};

static void job_run(struct notifier_job *notifier_job)
{
	struct job *job = (struct job *)notifier_job;

	switch (job->kind) {
	case JOB_DATA:
		for (size_t i = 0; i < job->count; i++) {
			struct session *s = job->sessions[i];

			wire_inval_inode(s->fd, session_ino(s, job->node),
			                 true);
			session_unref(s);
		}
		break;
	case JOB_GONE:
		mounts_each(job->mounts, forget_gone_in_use, NULL);
		break;
	case JOB_LINKS:
		mounts_each(job->mounts, forget_links, NULL);
		break;
	}
	job->announcement.run(job->announcement.arg);
	/* Few can see the rest: nobody waits for it. */
	if (job->kind == JOB_GONE)
		mounts_each(job->mounts, forget_gone_all, NULL);
	free(job);
}

static struct job *job_create(struct mounts *mounts, enum job_kind kind,
                              size_t sessions,
                              const struct announcement *announcement)
{
	struct job *job =
	        calloc(1, sizeof(*job) + sessions * sizeof(struct session *));

	if (!job) {
		log_error("cannot announce a change: out of memory");
		return NULL;
	}
	job->job.run = job_run;
	job->mounts = mounts;
	job->kind = kind;
	job->announcement = *announcement;
	return job;
}

bool announce_data(struct session *session, node_t node, bool own,
                   const struct announcement *announcement)
{
	struct mounts *mounts = session->mounts;
	struct job *job = NULL;

	for (struct session *s = mounts->first; s; s = s->next) {
		if ((s == session && !own) ||
		    !known_take_cached(s->known, node))
			continue;
		if (!job)
			job = job_create(mounts, JOB_DATA, mounts->count,
			                 announcement);
		if (!job)
			return false;
		session_ref(s);
		job->sessions[job->count++] = s;
	}
	if (!job)
		return false;
	job->node = node;
	notifier_post(mounts->notifier, &job->job);
	return true;
}

static void announce_to_all(struct session *session, enum job_kind kind,
                            const struct announcement *announcement)
{
	struct job *job = job_create(session->mounts, kind, 0, announcement);

	if (job)
		notifier_post(session->mounts->notifier, &job->job);
	else
		announcement->run(announcement->arg);
}

void announce_gone(struct session *session,
                   const struct announcement *announcement)
{
	announce_to_all(session, JOB_GONE, announcement);
}

void announce_links(struct session *session,
                    const struct announcement *announcement)
{
	announce_to_all(session, JOB_LINKS, announcement);
}

static void nobody_waits(void *arg)
{
}

void mounts_states_gone(struct mounts *mounts)
{
	const struct announcement none = {.run = nobody_waits};
	struct job *job = job_create(mounts, JOB_GONE, 0, &none);

	mounts_each(mounts, forget_gone_in_use, NULL);
	if (job)
		notifier_post(mounts->notifier, &job->job);
	else
		mounts_each(mounts, forget_gone_all, NULL);
}
