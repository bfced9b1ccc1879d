/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orphan cleanup.
 *
 * The orphans of a state are kept as long as its tree equals that of another
 * state.  Without them the trees would differ, which would cost space and
 * prevent rmdir from deleting a redundant fork.  Such states are checked again
 * after LAZY_SECONDS, later at most every LAZY_SECONDS_MAX.
 */
#include "orphan_cleanup.h"

#include <errno.h>

#include "array.h"
#include "inode.h"
#include "open_table.h"
#include "orphan.h"

enum { LAZY_SECONDS = 5, LAZY_SECONDS_MAX = 60 };

enum cleanup { CLEANUP_DONE, CLEANUP_LATER, CLEANUP_ONE };

/* Find an orphan that is not open, from *ino on. */
static bool closed_orphan(struct fs *fs, struct state *state, uint64_t *ino)
{
	while (orphan_first(state_tree(state), *ino, ino)) {
		/*
		 * A restoration or a join makes orphans of inodes that may be
		 * in use.
		 */
		struct open_node *o =
		        open_keep(fs, NODE(state->number, *ino), false);

		if (!o)
			return true;
		o->orphan = true;
		++*ino;
	}
	return false;
}

/* Find the next orphan to remove in the state, from *ino on. */
static enum cleanup cleanup_next(struct fs *fs, uint64_t number, uint64_t *ino)
{
	struct state *state;
	int err = state_get(fs->forest, number, &state);

	if (err == -ESTALE || (!err && (state->flags & STATE_READONLY))) {
		orphan_record(fs, number, false);
		return CLEANUP_DONE;
	}
	if (err || state_has_equal(fs->forest, state))
		return CLEANUP_LATER;
	if (closed_orphan(fs, state, ino))
		return CLEANUP_ONE;
	/* Inodes in a removed directory may have lower numbers. */
	*ino = 0;
	if (closed_orphan(fs, state, ino))
		return CLEANUP_ONE;
	if (!orphan_first(state_tree(state), 0, ino))
		orphan_record(fs, number, false);
	return CLEANUP_DONE;
}

/* Remove an ORPHAN item that has no inode. */
static int cleanup_stray(struct fs *fs, uint64_t number, uint64_t ino)
{
	struct state *state;
	struct tree *tree;
	struct inode inode;
	int err;

	store_lock(fs->store);
	err = state_get(fs->forest, number, &state);
	if (!err && inode_load(state_tree(state), ino, &inode) == -ENOENT) {
		err = state_edit(state, &tree);
		if (!err)
			err = orphan_del_at(fs, state, tree, ino);
	}
	store_unlock(fs->store);
	return err == -ESTALE ? 0 : err;
}

static bool cleanup_state(struct fs *fs, uint64_t number)
{
	uint64_t ino = 0;
	enum cleanup next;
	int err;

	for (;;) {
		store_lock(fs->store);
		next = cleanup_next(fs, number, &ino);
		store_unlock(fs->store);
		if (next != CLEANUP_ONE)
			return next == CLEANUP_DONE;
		err = orphan_finish(fs, NODE(number, ino));
		if (!err)
			err = cleanup_stray(fs, number, ino);
		if (err) {
			log_warning("cannot delete inode %llu of state %llu "
			            "yet: %s",
			            (unsigned long long)ino,
			            (unsigned long long)number, strerror(-err));
			return false;
		}
		ino++;
	}
}

/*
 * Clean up each state of the list once.  orphan_cleanup.lock is held, but
 * released meanwhile.
 */
static void cleanup_round(struct fs *fs)
{
	struct orphan_cleanup *s = &fs->orphan_cleanup;
	_cleanup_free_ uint64_t *states = steal(&s->states);
	size_t count = s->count;

	s->count = s->capacity = 0;
	for (size_t i = 0; i < count; i++) {
		bool done, stop = s->stop;

		pthread_mutex_unlock(&s->lock);
		done = stop || cleanup_state(fs, states[i]);
		if (!done)
			orphan_cleanup_push(fs, states[i]);
		pthread_mutex_lock(&s->lock);
	}
}

static void *cleanup_main(void *arg)
{
	struct fs *fs = arg;
	struct orphan_cleanup *s = &fs->orphan_cleanup;
	unsigned wait = LAZY_SECONDS;
	struct timespec until;

	pthread_setname_np(pthread_self(), "orphan-cleanup");
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		uint64_t requested = s->requested;

		cleanup_round(fs);
		s->done = requested;
		pthread_cond_broadcast(&s->idle);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += wait;
		wait = MIN(2 * wait, LAZY_SECONDS_MAX);
		while (!s->stop && s->requested == requested) {
			if (!s->count)
				pthread_cond_wait(&s->wake, &s->lock);
			else if (pthread_cond_timedwait(&s->wake, &s->lock,
			                                &until))
				break;
		}
		if (s->requested != requested)
			wait = LAZY_SECONDS;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int orphan_cleanup_push(struct fs *fs, uint64_t state)
{
	struct orphan_cleanup *s = &fs->orphan_cleanup;
	int err;

	pthread_mutex_lock(&s->lock);
	err = array_grow(&s->states, s->count, &s->capacity);
	if (!err) {
		s->states[s->count++] = state;
		/* Do not wake the thread for a state that it puts off. */
		if (!s->started || !pthread_equal(pthread_self(), s->thread)) {
			s->requested++;
			pthread_cond_signal(&s->wake);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void orphan_cleanup_drain(struct fs *fs)
{
	struct orphan_cleanup *s = &fs->orphan_cleanup;
	uint64_t requested;

	pthread_mutex_lock(&s->lock);
	requested = ++s->requested;
	pthread_cond_signal(&s->wake);
	while (s->started && s->done < requested)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

int orphan_cleanup_start(struct fs *fs)
{
	struct orphan_cleanup *s = &fs->orphan_cleanup;
	int err;

	pthread_mutex_init(&s->lock, NULL);
	cond_init_monotonic(&s->wake);
	pthread_cond_init(&s->idle, NULL);
	/*
	 * Hold the lock: the thread compares its id with s->thread, which is
	 * written here.
	 */
	pthread_mutex_lock(&s->lock);
	err = -pthread_create(&s->thread, NULL, cleanup_main, fs);
	s->started = !err;
	pthread_mutex_unlock(&s->lock);
	return err;
}

void orphan_cleanup_stop(struct fs *fs)
{
	struct orphan_cleanup *s = &fs->orphan_cleanup;

	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->idle);
	free(s->states);
	s->started = false;
}
